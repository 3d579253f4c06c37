//! A guard that has ended does not burden the session of those that live.

use std::time::Duration;

use zookeeper_recipes::{Group, LossReason, SessionState};
use zookeeper_testkit::within;

use super::LOCK;
use crate::support::sessions::told;
use crate::support::{PATIENCE, acquire, lock, session_id, start_proxied};

const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_guard_in_scope_costs_no_session() {
    let (fixture, proxy, zk) = start_proxied("dead guard", TIMEOUT).await;
    let member = Group::new(&zk, "/group").unwrap().join("member", "").await.unwrap();
    let guard = acquire(&lock(&zk, LOCK)).await;
    fixture.raw().delete(guard.path(), None).await.unwrap();
    assert_eq!(told(&guard).await.0, LossReason::NodeRemoved);

    let before = session_id(&zk).await;
    let mut states = zk.states();
    proxy.reset_counts();
    proxy.cut();
    let lost = states.wait_for(|state| *state == SessionState::Lost);
    let lost = tokio::time::timeout(2 * TIMEOUT, lost).await;
    assert!(lost.is_err(), "the healthy session is given up for a lost guard");
    let requests = proxy.requests();
    assert_eq!(requests.heartbeats(), 0, "nothing is held, but {requests}");
    assert_eq!(session_id(&zk).await, before);
    assert!(member.is_present());

    drop(guard);
    within(PATIENCE, "the member leaves", member.leave()).await;
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
