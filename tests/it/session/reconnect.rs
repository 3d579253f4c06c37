//! What becomes of holds, waiters and releases when the connection breaks and comes back in the same session.

use std::time::Duration;

use zookeeper_client::CreateMode;
use zookeeper_recipes::{LossReason, SessionState};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use crate::support::sessions::{Acquiring, cut_for_a_moment, reached, told};
use crate::support::{PATIENCE, acquire, connect, connect_to, lock, session_id, start_proxied};

const LOCK: &str = "/lock";
/// Of sessions that shall outlive all that the test does.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_hold_survives_a_short_cut() {
    let (fixture, proxy, zk) = start_proxied("partition-short", LONG).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let (token, session) = (guard.token(), session_id(&zk).await);
    for _ in 0..3 {
        cut_for_a_moment(&zk, &proxy).await;
        assert!(guard.is_held());
        assert_eq!(guard.lost().reason(), None);
    }
    assert_eq!((guard.token(), session_id(&zk).await), (token, session));
    assert_eq!(fixture.ephemerals().await[guard.path()], session);
    let mut write = guard.fenced();
    write.add_create("/note", b"", CreateMode::Ephemeral);
    write.commit().await.unwrap();
    guard.release().await.unwrap();
    drop(zk);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_653_waiters_keep_their_nodes_over_reconnects() {
    let fixture = Fixture::new("partition-reconnect").await;
    let holder = acquire(&lock(&connect(&fixture).await, LOCK)).await;
    let mut waiters = Vec::new();
    for place in 1..=2 {
        let (proxy, cluster) = fixture.proxied().await;
        let zk = connect_to(&cluster, LONG).await;
        let waiting = Acquiring::start_at(&fixture, &lock(&zk, LOCK), place).await;
        waiters.push((zk, proxy, waiting));
    }
    let line = fixture.ephemerals().await;
    for _ in 0..3 {
        for (zk, proxy, _) in &waiters {
            cut_for_a_moment(zk, proxy).await;
        }
    }
    assert_eq!(fixture.ephemerals().await, line);
    holder.release().await.unwrap();
    for (_, _, waiting) in waiters {
        let guard = waiting.granted().await;
        assert!(line.contains_key(guard.path()));
        guard.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_724_a_vanished_waiter_enrols_again() {
    let (fixture, proxy, zk) = start_proxied("partition-vanished", LONG).await;
    let holder = acquire(&lock(&connect(&fixture).await, LOCK)).await;
    let waiting = Acquiring::start_at(&fixture, &lock(&zk, LOCK), 1).await;
    proxy.refuse().await;
    reached(&mut zk.states(), SessionState::Suspended).await;
    let mut line = fixture.ephemerals().await;
    line.remove(holder.path());
    let (vanished, _) = line.pop_first().unwrap();
    fixture.raw().delete(&vanished, None).await.unwrap();
    proxy.accept().await;
    fixture.until_children(LOCK, 2).await;
    holder.release().await.unwrap();
    let guard = waiting.granted().await;
    assert_ne!(guard.path(), vanished);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn a_holder_removed_during_a_cut_is_told() {
    let (fixture, proxy, zk) = start_proxied("partition-removed", LONG).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    proxy.refuse().await;
    reached(&mut zk.states(), SessionState::Suspended).await;
    fixture.raw().delete(guard.path(), None).await.unwrap();
    proxy.accept().await;
    let (reason, _) = told(&guard).await;
    assert_eq!(reason, LossReason::NodeRemoved);
    assert!(!guard.is_held());
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_202_a_release_during_a_cut_counts() {
    let (fixture, proxy, zk) = start_proxied("partition-release", LONG).await;
    let session = session_id(&zk).await;
    let guards = [
        acquire(&lock(&zk, "/released")).await,
        acquire(&lock(&zk, "/dropped")).await,
    ];
    let behind = connect(&fixture).await;
    let waiting = [
        Acquiring::start_at(&fixture, &lock(&behind, "/released"), 1).await,
        Acquiring::start_at(&fixture, &lock(&behind, "/dropped"), 1).await,
    ];
    proxy.refuse().await;
    reached(&mut zk.states(), SessionState::Suspended).await;
    let [released, dropped] = guards;
    drop(dropped);
    let release = tokio::spawn(released.release());
    proxy.accept().await;
    assert_eq!(within(PATIENCE, "the release", release).await.unwrap(), Ok(()));
    for waiting in waiting {
        waiting.granted().await.release().await.unwrap();
    }
    assert_eq!(session_id(&zk).await, session);
    fixture.assert_no_nodes_left(&["/released", "/dropped"]).await;
}

#[tokio::test]
async fn curator_678_a_failed_delete_is_repeated() {
    let (fixture, proxy, zk) = start_proxied("partition-delete", LONG).await;
    let lock = lock(&zk, LOCK);
    for injection in [Injection::CutBefore, Injection::LoseReply] {
        let guard = acquire(&lock).await;
        let fault = proxy.inject(When::request(Op::Delete), injection);
        assert_eq!(
            within(PATIENCE, "the release", guard.release()).await,
            Ok(()),
            "{injection:?}"
        );
        assert!(fault.has_fired());

        let guard = acquire(&lock).await;
        let fault = proxy.inject(When::request(Op::Delete), injection);
        drop(guard);
        fault.fired().await;
        acquire(&lock).await.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
