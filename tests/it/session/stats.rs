//! The numbers of a coordinator.

use zookeeper_recipes::{Coordinator, FairLock, SessionKind, Stats};
use zookeeper_testkit::{eventually, within};

use crate::support::{PATIENCE, session_id, start};

fn bytes(stats: &Stats) -> usize {
    stats.sessions.iter().map(|session| session.bytes).sum()
}

async fn until(zk: &Coordinator, what: &str, is_reached: impl Fn(&Stats) -> bool) {
    eventually(PATIENCE, what, || async { is_reached(&zk.stats()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_waiters_sessions_and_requests_are_counted() {
    let (fixture, zk) = start("stats").await;
    let before = zk.stats();
    assert_eq!((before.holds, before.waiters, bytes(&before)), (0, 0, 0));
    assert_eq!(before.sessions.len(), 1);
    assert_eq!(before.sessions[0].id, session_id(&zk).await);
    assert_eq!(before.sessions[0].kind, SessionKind::Holding);
    assert!(before.sessions[0].is_connected);

    let lock = FairLock::new(&zk, "/counted").unwrap();
    let guard = within(PATIENCE, "acquire", lock.acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    until(&zk, "one waits", |stats| stats.waiters == 1).await;
    let held = zk.stats();
    assert_eq!((held.holds, held.sessions[0].holds, held.sessions[0].nodes), (1, 1, 2));
    assert_eq!(bytes(&held), 2 * (fixture.chroot().len() + guard.path().len() + 4));
    assert!(held.requests >= before.requests + 2, "{held:?}");
    assert!(held.last_proof.is_some_and(|age| age < PATIENCE), "{held:?}");

    waiting.abort();
    until(&zk, "nobody waits", |stats| stats.waiters == 0).await;
    guard.release().await.unwrap();
    until(&zk, "nothing is left", |stats| {
        stats.holds == 0 && bytes(stats) == 0 && stats.reaper_backlog == 0
    })
    .await;
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_is_counted() {
    let (fixture, zk) = start("stats of a loss").await;
    assert_eq!(zk.stats().sessions_lost, 0);
    let lost = crate::support::sessions::expire(&fixture, &zk).await;
    until(&zk, "another session", |stats| {
        stats.sessions.len() == 1 && stats.sessions[0].id != lost
    })
    .await;
    assert_eq!(zk.stats().sessions_lost, 1);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}
