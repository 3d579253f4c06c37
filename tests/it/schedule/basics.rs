//! One leader after the other, options, bad input.

use std::fs;
use std::future::{self, Future};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time;
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{DueRun, Error, LeaderElection, Misfire, Schedule, ScheduleError, Starts, Timetable, once_per};
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{JOB, LEADER, every};
use crate::support::sessions::expire;
use crate::support::{LONG, PATIENCE, connect, start, start_proxied};

/// Follows the schedule until `count` runs were started.
async fn take(schedule: &Schedule, election: &LeaderElection, count: usize) -> Vec<DueRun> {
    let leadership = within(PATIENCE, "elected", election.campaign("")).await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let (enough, shutdown) = oneshot::channel::<()>();
    let work = |run| {
        let _ = tell.send(run);
        future::ready(())
    };
    let shutdown = async {
        let _ = shutdown.await;
    };
    let mut runs = Vec::new();
    let collect = async {
        while runs.len() < count {
            runs.push(told.recv().await.unwrap());
        }
        drop(enough);
    };
    let (followed, ()) = within(
        PATIENCE,
        "the runs",
        futures::future::join(schedule.run_until(&leadership, shutdown, work), collect),
    )
    .await;
    followed.unwrap();
    leadership.resign().await.unwrap();
    while let Ok(run) = told.try_recv() {
        runs.push(run);
    }
    runs
}

fn assert_contiguous(runs: &[DueRun], period: Duration) {
    for pair in runs.windows(2) {
        assert_eq!(pair[1].due.duration_since(pair[0].due).unwrap(), period, "{pair:?}");
    }
}

#[tokio::test]
async fn the_next_leader_continues_the_last_one() {
    let fixture = Fixture::new("schedule").await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let zk = connect(&fixture).await;
        let schedule = every(&zk, JOB, 50).misfire(Misfire::RunAll).build().unwrap();
        let election = LeaderElection::new(&zk, LEADER).unwrap();
        runs.extend(take(&schedule, &election, 4).await);
        let progress = schedule.progress().await.unwrap();
        assert_eq!((progress.started, progress.skipped), (runs.len() as u64, 0));
        assert_eq!(
            (progress.running, progress.last),
            (None, runs.last().map(|run| run.due))
        );
    }
    assert_contiguous(&runs, Duration::from_millis(50));
    assert!(
        runs.iter()
            .all(|run| run.now >= run.due && run.attempt == 1 && run.covers == 1),
        "{runs:?}"
    );
    assert!(runs.windows(2).all(|pair| pair[0].term <= pair[1].term));
    fixture.assert_no_nodes_left(&[JOB]).await;
}

#[tokio::test]
async fn a_leader_behind_schedule_ends_at_shutdown() {
    let (fixture, zk) = start("schedule, shutdown in a backlog").await;
    let schedule = every(&zk, JOB, 1).misfire(Misfire::RunAll).build().unwrap();
    let leadership = LeaderElection::new(&zk, LEADER).unwrap().campaign("").await.unwrap();
    let begun = Notify::new();
    let work = |_| async {
        begun.notify_one();
        time::sleep(Duration::from_millis(5)).await;
    };
    let followed = schedule.run_until(&leadership, begun.notified(), work);
    within(PATIENCE, "the shutdown", followed).await.unwrap();
    let progress = schedule.progress().await.unwrap();
    assert_eq!((progress.started, progress.running), (1, None));
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[JOB]).await;
}

/// A leader that is lost in the middle of a run, and the one after it.
async fn after_a_loss(starts: Starts) -> (DueRun, DueRun) {
    let fixture = Fixture::new("schedule, lost leader").await;
    let [one, two] = crate::support::connect_each(&fixture).await;
    let schedule = every(&one, JOB, 50).starts(starts).build().unwrap();
    let leadership = LeaderElection::new(&one, LEADER).unwrap().campaign("").await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let work = |run| {
        let _ = tell.send(run);
        future::pending()
    };
    let lose = async {
        let run = told.recv().await.unwrap();
        expire(&fixture, &one).await;
        run
    };
    let both = futures::future::join(schedule.run(&leadership, work), lose);
    let (ended, first) = within(PATIENCE, "the loss", both).await;
    assert!(matches!(ended, Err(ScheduleError::Lost(_))), "{ended:?}");
    drop(leadership);
    let schedule = every(&two, JOB, 50).starts(starts).build().unwrap();
    let election = LeaderElection::new(&two, LEADER).unwrap();
    let second = take(&schedule, &election, 1).await.swap_remove(0);
    fixture.assert_no_nodes_left(&[JOB]).await;
    (first, second)
}

#[tokio::test]
async fn a_run_whose_leader_is_lost_starts_again() {
    let (first, second) = after_a_loss(Starts::AtLeastOnce).await;
    assert_eq!((second.due, second.attempt), (first.due, 2));
    assert!(second.term > first.term);
}

#[tokio::test]
async fn an_at_most_once_run_never_restarts() {
    let (first, second) = after_a_loss(Starts::AtMostOnce).await;
    assert!(second.due > first.due && second.attempt == 1, "{first:?} {second:?}");
}

#[tokio::test]
async fn runs_end_at_their_limit_and_keep_apart() {
    let (_fixture, zk) = start("schedule holds").await;
    let apart = Duration::from_millis(300);
    let schedule = every(&zk, JOB, 20).at_most(Duration::from_millis(40)).at_least(apart);
    let schedule = schedule.build().unwrap();
    let leadership = LeaderElection::new(&zk, LEADER).unwrap().campaign("").await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let work = |run: DueRun| {
        let _ = tell.send(run);
        future::pending()
    };
    let followed = schedule.run(&leadership, work);
    let runs = async {
        let mut runs = Vec::new();
        while runs.len() < 3 {
            runs.push(told.recv().await.unwrap());
        }
        runs
    };
    let runs = tokio::select! {
        ended = followed => panic!("{ended:?}"),
        runs = within(PATIENCE, "three runs that never end", runs) => runs,
    };
    for pair in runs.windows(2) {
        assert!(pair[1].now.duration_since(pair[0].now).unwrap() >= apart, "{pair:?}");
        assert!(pair[1].covers > 1, "what was missed is run once: {pair:?}");
    }
}

