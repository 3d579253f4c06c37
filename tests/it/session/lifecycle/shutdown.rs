//! One call ends all recipes in good order, within one bound.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use zookeeper_recipes::queue::{FifoQueue, Job, WorkQueue};
use zookeeper_recipes::{
    ConnectOptions, Coordinator, Error, LeaderElection, LossReason, Relay, RunError, Schedule, Semaphore, Timetable,
};
use zookeeper_testkit::{Fixture, eventually, within};

use super::HAND_OVER;
use crate::support::{LONG, PATIENCE, acquire, connect, granted, join_line, lock, start, start_each};

/// A bound that no test waits for.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test]
async fn waiters_leave_and_nothing_more_is_taken() {
    let (fixture, [zk, other]) = start_each("shutdown of waiters").await;
    let holder = acquire(&lock(&other, "/l")).await;
    let ours = acquire(&lock(&zk, "/ours")).await;
    let waiter = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    let queue = WorkQueue::new(&zk, "/q").unwrap();
    let fifo = FifoQueue::new(&zk, "/f").unwrap();
    let popper = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop().await.map(drop) }
    });
    let fifo_popper = tokio::spawn(async move { fifo.pop().await });
    let shutting_down = tokio::spawn(zk.shutting_down());

    let clone = zk.clone();
    let shutdown = tokio::spawn(zk.shutdown(BOUND));
    within(PATIENCE, "told", shutting_down).await.unwrap();
    for ended in [
        within(PATIENCE, "the waiter leaves", waiter).await.unwrap().map(drop),
        within(PATIENCE, "the popper leaves", popper).await.unwrap(),
    ] {
        assert_eq!(ended.unwrap_err(), Error::Closed);
    }
    let popped = within(PATIENCE, "the popper leaves", fifo_popper).await.unwrap();
    assert!(popped.unwrap_err().is_closed());
    fixture.until_children("/l", 1).await;
    assert_eq!(lock(&clone, "/new").acquire().await.unwrap_err(), Error::Closed);
    assert_eq!(queue.pop().await.map(drop).unwrap_err(), Error::Closed);
    let health = clone.health();
    assert!(health.is_live && !health.is_ready, "{health}");
    assert_eq!(health.message, "shutting down, 1 hold left");

    // What is held goes on until it is given back.
    assert!(ours.is_held() && !shutdown.is_finished());
    clone.client().await.unwrap().check_stat("/").await.unwrap();
    ours.release().await.unwrap();
    let report = within(PATIENCE, "shut down", shutdown).await.unwrap();
    assert!(report.is_finished && report.is_closed, "{report:?}");
    assert!(report.took < BOUND / 2, "{report:?}");
    holder.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l", "/ours", "/f"]).await;
}

#[tokio::test]
async fn every_recipe_hands_over_after_its_work() {
    let (fixture, [zk, other]) = start_each("shutdown of all").await;
    let finish = Arc::new(Notify::new());
    // A lock, whose work is finished.
    let locked = tokio::spawn({
        let (lock, finish) = (lock(&zk, "/l"), Arc::clone(&finish));
        async move { lock.run(|_| async move { finish.notified().await }).await }
    });
    // A leader with a job, whose run is finished.
    let (started, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (zk, finish, started, done) = (zk.clone(), Arc::clone(&finish), Arc::clone(&started), Arc::clone(&done));
        async move {
            let every = Timetable::every(Duration::from_millis(20)).unwrap();
            let job = &Schedule::new(&zk, "/jobs/a", every).unwrap();
            let (finish, started, done) = (&finish, &started, &done);
            let election = LeaderElection::new(&zk, "/e").unwrap();
            election
                .run("a", |leadership| async move {
                    let ran = job.run(&leadership, |_| async {
                        started.notify_one();
                        finish.notified().await;
                        done.notify_one();
                    });
                    let _ = ran.await;
                    pending::<ControlFlow<()>>().await
                })
                .await
        }
    });
    // A worker, whose handler is finished.
    let queue = WorkQueue::new(&zk, "/q").unwrap();
    queue.push("a").await.unwrap();
    let (begun, handled) = (Arc::new(Notify::new()), Arc::clone(&finish));
    let worker = tokio::spawn({
        let (worker, begun) = (queue.worker(), Arc::clone(&begun));
        worker.run(move |_: Job| {
            let (begun, handled) = (Arc::clone(&begun), Arc::clone(&handled));
            async move {
                begun.notify_one();
                handled.notified().await;
                Ok::<(), Error>(())
            }
        })
    });
    within(PATIENCE, "the job runs", started.notified()).await;
    within(PATIENCE, "the item is worked on", begun.notified()).await;
    fixture.until_children("/l", 1).await;
    let next_lock = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let next_leader = tokio::spawn({
        let election = LeaderElection::new(&other, "/e").unwrap();
        async move { election.campaign("b").await }
    });
    fixture.until_children("/e", 2).await;

    let shutdown = tokio::spawn(zk.shutdown(BOUND));
    tokio::time::sleep(crate::support::SILENCE).await;
    assert!(!shutdown.is_finished() && !next_lock.is_finished() && !next_leader.is_finished());
    let finished = Instant::now();
    finish.notify_waiters();
    let (lock_guard, leadership) = (granted(next_lock).await, granted(next_leader).await);
    println!(
        "measured: both granted {:?} after the work was done",
        finished.elapsed()
    );
    within(PATIENCE, "the run was finished", done.notified()).await;
    let report = within(PATIENCE, "shut down", shutdown).await.unwrap();
    assert!(report.is_finished && report.is_closed, "{report:?}");
    assert_eq!(locked.await.unwrap(), Ok(()));
    assert_eq!(leader.await.unwrap(), Err(Error::Closed));
    assert_eq!(worker.await.unwrap().unwrap().done, 1);
    lock_guard.release().await.unwrap();
    leadership.resign().await.unwrap();
    let left = WorkQueue::new(&other, "/q").unwrap().len().await;
    assert_eq!(left, Ok(0));
    drop(other);
    fixture.assert_no_nodes_left(&["/l", "/e", "/e-__election__"]).await;
}

