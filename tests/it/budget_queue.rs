//! What a work queue costs, counted by a proxy: every request but pings.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::queue::{Delivery, WorkQueue};
use zookeeper_testkit::{Counts, Fixture, Op, eventually, within};

use crate::budget::{Counted, make_dir};
use crate::support::{PATIENCE, connect};

const PATH: &str = "/q";

fn queue(counted: &Counted) -> WorkQueue {
    WorkQueue::new(&counted.zk, PATH).unwrap()
}

async fn pop(queue: &WorkQueue) -> Delivery {
    within(PATIENCE, "an item", queue.pop()).await.unwrap()
}

/// One that has pushed, popped and acknowledged before, so that it knows its way; with its directories made, and kept
/// from being reaped.
async fn ready(fixture: &Fixture) -> (Counted, WorkQueue) {
    make_dir(fixture, PATH).await;
    for name in ["claims", "claimed", "consumers", "ledgers", "expiry", "later"] {
        make_dir(fixture, &format!("{PATH}/{name}")).await;
    }
    for name in ["ready", "ready/100", "ready/100/0"] {
        make_dir(fixture, &format!("{PATH}/{name}")).await;
    }
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

/// What was sent, but for what only somebody sends who holds something for a while: a watch on the claim, its end,
/// heartbeats.
async fn sent(counted: &Counted, at_least: usize) -> Counts {
    let sent = counted.requests(at_least).await.without_heartbeats();
    let claims = format!("{PATH}/claims");
    sent.matching(|request| request.op == Op::Multi || request.op.is_list() || !request.is_under(&claims))
}

async fn finish(fixture: &Fixture, queues: Vec<WorkQueue>) {
    drop(queues);
    let left = ["/q/claims", "/q/claimed", "/q/consumers", "/q/ledgers"];
    fixture.assert_no_nodes_left(&left).await;
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

/// A look: whether somebody stands in line; who has claims and what for; what there is to take, and the first block.
const LOOK: usize = 6;

/// A look, the item, one transaction. Once in a second, it is looked for what has expired.
const POP: usize = LOOK + 2;

fn assert_is_pop(counts: &Counts) {
    let counts = without_sweep(counts);
    let ops = [
        counts.creates(),
        counts.lists(),
        counts.of(Op::GetData),
        counts.of(Op::Multi),
    ];
    assert_eq!((ops, counts.total()), ([0, LOOK, 1, 1], POP), "{counts}");
}

/// Until so much was sent, but for the look for what has expired.
async fn until_sent(counted: &Counted, at_least: usize) {
    eventually(PATIENCE, format!("{at_least} requests"), || async {
        without_sweep(&counted.proxy.requests().without_heartbeats()).total() >= at_least
    })
    .await;
}

fn without_sweep(counts: &Counts) -> Counts {
    let rest = counts.matching(|request| request.paths != [format!("{PATH}/expiry")]);
    assert!(counts.total() <= rest.total() + 1, "{counts}");
    rest
}

#[tokio::test]
async fn one_item_costs_to_take_what_a_hundred_cost() {
    let fixture = Fixture::new("pops").await;
    let (counted, queue) = ready(&fixture).await;
    queue.push("alone").await.unwrap();
    queue.push_all((0..100).map(|_| "together")).await.unwrap();
    counted.requests(2).await;

    let first = pop(&queue).await;
    let counts = sent(&counted, POP).await;
    assert_is_pop(&counts);
    let batch = within(PATIENCE, "a batch", queue.pop_batch(100)).await.unwrap();
    assert_eq!(batch.len(), 100);
    assert_is_pop(&sent(&counted, POP).await);

    first.ack().await.unwrap();
    let counts = sent(&counted, 1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    future::try_join_all(batch.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    let counts = sent(&counted, 1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    finish(&fixture, vec![queue]).await;
}

/// No answer is waited for before all of the look is sent: a pop is three round trips.
#[tokio::test]
async fn a_look_is_one_round_trip() {
    let fixture = Fixture::new("look").await;
    let (counted, queue) = ready(&fixture).await;
    queue.push("a").await.unwrap();
    counted.requests(1).await;
    counted.proxy.black_hole_replies();
    let popping = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop().await }
    });
    until_sent(&counted, LOOK).await;
    let counts = without_sweep(&counted.proxy.requests().without_heartbeats());
    assert_eq!((counts.lists(), counts.total()), (LOOK, LOOK), "{counts}");
    counted.proxy.heal();
    let delivery = within(PATIENCE, "an item", popping).await.unwrap().unwrap();
    delivery.ack().await.unwrap();
    finish(&fixture, vec![queue]).await;
}

/// Who finds somebody in line has looked in vain, once: it stands behind, and as long as somebody is ahead each time, it
/// does not look before it stands there.
#[tokio::test]
async fn a_pop_beside_others_costs_a_place_in_line() {
    let fixture = Fixture::new("beside others").await;
    let (counted, ours) = ready(&fixture).await;
    let theirs = WorkQueue::new(&connect(&fixture).await, PATH).unwrap();
    let mut waiting = Vec::new();
    // The block in which the last item was is empty, so that it looks which other one there is.
    for look in [LOOK + 2, 0] {
        let ahead = tokio::spawn({
            let theirs = theirs.clone();
            async move { theirs.pop().await }
        });
        fixture.until_children("/q/consumers", 1).await;
        settled(&counted).await;
        waiting.push(tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop().await }
        }));
        fixture.until_children("/q/consumers", 2).await;
        // The place and a look at the line, a watch on it and one on who is ahead.
        until_sent(&counted, look + 4).await;
        let counts = without_sweep(&counted.requests(0).await.without_heartbeats());
        let ops = [counts.creates(), counts.lists(), counts.of(Op::Exists)];
        assert_eq!((ops, counts.total()), ([1, look + 1, 2], look + 4), "{counts}");
        theirs.push_all(["a", "b"]).await.unwrap();
        for popping in [ahead, waiting.remove(0)] {
            let delivery = within(PATIENCE, "an item", popping).await.unwrap().unwrap();
            delivery.ack().await.unwrap();
        }
    }
    finish(&fixture, vec![ours, theirs]).await;
}

