//! No clock of one machine decides: neither that of a worker, nor that of a leader of the ensemble that was set off.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use zookeeper_recipes::{DueRun, LeaderElection, Misfire};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{JOB, LEADER, every};
use crate::support::{PATIENCE, connect, faults};

const PERIOD: Duration = Duration::from_millis(50);
const OFF: i64 = 5_000;

/// The clock of the ensemble's leader is set 5 s ahead, and right again, as by two elections in the ensemble.
#[tokio::test]
async fn a_wrong_clock_runs_nothing_twice_or_early() {
    let fixture = Fixture::with_embedded_server("schedule, a clock set off").await;
    let zk = connect(&fixture).await;
    let millis = u64::try_from(PERIOD.as_millis()).unwrap();
    let schedule = every(&zk, JOB, millis).misfire(Misfire::RunAll).build().unwrap();
    let election = LeaderElection::new(&zk, LEADER).unwrap();
    let leadership = within(PATIENCE, "elected", election.campaign("")).await.unwrap();
    let runs: Mutex<Vec<(DueRun, SystemTime)>> = Mutex::default();
    let count = || runs.lock().unwrap().len();
    let grows = |by: usize| {
        let before = count();
        eventually(PATIENCE, "the job runs", move || async move { count() > before + by })
    };
    let script = async {
        grows(10).await;
        faults(&fixture).shift_clock(OFF);
        // What fell into the jump is run, each once.
        grows(100).await;
        let set_back = SystemTime::now();
        faults(&fixture).shift_clock(0);
        grows(10).await;
        set_back
    };
    let followed = schedule.run(&leadership, |run| {
        runs.lock().unwrap().push((run, SystemTime::now()));
        std::future::ready(())
    });
    let set_back = tokio::select! {
        followed = followed => panic!("it ended: {followed:?}"),
        set_back = script => set_back,
    };
    let runs = runs.into_inner().unwrap();
    assert!(
        runs.iter().all(|(run, _)| run.now >= run.due),
        "early by the ensemble's time"
    );
    for pair in runs.windows(2) {
        let (one, next) = (&pair[0].0, &pair[1].0);
        assert_eq!(next.due.duration_since(one.due).unwrap(), PERIOD, "each once, in order");
    }
    // The job waited until the clock had passed the last record, instead of running anything again.
    let waited = runs
        .windows(2)
        .map(|pair| pair[1].1.duration_since(pair[0].1).unwrap())
        .max()
        .unwrap();
    println!(
        "measured: {} runs, the longest pause {waited:?} after the clock was set back",
        runs.len()
    );
    assert!(waited > Duration::from_secs(3), "{waited:?}");
    let after = runs.iter().filter(|(_, at)| *at > set_back + Duration::from_secs(1));
    assert!(
        after.clone().all(|(run, at)| *at >= run.due),
        "due by the clock that is right again"
    );
    let progress = schedule.progress().await.unwrap();
    assert_eq!(progress.skipped, 0);
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[JOB]).await;
}
