//! Only what a leader answers that knows the session is a proof: a transaction refused for the session proves nothing.

mod forger;

use std::time::Duration;

use zookeeper_testkit::{Fixture, within};

use self::forger::{Forger, SESSION_EXPIRED, SESSION_MOVED};
use super::LOCK;
use crate::support::sessions::{Acquiring, told};
use crate::support::{PATIENCE, acquire, connect, connect_to, faults, lock, session_id};

const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_is_no_proof() {
    refused_for_the_session(SESSION_EXPIRED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_session_is_no_proof() {
    refused_for_the_session(SESSION_MOVED).await;
}

async fn refused_for_the_session(error: i32) {
    let fixture = Fixture::with_embedded_server("forged").await;
    let forger = Forger::start(fixture.server().addr(), error).await;
    let servers = format!("{}{}", forger.addr, fixture.chroot());
    let zk = connect_to(&servers, TIMEOUT).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let session = session_id(&zk).await;
    let next = Acquiring::start_at(&fixture, &lock(&connect(&fixture).await, LOCK), 1).await;
    forger.forge();
    assert!(faults(&fixture).expire_session(session));
    let next = next.granted().await;
    // The lease of the first runs out, and no forged reply prolongs it.
    let lost = tokio::time::timeout(2 * TIMEOUT, told(&guard)).await;
    assert!(
        lost.is_ok(),
        "two hold it after {} forged replies, the first for {:?} more",
        forger.forged(),
        guard.remaining()
    );
    assert!(next.is_held());
    drop(guard);
    within(PATIENCE, "released", next.release()).await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
