//! The work queue: no item is lost, and none is done twice.

mod at_once;
mod bad_input;
mod basics;
mod books;
mod bounded;
mod budget;
mod cancel;
mod clocks;
mod closing;
mod counts;
mod faults;
mod features;
mod foreign;
mod history;
mod invariants;
mod lookups;
mod operator;
mod order;
mod peek;
mod pushes;
mod review;
mod rows;
mod rows_claims;
mod strikes;
mod terminated;
#[cfg(feature = "serde")]
mod typed;
mod wakeups;
mod worker;

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::queue::{Delivery, WorkQueue, WorkQueueBuilder};
use zookeeper_recipes::{Coordinator, Error};
use zookeeper_testkit::{Fixture, Proxy, eventually, within};

use crate::support::{LONG, PATIENCE, connect, start, start_each, start_proxied};

const PATH: &str = "/queues/recharges";

fn queue(zk: &Coordinator) -> WorkQueue {
    WorkQueue::new(zk, PATH).unwrap()
}

/// A queue with options.
fn built(zk: &Coordinator, options: impl FnOnce(WorkQueueBuilder) -> WorkQueueBuilder) -> WorkQueue {
    options(WorkQueue::builder(zk, PATH)).build().unwrap()
}

/// A fresh chroot, and a queue in it.
async fn start_queue(name: &str) -> (Fixture, WorkQueue) {
    let (fixture, zk) = start(name).await;
    (fixture, queue(&zk))
}

/// A fresh chroot, and the same queue in two sessions.
async fn start_queues(name: &str) -> (Fixture, [WorkQueue; 2]) {
    let (fixture, sessions) = start_each(name).await;
    (fixture, sessions.map(|zk| queue(&zk)))
}

/// A fresh chroot, and a queue with options in it.
async fn start_built(name: &str, options: impl FnOnce(WorkQueueBuilder) -> WorkQueueBuilder) -> (Fixture, WorkQueue) {
    let (fixture, zk) = start(name).await;
    (fixture, built(&zk, options))
}

/// A fresh chroot, and a queue in it whose session is behind a proxy.
async fn start_proxied_queue(name: &str) -> (Fixture, Proxy, WorkQueue) {
    let (fixture, proxy, zk) = start_proxied(name, LONG).await;
    (fixture, proxy, queue(&zk))
}

/// As [`start_proxied_queue`], and the same queue in a session that is behind none.
async fn start_proxied_queues(name: &str) -> (Fixture, Proxy, [WorkQueue; 2]) {
    let (fixture, proxy, ours) = start_proxied_queue(name).await;
    let theirs = queue(&connect(&fixture).await);
    (fixture, proxy, [ours, theirs])
}

async fn pop(queue: &WorkQueue) -> Delivery {
    within(PATIENCE, "an item", queue.pop()).await.unwrap()
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.payload().to_vec()).unwrap()
}

/// A pop that goes on in a task, and stands in line as number `place`.
async fn wait_in_line(fixture: &Fixture, queue: &WorkQueue, place: usize) -> JoinHandle<Result<Delivery, Error>> {
    let queue = queue.clone();
    let popping = tokio::spawn(async move { queue.pop().await });
    fixture.until_children(&format!("{PATH}/consumers"), place).await;
    popping
}

/// So many items, in as few pops as it takes.
async fn batch(queue: &WorkQueue, items: usize) -> Vec<Delivery> {
    let mut held = Vec::new();
    while held.len() < items {
        held.extend(
            within(PATIENCE, "items", queue.pop_batch(items - held.len()))
                .await
                .unwrap(),
        );
    }
    held
}

async fn popped(popping: JoinHandle<Result<Delivery, Error>>) -> Delivery {
    within(PATIENCE, "an item", popping).await.unwrap().unwrap()
}

/// Takes and acknowledges all that is there.
async fn drain(queue: &WorkQueue) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(delivery) = within(PATIENCE, "an answer", queue.try_pop()).await.unwrap() {
        items.push(text(&delivery));
        delivery.ack().await.unwrap();
    }
    items
}

/// No item, no claim and no contender is left.
async fn clean<T>(fixture: &Fixture, queues: impl IntoIterator<Item = WorkQueue<T>>) {
    drop(queues.into_iter().collect::<Vec<_>>());
    let directory = |name: &str| format!("{PATH}/{name}");
    let directories = ["consumers", "producers", "ledgers"].map(directory);
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left(&directories).await;
    eventually(PATIENCE, "no item is left", || async {
        nodes_of_items(fixture, PATH).await.is_empty()
    })
    .await;
}

/// All nodes of items and of claims below a queue, and what tells where items were moved.
async fn nodes_of_items(fixture: &Fixture, path: &str) -> Vec<String> {
    let is_item = |node: &str| {
        let Some(relative) = node.strip_prefix(path) else {
            return false;
        };
        let is_lane = ["/lanes/", "/delayed/", "/groups/"]
            .iter()
            .any(|directory| relative.starts_with(directory));
        let name = relative.rsplit('/').next().unwrap_or_default();
        let is_ours = ["s-", "b-", "g-", "f-", "o-", "c-", "i-"]
            .iter()
            .any(|kind| name.starts_with(kind));
        (is_lane && is_ours) || (relative.starts_with("/moved/") && relative.matches('/').count() == 3)
    };
    let tree = fixture.tree().await;
    tree.into_keys().filter(|node| is_item(node)).collect()
}

/// How many claims stand in a queue.
async fn claims(fixture: &Fixture, path: &str) -> usize {
    let nodes = nodes_of_items(fixture, path).await;
    nodes
        .iter()
        .filter(|node| node.rsplit('/').next().is_some_and(|name| name.starts_with("c-")))
        .count()
}

/// Waits until the client behind `proxy` is silent: its consumers wait, and have set their watches.
async fn until_silent(proxy: &Proxy) {
    let mut before = proxy.requests().total();
    loop {
        tokio::time::sleep(MOMENT).await;
        let now = proxy.requests().total();
        if now == before {
            return;
        }
        before = now;
    }
}

const MOMENT: Duration = Duration::from_millis(300);

/// A delay that is not over when a few requests have been answered, on a busy machine either.
const A_WHILE: Duration = Duration::from_secs(3);