#[tokio::test]
async fn endless_work_is_dropped_within_the_bound() {
    let (fixture, [zk, other]) = start_each("shutdown of endless work").await;
    let endless = tokio::spawn({
        let lock = lock(&zk, "/l");
        async move { lock.run(|_| pending::<()>()).await }
    });
    fixture.until_children("/l", 1).await;
    let next = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let bound = Duration::from_secs(2);
    let report = within(PATIENCE, "shut down", zk.shutdown(bound)).await;
    assert!(!report.is_finished && report.is_closed, "{report:?}");
    assert!(report.took < bound + Duration::from_millis(500), "{report:?}");
    match endless.await.unwrap() {
        Err(RunError::Lost(lost)) => assert_eq!(lost.reason, LossReason::Closed),
        other => panic!("{other:?}"),
    }
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Endless work of a leader is dropped at once: to wait for it would keep the others waiting.
#[tokio::test]
async fn a_leader_resigns_at_once() {
    let fixture = Fixture::new("shutdown of a leader").await;
    let mut best = LONG;
    for _ in 0..3 {
        let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
        let leading = tokio::spawn({
            let election = LeaderElection::new(&zk, "/e").unwrap();
            async move {
                let work = |_| pending::<ControlFlow<()>>();
                election.run_until(pending(), "a", work).await
            }
        });
        fixture.until_children("/e", 1).await;
        let next = tokio::spawn(async move { LeaderElection::new(&other, "/e").unwrap().campaign("b").await });
        fixture.until_children("/e", 2).await;
        let began = Instant::now();
        let shutdown = tokio::spawn(zk.shutdown(BOUND));
        let next = granted(next).await;
        best = best.min(began.elapsed());
        assert_eq!(leading.await.unwrap(), Ok(None));
        assert!(shutdown.await.unwrap().is_finished);
        next.resign().await.unwrap();
    }
    println!("measured: the next one leads {best:?} after the shutdown began, at best");
    assert!(best < HAND_OVER, "{best:?}");
    fixture.assert_no_nodes_left(&["/e"]).await;
}

#[tokio::test]
async fn the_bound_holds_while_the_server_is_frozen() {
    let fixture = Fixture::with_own_server("shutdown on a frozen server").await;
    let options = ConnectOptions::new().session_timeout(Duration::from_secs(6));
    let zk: Coordinator = options.connect(&fixture.connect_string()).await.unwrap();
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiting = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    fixture.server().freeze().await;
    let (bound, began) = (Duration::from_secs(1), Instant::now());
    let report = within(PATIENCE, "shut down", zk.shutdown(bound)).await;
    println!("measured: {report:?}, {:?}", began.elapsed());
    assert!(!report.is_finished && !report.is_closed, "{report:?}");
    assert!(
        began.elapsed() < bound + Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(waiting.await.unwrap().map(drop), Err(Error::Closed));
    assert!(!guard.is_held());
    drop(guard);
    fixture.server().thaw().await;
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_dropped_shutdown_goes_on() {
    let (fixture, zk) = start("dropped shutdown").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let clone = zk.clone();
    {
        let mut shutdown = Box::pin(zk.shutdown(BOUND));
        assert!(futures::poll!(&mut shutdown).is_pending());
    }
    within(PATIENCE, "begun", clone.shutting_down()).await;
    guard.release().await.unwrap();
    eventually(PATIENCE, "closed", || async { !clone.health().is_live }).await;
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn permits_and_turns_are_not_taken_any_more() {
    let (fixture, zk) = start("shutdown of permits").await;
    let permit = Semaphore::new(&zk, "/s", 1).unwrap().acquire().await.unwrap();
    let semaphore = Semaphore::new(&zk, "/s", 1).unwrap();
    let waiting = tokio::spawn(async move { semaphore.acquire().await.map(drop) });
    let relay = Relay::new(&zk, "/r").unwrap();
    let turn = relay.join().await.unwrap();
    let next = tokio::spawn(async move { relay.join().await.map(drop) });
    let shutdown = tokio::spawn(zk.shutdown(BOUND));
    let ended = within(PATIENCE, "it leaves", waiting).await.unwrap();
    assert!(ended.unwrap_err().is_closed());
    let ended = within(PATIENCE, "it leaves", next).await.unwrap();
    assert!(ended.unwrap_err().is_closed());
    drop((permit, turn));
    assert!(within(PATIENCE, "shut down", shutdown).await.unwrap().is_finished);
    fixture
        .assert_no_nodes_left(&["/s/locks", "/s/leases", "/r/line"])
        .await;
}
