//! What a work queue costs, counted by a proxy: every request but pings.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::queue::{Delivery, WorkQueue};
use zookeeper_testkit::{Counts, Fixture, Op, eventually, within};

use super::popped;
use crate::support::cost::Counted;
use crate::support::{PATIENCE, connect};

const PATH: &str = "/q";

fn queue(counted: &Counted) -> WorkQueue {
    WorkQueue::new(&counted.zk, PATH).unwrap()
}

async fn pop(queue: &WorkQueue) -> Delivery {
    within(PATIENCE, "an item", queue.pop()).await.unwrap()
}

/// One that has pushed, popped and acknowledged before, so that it knows its way.
async fn ready(fixture: &Fixture) -> (Counted, WorkQueue) {
    let counted = Counted::connect(fixture).await;
    let queue = queue(&counted);
    for _ in 0..2 {
        queue.push("warm").await.unwrap();
        pop(&queue).await.ack().await.unwrap();
    }
    settled(&counted).await;
    (counted, queue)
}

/// Until nothing is sent any more, for example for what is done in the background.
async fn settled(counted: &Counted) {
    loop {
        counted.proxy.reset_counts();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if counted.requests(0).await.without_heartbeats().total() == 0 {
            return;
        }
    }
}

/// What was sent, but for what is sent only while something is held for a while (a watch on the claim, its end,
/// heartbeats), and for the look for what has expired.
async fn sent(counted: &Counted, at_least: usize) -> Counts {
    eventually(PATIENCE, format!("{at_least} requests"), || async {
        essential(&counted.proxy.requests().without_heartbeats()).total() >= at_least
    })
    .await;
    essential(&counted.requests(0).await.without_heartbeats())
}

fn essential(counts: &Counts) -> Counts {
    counts.matching(|request| {
        let is_watch = request.op != Op::Multi && request.paths.iter().any(|path| path.contains("/c-"));
        !is_watch && request.paths != [format!("{PATH}/expiry")]
    })
}

async fn finish(fixture: &Fixture, queues: Vec<WorkQueue>) {
    drop(queues);
    fixture.assert_no_nodes_left(&["/q/consumers", "/q/ledgers"]).await;
}

#[tokio::test]
async fn what_is_pushed_together_is_one_transaction() {
    let fixture = Fixture::new("pushes").await;
    let (counted, queue) = ready(&fixture).await;
    queue.push("alone").await.unwrap();
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");

    future::try_join_all((0..100).map(|_| queue.push("at once")))
        .await
        .unwrap();
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");

    queue.push_all((0..100).map(|_| "together")).await.unwrap();
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    assert_eq!(queue.len().await.unwrap(), 201);
    finish(&fixture, vec![queue]).await;
}

/// The claim; and one read of the item and of what shows whether something ahead has come free: the lanes, those of
/// delayed items, one lane and its block, and the line of consumers.
const POP: usize = 2;

fn assert_is_pop(counts: &Counts) {
    assert_eq!(
        (counts.of(Op::MultiRead), counts.of(Op::Multi), counts.total()),
        (1, 1, POP),
        "{counts}"
    );
}

fn assert_is_one_transaction(counts: &Counts) {
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
}

#[tokio::test]
async fn taking_one_costs_what_a_hundred_cost() {
    let fixture = Fixture::new("pops").await;
    let (counted, queue) = ready(&fixture).await;
    for item in ["first", "second"] {
        queue.push(item).await.unwrap();
    }
    queue.push_all((0..64).map(|_| "together")).await.unwrap();
    let first = pop(&queue).await;
    settled(&counted).await;

    let second = pop(&queue).await;
    assert_is_pop(&sent(&counted, POP).await);
    let batch = within(PATIENCE, "a batch", queue.pop_batch(64)).await.unwrap();
    assert_eq!(batch.len(), 64);
    assert_is_pop(&sent(&counted, POP).await);

    first.ack().await.unwrap();
    assert_is_one_transaction(&sent(&counted, 1).await);
    future::try_join_all(batch.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    assert_is_one_transaction(&sent(&counted, 1).await);
    second.ack().await.unwrap();
    finish(&fixture, vec![queue]).await;
}

/// An ack writes down that an item is done, and neither the item nor those beside it once more.
#[tokio::test]
async fn acks_write_less_than_the_items() {
    const ITEMS: usize = 512;
    const BYTES: usize = 100;
    let fixture = Fixture::new("bytes of acks").await;
    let (counted, queue) = ready(&fixture).await;
    for at_once in [ITEMS, 16] {
        queue.push_all((0..ITEMS).map(|_| vec![b'x'; BYTES])).await.unwrap();
        let mut taken = Vec::new();
        while taken.len() < ITEMS {
            let batch = queue.pop_batch(ITEMS - taken.len());
            taken.extend(within(PATIENCE, "items", batch).await.unwrap());
        }
        settled(&counted).await;
        while !taken.is_empty() {
            let acks = taken.drain(..at_once).map(Delivery::ack);
            future::try_join_all(acks).await.unwrap();
        }
        let written = essential(&counted.requests(1).await.without_heartbeats());
        assert!(
            written.bytes() * 2 < ITEMS * BYTES,
            "{at_once} at once: {} bytes: {written}",
            written.bytes()
        );
    }
    finish(&fixture, vec![queue]).await;
}

/// No reply is waited for before all of a pop is sent.
#[tokio::test]
async fn a_busy_pop_is_one_round_trip() {
    let fixture = Fixture::new("one round trip").await;
    let (counted, queue) = ready(&fixture).await;
    for item in ["first", "second"] {
        queue.push(item).await.unwrap();
    }
    pop(&queue).await.ack().await.unwrap();
    settled(&counted).await;
    counted.proxy.black_hole_replies();
    let popping = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop().await }
    });
    eventually(PATIENCE, "all is sent", || async {
        essential(&counted.proxy.requests().without_heartbeats()).total() >= POP
    })
    .await;
    assert_is_pop(&essential(&counted.proxy.requests().without_heartbeats()));
    counted.proxy.heal();
    popped(popping).await.ack().await.unwrap();
    finish(&fixture, vec![queue]).await;
}

