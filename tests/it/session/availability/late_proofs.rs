//! What makes a proof worthless for a while (a pause, a late connect, an outage) costs no burst of heartbeats.

use std::thread;
use std::time::Duration;

use zookeeper_recipes::{ConnectOptions, SessionState};
use zookeeper_testkit::{Fixture, background, within};

use super::{LOCK, directory, requests_of_an_acquire};
use crate::support::sessions::{Acquiring, reached};
use crate::support::{PATIENCE, acquire, connect_to, lock};

/// What the heartbeats of an acquire may cost after such a time.
const FEW: usize = 8;

#[tokio::test]
async fn an_acquire_after_a_pause_sends_few_heartbeats() {
    acquire_after_a_pause(Duration::from_secs(4)).await;
}

#[tokio::test]
async fn a_long_pause_costs_few_heartbeats() {
    acquire_after_a_pause(Duration::from_secs(10)).await;
}

async fn acquire_after_a_pause(timeout: Duration) {
    let fixture = Fixture::new("after a pause").await;
    directory(&fixture, LOCK).await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, timeout).await;
    // The lease of the opening is over after that.
    background::sleep(timeout).await;
    // All of this process that the test can stop: this thread, and with it the runtime of the test.
    thread::sleep(timeout / 2);
    let requests = requests_of_an_acquire(&zk, &proxy).await;
    assert!(requests.heartbeats() <= FEW, "{requests}");
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// Of a client that tries a server that is down each time after twice as long: it connects after 6.3 s to 6.7 s.
const LATE: Duration = Duration::from_secs(8);
const DOWN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_connect_leaves_a_fresh_lease() {
    let fixture = Fixture::new("late connect").await;
    directory(&fixture, LOCK).await;
    let (proxy, servers) = fixture.proxied().await;
    proxy.refuse().await;
    let connecting = tokio::spawn(async move { ConnectOptions::new().session_timeout(LATE).connect(&servers).await });
    background::sleep(DOWN).await;
    proxy.accept().await;
    let zk = within(PATIENCE, "a session", connecting).await.unwrap().unwrap();
    proxy.reset_counts();
    // Where a voucher has to ripen first, the grant takes the margin at least: 26 %.
    let guard = within(LATE / 5, "the first grant", lock(&zk, LOCK).acquire())
        .await
        .unwrap();
    let requests = proxy.requests();
    assert!(requests.heartbeats() <= 3, "{requests}");
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// The replacement of a session that an outage has cost takes as long as the outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_after_an_outage_costs_few_heartbeats() {
    let fixture = Fixture::new("after an outage").await;
    directory(&fixture, LOCK).await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LATE).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let mut states = zk.states();
    proxy.refuse().await;
    reached(&mut states, SessionState::Lost).await;
    drop(guard);
    let waiter = Acquiring::start(&lock(&zk, LOCK));
    background::sleep(DOWN).await;
    // The old session has expired: nothing of it is waited for.
    fixture.until_children(LOCK, 0).await;
    proxy.reset_counts();
    proxy.accept().await;
    let guard = waiter.granted().await;
    let requests = proxy.requests();
    assert!(requests.heartbeats() <= FEW, "{requests}");
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
