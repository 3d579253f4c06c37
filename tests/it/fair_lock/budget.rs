//! What each step costs, counted by a proxy: every request but pings.

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::{Error, FairLockGuard, TryAcquireError};
use zookeeper_testkit::{Fixture, Op, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{PATIENCE, acquire, connect, granted, join_line, lock, start};

#[tokio::test]
async fn an_uncontended_acquire_and_release_are_four_requests() {
    let fixture = Fixture::new("uncontended").await;
    make_dir(&fixture, "/l").await;
    let counted = Counted::connect(&fixture).await;
    let lock = lock(&counted.zk, "/l");
    for _ in 0..3 {
        let guard = acquire(&lock).await;
        let counts = counted.requests(3).await;
        let ops: Vec<Op> = counts.requests().iter().map(|request| request.op).collect();
        assert!(
            ops[0].is_create() && ops[1].is_list() && ops[2] == Op::Exists,
            "{counts}"
        );
        assert_eq!(counts.requests()[2].paths, [guard.path()], "{counts}");
        assert_eq!(counts.total(), 3, "{counts}");

        counted.assert_one_delete(guard.release()).await;
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Create and list are sent without waiting in between: a link that takes `DELAY` each way costs it twice, not four
/// times.
#[tokio::test]
async fn an_uncontended_acquire_is_one_round_trip() {
    const DELAY: Duration = Duration::from_millis(400);
    let fixture = Fixture::new("round trip").await;
    make_dir(&fixture, "/l").await;
    let counted = Counted::connect(&fixture).await;
    counted.proxy.delay(DELAY);
    let started = std::time::Instant::now();
    let guard = acquire(&lock(&counted.zk, "/l")).await;
    let took = started.elapsed();
    assert!(took >= 2 * DELAY && took < 4 * DELAY, "{took:?}");
    counted.proxy.delay(Duration::ZERO);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_contended_try_acquire_is_one_read() {
    let fixture = Fixture::new("try").await;
    let (counted, other) = (Counted::connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&other, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;
    for _ in 0..10 {
        assert_eq!(
            lock(&counted.zk, "/l").try_acquire().await.unwrap_err(),
            TryAcquireError::Contended
        );
        counted.assert_one_list().await;
    }
    guard.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn waiters_and_turns_keep_to_their_budget() {
    let fixture = Fixture::new("waiter").await;
    let (counted, other) = (Counted::connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&other, "/l")).await;
    let waiter = join_line(&fixture, &lock(&counted.zk, "/l"), 2).await;
    let counts = counted.requests(4).await;
    assert_eq!(
        (counts.creates(), counts.lists(), counts.of(Op::Exists)),
        (1, 1, 2),
        "{counts}"
    );
    assert_eq!(counts.total(), 4, "{counts}");

    guard.release().await.unwrap();
    let guard = granted(waiter).await;
    counted.assert_one_list_woken().await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

type Waiter = JoinHandle<Result<FairLockGuard, Error>>;

/// Sixty waiters, a hold that changes hands, and no other notices.
#[tokio::test]
async fn idle_waiters_are_free_and_wake_singly() {
    const SESSIONS: usize = 4;
    const WAITERS: usize = 60;
    let (fixture, other) = start("idle").await;
    let mut guard = acquire(&lock(&other, "/l")).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Counted::connect(&fixture).await);
    }
    let mut waiters: Vec<Waiter> = Vec::new();
    for number in 0..WAITERS {
        let lock = lock(&sessions[number % SESSIONS].zk, "/l");
        waiters.push(join_line(&fixture, &lock, number + 2).await);
    }
    for session in &sessions {
        let counts = session.requests(4 * WAITERS / SESSIONS).await;
        assert_eq!(counts.total(), 4 * WAITERS / SESSIONS, "{counts}");
    }

    tokio::time::sleep(Duration::from_secs(5)).await;
    for session in &sessions {
        let counts = session.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }

    for (turn, waiter) in waiters.drain(..3).enumerate() {
        guard.release().await.unwrap();
        guard = granted(waiter).await;
        for (number, session) in sessions.iter().enumerate() {
            let counts = session.requests(usize::from(number == turn)).await;
            let expected = match number {
                woken if woken == turn => (1, 0),
                // Its delete, counted here because it released in this turn.
                released if released + 1 == turn => (0, 1),
                _ => (0, 0),
            };
            assert_eq!(
                (counts.lists(), counts.of(Op::Delete)),
                expected,
                "session {number}, turn {turn}: {counts}"
            );
            let heartbeats = if number == turn { 1 } else { 0 };
            assert!(
                counts.heartbeats() <= heartbeats,
                "session {number}, turn {turn}: {counts}"
            );
            let (lists, deletes) = expected;
            assert_eq!(
                counts.without_heartbeats().total(),
                lists + deletes,
                "session {number}: {counts}"
            );
        }
    }
    drop(guard);
    for waiter in waiters {
        waiter.abort();
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn holds_cost_at_most_eight_heartbeats_a_timeout() {
    let fixture = Fixture::new("heartbeats").await;
    let timeout = Duration::from_secs(5);
    let counted = Counted::connect_with(&fixture, timeout).await;
    let (one, two) = (lock(&counted.zk, "/l"), lock(&counted.zk, "/m"));
    make_dir(&fixture, "/l").await;
    make_dir(&fixture, "/m").await;

    let guards = (acquire(&one).await, acquire(&two).await);
    counted.requests(6).await;
    let started = std::time::Instant::now();
    tokio::time::sleep(timeout).await;
    let counts = counted.proxy.requests();
    // Also on a machine that slept longer than asked.
    let eighths = started.elapsed().as_millis() / (timeout / 8).as_millis() + 1;
    assert!(counts.heartbeats() >= 2, "{counts}");
    assert!(counts.heartbeats() as u128 <= eighths, "more than {eighths}: {counts}");
    assert_eq!(
        counts.without_heartbeats().total(),
        0,
        "two holds share them, and nothing else is sent: {counts}"
    );
    assert!(guards.0.is_held() && guards.1.is_held());

    guards.0.release().await.unwrap();
    guards.1.release().await.unwrap();
    counted.requests(2).await;
    tokio::time::sleep(timeout / 5 * 3).await;
    let counts = counted.requests(0).await;
    assert_eq!(counts.total(), 0, "nothing is held: {counts}");
    fixture.assert_no_nodes_left(&["/l", "/m"]).await;
}

#[tokio::test]
async fn to_ask_a_guard_costs_nothing() {
    let fixture = Fixture::new("free").await;
    let counted = Counted::connect(&fixture).await;
    let guard = acquire(&lock(&counted.zk, "/l")).await;
    counted.after_grant(guard.path()).await;
    let states = counted.zk.states();
    for _ in 0..1_000 {
        assert!(guard.is_held());
        assert!(guard.remaining() > Duration::ZERO);
        let _ = (guard.token(), guard.path(), guard.lost().reason(), states.current());
    }
    within(PATIENCE, "done", guard.run_until_lost(async {})).await.unwrap();
    let counts = counted.requests(0).await;
    assert_eq!(counts.total(), 0, "{counts}");
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}