#[tokio::test]
async fn giving_back_is_one_transaction() {
    let fixture = Fixture::new("nack").await;
    let (counted, queue) = ready(&fixture).await;
    queue.push_all(["one", "two", "three"]).await.unwrap();
    let mut batch = within(PATIENCE, "a batch", queue.pop_batch(3)).await.unwrap();
    // The first one of all makes the directory in which it is found again.
    batch.remove(0).nack().await.unwrap();
    settled(&counted).await;
    batch.remove(0).nack().await.unwrap();
    let counts = sent(&counted, 1).await;
    assert!(counts.total() <= 6, "{counts}");
    batch.remove(0).nack().await.unwrap();
    assert_is_one_transaction(&sent(&counted, 1).await);
    for delivery in within(PATIENCE, "a batch", queue.pop_batch(3)).await.unwrap() {
        delivery.ack().await.unwrap();
    }
    finish(&fixture, vec![queue]).await;
}

/// Neither a handle that is kept, nor a consumer that waits.
#[tokio::test]
async fn idling_costs_nothing_and_pushes_wake_one() {
    const CONSUMERS: usize = 3;
    let fixture = Fixture::new("idle").await;
    let (producer, producing) = ready(&fixture).await;
    let (mut sessions, mut waiting, mut queues) = (Vec::new(), Vec::new(), Vec::new());
    for place in 1..=CONSUMERS {
        let counted = Counted::connect(&fixture).await;
        let queue = queue(&counted);
        queues.push(queue.clone());
        waiting.push(tokio::spawn(async move { queue.pop().await.unwrap() }));
        fixture.until_children("/q/consumers", place).await;
        settled(&counted).await;
        sessions.push(counted);
    }
    settled(&producer).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for session in sessions.iter().chain([&producer]) {
        let counts = session.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }

    producing.push("arrives").await.unwrap();
    let delivery = within(PATIENCE, "an item", waiting.remove(0)).await.unwrap();
    let counts = sent(&sessions[0], 1).await;
    // A look, and the claim with another one behind it.
    assert_eq!((counts.of(Op::Multi), counts.creates()), (1, 0), "{counts}");
    assert!(counts.of(Op::MultiRead) <= 2 && counts.total() <= 4, "{counts}");
    assert_is_one_transaction(&producer.requests(1).await);
    // The next one in line stands at its head now; the last one notices nothing.
    settled(&sessions[1]).await;
    let counts = sessions[2].requests(0).await;
    assert_eq!(counts.total(), 0, "{counts}");
    delivery.ack().await.unwrap();
    for (waiting, item) in waiting.into_iter().zip(["b", "c"]) {
        producing.push(item).await.unwrap();
        within(PATIENCE, "an item", waiting).await.unwrap().ack().await.unwrap();
    }
    queues.push(producing);
    finish(&fixture, queues).await;
}

/// So many single pushes, each of which is a node, by handles that do not share transactions.
async fn push_singly(fixture: &Fixture, count: usize) {
    const HANDLES: usize = 8;
    let zk = connect(fixture).await;
    let pushes = (0..HANDLES).map(|handle| {
        let queue = WorkQueue::new(&zk, PATH).unwrap();
        async move {
            for _ in (handle..count).step_by(HANDLES) {
                queue.push("single").await.unwrap();
            }
        }
    });
    future::join_all(pushes).await;
}

#[tokio::test]
async fn a_backlog_costs_pushes_and_claims_nothing() {
    let fixture = Fixture::new("backlog").await;
    let (counted, queue) = ready(&fixture).await;
    for more in [10, 2_990] {
        push_singly(&fixture, more).await;
        // A handle that has not pushed for long asks once where the end is; and one that pops, where the head is.
        for _ in 0..2 {
            queue.push("known").await.unwrap();
            pop(&queue).await.ack().await.unwrap();
        }
        settled(&counted).await;
        queue.push("counted").await.unwrap();
        let push = sent(&counted, 1).await;
        assert_is_one_transaction(&push);
        let delivery = pop(&queue).await;
        assert_is_pop(&sent(&counted, POP).await);
        delivery.ack().await.unwrap();
        assert_is_one_transaction(&sent(&counted, 1).await);
    }
    finish(&fixture, vec![queue]).await;
}
