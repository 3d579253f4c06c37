//! The FIFO queue: each item once, in order, on the znodes of Curator's `SimpleDistributedQueue`; and that one's known
//! mistakes, which the tests are named after.

mod bad_input;
mod basics;
mod budget;
mod cancel;
mod history;
mod replies;
mod waiting;

use zookeeper_recipes::Coordinator;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::queue::{FifoPopError, FifoQueue};
use zookeeper_testkit::{Fixture, Proxy, within};

use crate::support::{LONG, PATIENCE, Pending, connect, granted, stand_in_line, start_each, start_proxied};

const PATH: &str = "/queues/mails";
const LINE: &str = "/queues/mails-__fifo__/line";
const LEDGERS: &str = "/queues/mails-__fifo__/ledgers";

fn queue(zk: &Coordinator) -> FifoQueue {
    FifoQueue::new(zk, PATH).unwrap()
}

/// A fresh chroot, and the same queue in several sessions.
async fn start_queues<const N: usize>(name: &str) -> (Fixture, [FifoQueue; N]) {
    let (fixture, sessions) = start_each(name).await;
    (fixture, sessions.map(|zk| queue(&zk)))
}

/// A fresh chroot, and a queue in it whose session is behind a proxy.
async fn start_proxied_queue(name: &str) -> (Fixture, Proxy, FifoQueue) {
    let (fixture, proxy, zk) = start_proxied(name, LONG).await;
    (fixture, proxy, queue(&zk))
}

/// As [`start_proxied_queue`], and the same queue in a session that is behind none.
async fn start_proxied_queues(name: &str) -> (Fixture, Proxy, [FifoQueue; 2]) {
    let (fixture, proxy, ours) = start_proxied_queue(name).await;
    let theirs = queue(&connect(&fixture).await);
    (fixture, proxy, [ours, theirs])
}

async fn push(queue: &FifoQueue, item: &str) {
    let pushed = within(PATIENCE, format!("{item} is pushed"), queue.push(item.to_owned())).await;
    pushed.unwrap_or_else(|err| panic!("{item} not pushed: {err}"));
}

async fn pop(queue: &FifoQueue) -> String {
    text(within(PATIENCE, "an item", queue.pop()).await.unwrap())
}

async fn drain(queue: &FifoQueue) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = within(PATIENCE, "an answer", queue.try_pop()).await.unwrap() {
        items.push(text(item));
    }
    items
}

fn text(item: Bytes) -> String {
    String::from_utf8(item.to_vec()).unwrap()
}

/// Begins to pop in a task, and returns when it stands in line as number `place`.
async fn wait_in_line(fixture: &Fixture, queue: &FifoQueue, place: usize) -> Pending<Bytes, FifoPopError> {
    let queue = queue.clone();
    stand_in_line(fixture, LINE, place, async move { queue.pop().await }).await
}

async fn popped(popping: Pending<Bytes, FifoPopError>) -> String {
    text(granted(popping).await)
}

/// No item, no consumer and nothing else is left.
async fn clean(fixture: &Fixture, queues: impl IntoIterator<Item = FifoQueue>) {
    drop(queues.into_iter().collect::<Vec<_>>());
    fixture.assert_no_nodes_left(&[PATH, LINE, LEDGERS]).await;
}
