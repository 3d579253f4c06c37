//! What the user is told: why a hold ended, at which level, and that a normal life is quiet.
//!
//! Events come from whatever thread the crate runs on: the tests find theirs by the path of the lock.

use std::time::Duration;

use tracing::Level;
use zookeeper_recipes::{Coordinator, LossReason};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::events;
use crate::support::sessions::{expire_unseen, told};
use crate::support::{
    LONG, PATIENCE, acquire, assert_waits, connect, connect_to, granted, join_line, lock, session_id, start,
    start_each, start_proxied,
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// A WARN that names the lock at `path` and says `word`.
async fn warned(path: &str, word: &str) {
    eventually(PATIENCE, format!("a WARN about {path} that says {word:?}"), || async {
        let warnings = events::about(Level::WARN, path);
        warnings.iter().any(|warning| warning.to_lowercase().contains(word))
    })
    .await;
}

#[tokio::test]
async fn a_lapsed_hold_is_a_warning() {
    let (fixture, proxy, zk) = start_proxied("told, lapsed", TIMEOUT).await;
    let guard = acquire(&lock(&zk, "/told-lapsed")).await;
    proxy.black_hole();
    assert_eq!(told(&guard).await.0, LossReason::LeaseLapsed);
    warned("/told-lapsed", "lapsed").await;
    proxy.heal();
    drop(guard);
    fixture.assert_no_nodes_left(&["/told-lapsed"]).await;
}

#[tokio::test]
async fn a_removed_hold_is_a_warning() {
    let (fixture, zk) = start("told, removed").await;
    let guard = acquire(&lock(&zk, "/told-removed")).await;
    fixture.raw().delete(guard.path(), None).await.unwrap();
    assert_eq!(told(&guard).await.0, LossReason::NodeRemoved);
    warned("/told-removed", "removed").await;
    drop(guard);
    fixture.assert_no_nodes_left(&["/told-removed"]).await;
}

/// The client learns of the end of its session alone. A server that it is connected to tells of the node first.
#[tokio::test]
async fn an_expired_hold_is_told_as_expired() {
    let fixture = Fixture::new("told, expired").await;
    let (proxy, servers) = fixture.proxied().await;
    for round in 0..10 {
        let path = format!("/told-expired-{round}");
        let zk = connect_to(&servers, LONG).await;
        let guard = acquire(&lock(&zk, &path)).await;
        // The watch on its own node is there, by which a removal is told.
        fixture.until_children(&path, 1).await;
        expire_unseen(&fixture, &proxy, &zk).await;
        assert_eq!(told(&guard).await.0, LossReason::SessionExpired, "round {round}");
        warned(&path, "expired").await;
        drop(guard);
        within(PATIENCE, "closed", zk.close()).await;
    }
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_closed_hold_is_told_as_closed() {
    let (fixture, zk) = start("told, closed").await;
    let guard = acquire(&lock(&zk, "/told-closed")).await;
    within(PATIENCE, "closed", zk.close()).await;
    assert_eq!(told(&guard).await.0, LossReason::Closed);
    fixture.assert_no_nodes_left(&["/told-closed"]).await;
}

/// Grants, releases, waits and a close are none of an operator's business.
#[tokio::test]
async fn a_normal_life_is_quiet() {
    let fixture = Fixture::new("told, normal").await;
    let (zk, other): (Coordinator, _) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/told-normal")).await;
    let waiter = join_line(&fixture, &lock(&other, "/told-normal"), 2).await;
    guard.release().await.unwrap();
    drop(granted(waiter).await);
    let session = format!("{:#x}", session_id(&zk).await);
    within(PATIENCE, "closed", zk.close()).await;
    for level in [Level::ERROR, Level::WARN, Level::INFO] {
        let of_the_lock = events::about(level, "/told-normal");
        assert!(of_the_lock.is_empty(), "{level}: {of_the_lock:?}");
    }
    for level in [Level::ERROR, Level::WARN] {
        let of_the_session = events::about(level, &session);
        assert!(of_the_session.is_empty(), "{level}: {of_the_session:?}");
    }
    fixture.assert_no_nodes_left(&["/told-normal"]).await;
}

/// People who come from `InterProcessMutex` expect the second acquire to pass.
#[tokio::test]
async fn waiting_behind_the_own_process_warns() {
    let (fixture, zk) = start("told, reentrant").await;
    let guard = acquire(&lock(&zk, "/told-reentrant")).await;
    let waiter = join_line(&fixture, &lock(&zk, "/told-reentrant"), 2).await;
    warned("/told-reentrant", "not reentrant").await;
    guard.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/told-reentrant"]).await;
}

/// Also behind a lost guard that is still in scope, whose place is kept until it is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_behind_an_own_lost_guard_warns() {
    let (fixture, proxy, zk) = start_proxied("told, lost guard", TIMEOUT).await;
    let guard = acquire(&lock(&zk, "/told-condemned")).await;
    // Proofs get too slow to prolong the lease, and the session lives.
    proxy.delay(TIMEOUT * 14 / 100);
    assert_eq!(told(&guard).await.0, LossReason::LeaseLapsed);
    proxy.delay(Duration::ZERO);
    let again = lock(&zk, "/told-condemned");
    let again = tokio::spawn(async move { again.acquire().await });
    warned("/told-condemned", "drop the lost guard").await;
    drop(guard);
    granted(again).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/told-condemned"]).await;
}

/// Another process of the same name is another contender, and no cause for a warning.
#[tokio::test]
async fn a_wait_behind_another_process_is_no_warning() {
    let (fixture, [zk, other]) = start_each("told, another").await;
    let guard = acquire(&lock(&zk, "/told-another")).await;
    let waiter = join_line(&fixture, &lock(&other, "/told-another"), 2).await;
    assert_waits(&waiter).await;
    assert_eq!(events::about(Level::WARN, "/told-another"), [""; 0]);
    guard.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/told-another"]).await;
}
