//! A pop that has given up leaves no place in line, whatever the type of the queue.

use std::time::Duration;

use zookeeper_recipes::WaitTimeoutError;
use zookeeper_recipes::queue::{Json, WorkQueue};
use zookeeper_testkit::within;

use crate::support::{PATIENCE, start};

#[tokio::test]
async fn a_timed_out_pop_leaves_no_place() {
    let limit = Duration::from_millis(100);
    let (fixture, zk) = start("typed pop").await;
    let queue = WorkQueue::new(&zk, "/queue").unwrap().typed::<Json<u32>>();
    for round in 0..20 {
        let popped = within(PATIENCE, "the time is up", queue.pop_timeout(limit)).await;
        assert!(
            matches!(popped, Err(WaitTimeoutError::Elapsed { .. })),
            "{:?}",
            popped.err()
        );
        let places = fixture.children("/queue/consumers").await;
        assert!(places.is_empty(), "round {round}: {places:?}");
    }
    drop(queue);
    fixture.assert_no_nodes_left(&["/queue/consumers"]).await;
}
