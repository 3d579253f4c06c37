//! Shared values: exact writes, what observers see, and Curator's known mistakes (`SharedValue`, `DistributedAtomic*`),
//! which are named after their issue.

mod bad_input;
mod basics;
mod budget;
mod cancel;
mod fenced;
mod loss;
mod observe;
mod replies;

use zookeeper_recipes::{Coordinator, SharedValue, Versioned};
use zookeeper_testkit::Fixture;

const VALUE: &str = "/config/value";

fn value(zk: &Coordinator) -> SharedValue {
    SharedValue::new(zk, VALUE).unwrap()
}

async fn get(value: &SharedValue) -> Option<String> {
    let stored = value.get().await.unwrap();
    stored.map(|stored| String::from_utf8(stored.value.to_vec()).unwrap())
}

fn is(expected: &'static str) -> impl Fn(&Option<Versioned>) -> bool {
    move |now| now.as_ref().is_some_and(|now| now.value == expected)
}

/// No mark of a write is left.
async fn clean(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&[VALUE]).await;
}
