//! Calls whose caller is gone before there is a connection again.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::{Coordinator, SessionState};
use zookeeper_testkit::{Counts, Fixture};

use crate::support::cost::{Counted, make_dir};
use crate::support::sessions::{Acquiring, reached};
use crate::support::{SILENCE, lock};

const GONE: usize = 500;
const LIMIT: Duration = Duration::from_millis(100);

/// Acquires `count` locks at once, all of which time out.
async fn time_out(zk: &Coordinator, count: usize) {
    let acquires = (0..count).map(|number| {
        let lock = lock(zk, &format!("/l/{number}"));
        async move { lock.acquire_timeout(LIMIT).await }
    });
    let acquired = future::join_all(acquires).await;
    assert!(acquired.iter().all(Result::is_err), "acquired without a connection");
}

/// Ends all connections, and returns when the client knows.
async fn cut(counted: &Counted) {
    let mut states = counted.zk.states();
    counted.proxy.refuse().await;
    reached(&mut states, SessionState::Suspended).await;
}

/// What is sent after the reconnect, once there are `at_least` as many requests.
async fn after_reconnect(counted: &Counted, at_least: usize) -> Counts {
    let mut states = counted.zk.states();
    counted.proxy.reset_counts();
    counted.proxy.accept().await;
    reached(&mut states, SessionState::Connected).await;
    // What must not be sent is given time to be sent.
    tokio::time::sleep(SILENCE).await;
    counted.requests(at_least).await
}

#[tokio::test]
async fn acquires_timed_out_while_disconnected_send_nothing() {
    let fixture = Fixture::new("gone callers").await;
    make_dir(&fixture, "/l").await;
    make_dir(&fixture, "/waited-for").await;
    let counted = Counted::connect(&fixture).await;
    cut(&counted).await;
    let patient = Acquiring::start(&lock(&counted.zk, "/waited-for"));
    time_out(&counted.zk, GONE).await;
    assert!(patient.is_pending());

    // The one that waited: create, list, and the watch on its own node.
    let counts = after_reconnect(&counted, 3).await;
    println!("{GONE} acquires timed out: {:?}", counts.by_op());
    let guard = patient.granted().await;
    assert_eq!(counts.under("/l").total(), 0, "{:?}", counts.by_op());
    assert_eq!(
        (counts.creates(), counts.lists(), counts.total()),
        (1, 1, 3),
        "{counts}"
    );
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l", "/waited-for"]).await;
}

#[tokio::test]
async fn only_creates_really_sent_are_searched_for() {
    const SENT: usize = 3;
    let fixture = Fixture::new("sent before").await;
    make_dir(&fixture, "/l").await;
    let counted = Counted::connect(&fixture).await;
    counted.proxy.black_hole();
    time_out(&counted.zk, SENT).await;
    cut(&counted).await;
    counted.proxy.heal();
    time_out(&counted.zk, GONE).await;

    let counts = after_reconnect(&counted, 0).await;
    println!("{SENT} sent and {GONE} not: {:?}", counts.by_op());
    assert_eq!(counts.creates(), 0, "{:?}", counts.by_op());
    // A search is a sync and a list.
    assert!(counts.total() <= 2 * SENT, "{:?}", counts.by_op());
    fixture.assert_no_nodes_left(&["/l"]).await;
}
