//! What each step costs.

use std::time::Duration;

use zookeeper_testkit::{Fixture, Op};

use super::{LINE, PATH, clean, pop, popped, push, queue, wait_in_line};
use crate::support::connect;
use crate::support::cost::{Counted, make_dir};

#[tokio::test]
async fn pushes_pops_and_backlogs_keep_to_their_budget() {
    const ITEMS: usize = 30;
    let fixture = Fixture::new("budget").await;
    let counted = Counted::connect(&fixture).await;
    let queue = queue(&counted.zk);
    push(&queue, "first").await;
    counted.requests(3).await;
    for _ in 1..ITEMS {
        push(&queue, "item").await;
    }
    let counts = counted.requests(ITEMS - 1).await;
    assert_eq!(
        (counts.of(Op::Multi), counts.total()),
        (ITEMS - 1, ITEMS - 1),
        "{counts}"
    );
    for _ in 0..ITEMS {
        pop(&queue).await;
    }
    let counts = counted.requests(2 * ITEMS + 1).await;
    assert_eq!(
        (
            counts.of(Op::GetData),
            counts.of(Op::Multi),
            counts.lists(),
            counts.total()
        ),
        (ITEMS, ITEMS, 1, 2 * ITEMS + 1),
        "{counts}"
    );
    assert_eq!(queue.try_pop().await.unwrap(), None);
    let counts = counted.requests(1).await;
    assert_eq!((counts.lists(), counts.total()), (1, 1), "{counts}");
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn waiting_consumers_are_free_and_wake_singly() {
    let fixture = Fixture::new("herd").await;
    // Not reaped meanwhile.
    for directory in ["/queues", PATH, "/queues/mails-__fifo__", LINE] {
        make_dir(&fixture, directory).await;
    }
    let producer = queue(&connect(&fixture).await);
    let (mut counted, mut queues, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for place in 1..=4 {
        let consumer = Counted::connect(&fixture).await;
        let queue = queue(&consumer.zk);
        waiting.push(wait_in_line(&fixture, &queue, place).await);
        // A list; a place in line; the watches, on the queue or the one ahead, and on the own node.
        consumer.requests(5).await;
        counted.push(consumer);
        queues.push(queue);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for consumer in &counted {
        let counts = consumer.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    push(&producer, "a").await;
    assert_eq!(popped(waiting.remove(0)).await, "a");
    fixture.until_children(LINE, 3).await;
    counted[1].requests(2).await;
    for consumer in &counted[2..] {
        let counts = consumer.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    for item in ["b", "c", "d"] {
        push(&producer, item).await;
    }
    for waiting in waiting {
        popped(waiting).await;
    }
    clean(&fixture, queues.into_iter().chain([producer])).await;
}
