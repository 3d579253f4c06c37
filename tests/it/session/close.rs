//! Closing a coordinator, or dropping its last handle, frees everything.

use std::time::Instant;

use zookeeper_recipes::zookeeper_client::{self as zk};
use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, Error, LossReason, Lost, ReleaseError, RunError, SessionState, TryAcquireError,
};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE, acquire, connect, granted, join_line, lock, session_id, start_each};

#[tokio::test]
async fn close_frees_everything_at_once() {
    let (fixture, [zk, other]) = start_each("close").await;
    let (guard, second) = (acquire(&lock(&zk, "/l")).await, acquire(&lock(&zk, "/m")).await);
    // Clones of handles and the guards themselves keep nothing alive.
    let clone = zk.clone();
    let mut states = zk.states();
    let next = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let pending = join_line(&fixture, &lock(&zk, "/l"), 3).await;
    let bounded = tokio::spawn({
        let lock = lock(&zk, "/l");
        async move { lock.acquire_timeout(LONG).await }
    });
    fixture.until_children("/l", 4).await;

    let closed = Instant::now();
    within(PATIENCE, "closed", zk.close()).await;
    assert!(closed.elapsed() < LONG / 3, "the ensemble confirmed it");
    let left: Vec<i64> = fixture.ephemerals().await.into_values().collect();
    assert_eq!(
        left,
        [session_id(&other).await],
        "only the other session's waiter is left"
    );
    for guard in [&guard, &second] {
        assert!(!guard.is_held());
        assert_eq!(guard.lost().reason(), Some(LossReason::Closed));
    }
    let next = granted(next).await;
    next.release().await.unwrap();

    let failed = within(PATIENCE, "pending calls end", pending).await.unwrap();
    assert_eq!(failed.unwrap_err(), Error::Closed);
    let failed = within(PATIENCE, "pending calls end", bounded).await.unwrap();
    assert_eq!(failed.unwrap_err(), AcquireTimeoutError::Error(Error::Closed));
    assert_eq!(
        states.wait_for(|state| *state == SessionState::Closed).await,
        Some(SessionState::Closed)
    );
    every_call_says_closed(&clone).await;
    let reason = LossReason::Closed;
    assert_eq!(guard.release().await.unwrap_err(), ReleaseError::Lost(Lost { reason }));
    drop(second);
    fixture.assert_no_nodes_left(&["/l", "/m"]).await;
}

/// A kept client keeps the session open at the server, but no node of ours.
#[tokio::test]
async fn close_frees_everything_despite_a_kept_client() {
    let (fixture, [zk, other]) = start_each("close with client").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let next = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let client = zk.client().await.unwrap();

    let closing = tokio::spawn(zk.close());
    let next = granted(next).await;
    assert!(
        !closing.is_finished(),
        "it waits for the end of the session, for a while"
    );
    assert_eq!(guard.lost().reason(), Some(LossReason::Closed));
    assert!(client.check_stat("/").await.is_ok());
    drop(client);
    within(PATIENCE, "closed", closing).await.unwrap();
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

async fn every_call_says_closed(zk: &Coordinator) {
    let lock = lock(zk, "/l");
    assert_eq!(lock.acquire().await.unwrap_err(), Error::Closed);
    assert_eq!(
        lock.try_acquire().await.unwrap_err(),
        TryAcquireError::Error(Error::Closed)
    );
    let bounded = lock.acquire_timeout(PATIENCE).await;
    assert_eq!(bounded.unwrap_err(), AcquireTimeoutError::Error(Error::Closed));
    let ran = lock.run(|_| async { panic!("it does not run") });
    assert_eq!(ran.await.unwrap_err(), RunError::Error(Error::Closed));
    assert_eq!(lock.contenders().await.unwrap_err(), Error::Closed);
    assert_eq!(zk.client().await.unwrap_err(), Error::Closed);
    zk.clone().close().await;
}

#[tokio::test]
async fn the_last_dropped_handle_closes_the_session() {
    let fixture = Fixture::new("last drop").await;
    let server = fixture.connect().await;
    let zk = connect(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    // A node that only the end of the session removes.
    let client = zk.client().await.unwrap();
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    client.create("/mine", b"", &ephemeral).await.unwrap();
    drop(client);
    drop(zk);
    assert!(
        server.check_stat("/mine").await.unwrap().is_some(),
        "a guard keeps the session"
    );
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}
