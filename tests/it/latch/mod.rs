//! The count-down latch: open for good once so many counts are there, each of them counted once.

mod bad_input;
mod basics;
mod budget;
mod cancel;
mod loss;
mod replies;

use tokio::task::JoinHandle;
use zookeeper_recipes::{Coordinator, CountDownLatch, LatchError};
use zookeeper_testkit::Fixture;

const PATH: &str = "/reports/settled";

fn latch(zk: &Coordinator, count: u32) -> CountDownLatch {
    CountDownLatch::new(zk, PATH, count).unwrap()
}

type Waiting = JoinHandle<Result<(), LatchError>>;

fn wait(zk: &Coordinator, count: u32) -> Waiting {
    let latch = latch(zk, count);
    tokio::spawn(async move { latch.wait().await })
}

/// Removes the latch, and shows that it leaves nothing.
async fn finish(fixture: &Fixture, latch: &CountDownLatch) {
    latch.remove().await.unwrap();
    fixture.assert_no_nodes_left(&["/reports"]).await;
}