#[tokio::test]
async fn a_record_whose_reply_is_lost_counts_once() {
    let (_fixture, proxy, zk) = start_proxied("schedule, reply lost", LONG).await;
    let schedule = every(&zk, JOB, 50).misfire(Misfire::RunAll).build().unwrap();
    let election = LeaderElection::new(&zk, LEADER).unwrap();
    let mut runs = Vec::new();
    for round in 0..6 {
        let when = When::request(Op::Multi);
        let fault = if round % 2 == 0 {
            proxy.lose_reply(when)
        } else {
            proxy.cut_before(when)
        };
        runs.extend(take(&schedule, &election, 2).await);
        fault.fired().await;
    }
    assert_contiguous(&runs, Duration::from_millis(50));
    assert_eq!(schedule.progress().await.unwrap().started, runs.len() as u64);
}

#[tokio::test]
async fn a_late_leader_records_nothing() {
    let (fixture, zk) = start("late leader").await;
    let schedule = every(&zk, JOB, 50).build().unwrap();
    let leadership = LeaderElection::new(&zk, LEADER).unwrap().campaign("").await.unwrap();
    // What the ensemble sees of a leader that does not know of its end yet.
    fixture.raw().delete(leadership.path(), None).await.unwrap();
    let ended = within(PATIENCE, "lost", schedule.run(&leadership, |_| future::ready(()))).await;
    assert!(matches!(ended, Err(ScheduleError::Lost(_))), "{ended:?}");
    assert_eq!(schedule.progress().await.unwrap().started, 0);
}

#[tokio::test]
async fn once_per_runs_once_in_a_period() {
    let fixture = Fixture::new("once per").await;
    let sessions: [_; 4] = crate::support::connect_each(&fixture).await;
    let day = Duration::from_secs(24 * 3600);
    let calls = sessions.iter().map(|zk| once_per(zk, JOB, day, future::ready(())));
    let done = within(PATIENCE, "all answered", futures::future::join_all(calls)).await;
    let run = done.into_iter().filter(|done| done.as_ref().unwrap().is_some()).count();
    // A test at midnight sees two days.
    assert!((1..=2).contains(&run), "{run} have run");
    let short = Duration::from_millis(20);
    let path = "/jobs/short";
    let twice = async {
        let mut run = 0;
        while run < 3 {
            run += usize::from(
                once_per(&sessions[0], path, short, future::ready(()))
                    .await
                    .unwrap()
                    .is_some(),
            );
        }
    };
    within(PATIENCE, "a run in each of three periods", twice).await;
    fixture.assert_no_nodes_left(&[JOB, path]).await;
}

#[tokio::test]
async fn bad_input_is_an_error_naming_the_path() {
    let (fixture, zk) = start("schedule bad input").await;
    let table = Timetable::every(Duration::from_secs(1)).unwrap();
    assert!(matches!(
        Schedule::new(&zk, "job", table.clone()),
        Err(Error::InvalidPath { .. })
    ));
    assert_eq!(
        table.next_after(SystemTime::UNIX_EPOCH),
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
    );
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture.raw().create("/other", b"not a record", &options).await.unwrap();
    let schedule = Schedule::new(&zk, "/other", table).unwrap();
    let leadership = LeaderElection::new(&zk, LEADER).unwrap().campaign("").await.unwrap();
    let ended = within(PATIENCE, "refused", schedule.run(&leadership, |_| future::ready(()))).await;
    assert!(
        matches!(&ended, Err(ScheduleError::Error(Error::Layout { path, .. })) if path == "/other"),
        "{ended:?}"
    );
    assert!(schedule.progress().await.is_err());
    let once = once_per(&zk, "/other", Duration::from_secs(1), future::ready(())).await;
    assert!(once.is_err(), "{once:?}");
}

/// A record that may be read and not written.
#[tokio::test]
async fn a_refused_record_is_an_error() {
    let (fixture, zk) = start("schedule, refused record").await;
    let schedule = every(&zk, JOB, 50).build().unwrap();
    let election = LeaderElection::new(&zk, LEADER).unwrap();
    take(&schedule, &election, 1).await;
    let (record, _) = fixture.raw().get_data(JOB).await.unwrap();
    fixture.raw().delete(JOB, None).await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture.raw().mkdir("/jobs", &options).await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_read());
    fixture.raw().create(JOB, &record, &options).await.unwrap();
    let leadership = within(PATIENCE, "elected", election.campaign("")).await.unwrap();
    let ended = within(PATIENCE, "refused", schedule.run(&leadership, |_| future::ready(()))).await;
    assert!(
        matches!(&ended, Err(ScheduleError::Error(Error::Denied { path })) if path == JOB),
        "{ended:?}"
    );
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

/// A clock that is wrong in one process can do nothing: none is read.
#[test]
fn no_clock_of_a_worker_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recipes/schedule");
    for file in fs::read_dir(folder).unwrap() {
        let code = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!code.contains("SystemTime::now") && !code.contains("Utc::now"));
    }
}

#[allow(dead_code, reason = "only compiled")]
fn futures_are_send(schedule: &Schedule, leadership: &zookeeper_recipes::Leadership) {
    fn send(_: impl Future + Send) {}
    send(schedule.run(leadership, |_| future::ready(())));
    send(schedule.progress());
}