/// Where an item goes back to is a directory of its own, of all that was due in that eighth of a second: one look, the
/// directory and what is above it, one transaction. Who is next gets there by two lists more.
#[tokio::test]
async fn what_is_given_back_costs_one_transaction_and_the_directory_for_it() {
    let fixture = Fixture::new("nack").await;
    let (counted, queue) = ready(&fixture).await;
    make_dir(&fixture, "/q/later/100").await;
    queue.push_all(["one", "two", "three"]).await.unwrap();
    let mut batch = within(PATIENCE, "a batch", queue.pop_batch(3)).await.unwrap();
    settled(&counted).await;
    batch.remove(0).nack().await.unwrap();
    let counts = sent(&counted, 1).await;
    assert_eq!((counts.of(Op::Exists), counts.of(Op::Multi)), (1, 1), "{counts}");
    assert_eq!(counts.creates() + 2, counts.total(), "{counts}");
    assert!(counts.creates() <= 5, "{counts}");
    future::try_join_all(batch.into_iter().map(Delivery::nack))
        .await
        .unwrap();
    let counts = sent(&counted, 1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    for delivery in within(PATIENCE, "a batch", queue.pop_batch(3)).await.unwrap() {
        delivery.ack().await.unwrap();
    }
    finish(&fixture, vec![queue]).await;
}

/// Neither a queue of which somebody holds a handle, nor one of which somebody waits for an item.
#[tokio::test]
async fn an_idle_queue_and_idle_consumers_cost_nothing_and_a_push_wakes_one() {
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
    // It has a place in line, and does not know yet where the first block is; the watch on the claims goes.
    let lists = counts.matching(|request| request.op.is_list() && request.paths != [format!("{PATH}/expiry")]);
    assert_eq!(
        (lists.total(), counts.of(Op::GetData), counts.of(Op::Multi)),
        (6, 1, 1),
        "{counts}"
    );
    assert!(counts.total() <= lists.total() + 4 && counts.creates() == 0, "{counts}");
    let counts = producer.requests(1).await;
    assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
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
async fn a_backlog_makes_neither_a_push_nor_a_claim_more_expensive() {
    let fixture = Fixture::new("backlog").await;
    let (counted, queue) = ready(&fixture).await;
    for more in [10, 2_990] {
        push_singly(&fixture, more).await;
        // Whoever has not pushed for long asks once where the end is.
        for _ in 0..2 {
            queue.push("known").await.unwrap();
        }
        settled(&counted).await;
        queue.push("counted").await.unwrap();
        let push = sent(&counted, 1).await;
        let delivery = pop(&queue).await;
        let claim = sent(&counted, POP).await;
        assert_eq!((push.of(Op::Multi), push.total()), (1, 1), "{push}");
        assert_is_pop(&claim);
        delivery.ack().await.unwrap();
        let ack = sent(&counted, 1).await;
        assert_eq!((ack.of(Op::Multi), ack.total()), (1, 1), "{ack}");
    }
    finish(&fixture, vec![queue]).await;
}
