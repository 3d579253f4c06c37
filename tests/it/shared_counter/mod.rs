//! Shared counters: every addition counts once, in both of Curator's layouts; and its known mistakes (`SharedCount`,
//! `DistributedAtomicLong`), which are named after their issue.

mod bad_input;
mod basics;
mod crowds;
mod observe;
mod replies;

use zookeeper_recipes::{Coordinator, Error, SharedCounter};
use zookeeper_testkit::Fixture;

const COUNT: &str = "/count";

type New = fn(&Coordinator, &str) -> Result<SharedCounter, Error>;
const LAYOUTS: [New; 2] = [SharedCounter::new, SharedCounter::new_shared_count];

async fn clean(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&[COUNT]).await;
}
