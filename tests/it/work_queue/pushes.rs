//! Items of one push keep their order, whatever becomes of the consumer that fetched them together.

use std::time::Duration;

use zookeeper_recipes::queue::{Delivery, WorkQueue};
use zookeeper_testkit::{Fixture, within};

use self::End::{Ack, Keep, Nack};
use super::{PATH, batch, built, claims, clean, pop, queue, start_queue, text};
use crate::support::sessions::expire;
use crate::support::{PATIENCE, connect};

#[derive(Clone, Copy)]
enum End {
    Ack,
    Nack,
    /// It is lost with its consumer.
    Keep,
}

/// What becomes of the first items of a push, one after the other: each by its index.
const PATTERNS: [&[(usize, End)]; 9] = [
    &[(0, Nack)],
    &[(1, Nack)],
    &[(2, Nack)],
    &[(0, Ack), (1, Nack)],
    &[(0, Nack), (1, Ack)],
    &[(0, Nack), (1, Nack)],
    &[(1, Nack), (0, Nack)],
    &[(1, Nack), (0, Ack)],
    &[(1, Nack), (3, Nack), (2, Ack)],
];

/// Fetches all items of a push and ends them by a pattern; what is still held, and what comes next.
async fn settle(queue: &WorkQueue, pattern: &[(usize, End)]) -> (Vec<Option<Delivery>>, Vec<String>) {
    let all = ["0", "1", "2", "3", "4"];
    queue.push_all(all).await.unwrap();
    queue.push("5").await.unwrap();
    let held = within(PATIENCE, "a batch", queue.pop_batch(all.len())).await.unwrap();
    assert_eq!(held.len(), all.len());
    let mut held: Vec<Option<Delivery>> = held.into_iter().map(Some).collect();
    let mut left: Vec<String> = all.iter().chain(&["5"]).map(|item| (*item).to_owned()).collect();
    for (index, end) in pattern {
        let delivery = held[*index].take().unwrap();
        match end {
            Ack => {
                left.retain(|item| *item != text(&delivery));
                delivery.ack().await.unwrap();
            }
            Nack => delivery.nack().await.unwrap(),
            Keep => held[*index] = Some(delivery),
        }
    }
    (held, left)
}

/// Takes so many at once until `items` came.
async fn taken(queue: &WorkQueue, most: usize, items: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < items {
        for delivery in within(PATIENCE, "items", queue.pop_batch(most)).await.unwrap() {
            taken.push(text(&delivery));
            delivery.ack().await.unwrap();
        }
    }
    taken
}

#[tokio::test]
async fn a_lost_consumers_push_keeps_its_order() {
    let (fixture, theirs) = start_queue("pushes").await;
    for (number, pattern) in PATTERNS.into_iter().enumerate() {
        for most in [1, 2, 8] {
            let zk = connect(&fixture).await;
            let (held, left) = settle(&queue(&zk), pattern).await;
            expire(&fixture, &zk).await;
            let came = taken(&theirs, most, left.len()).await;
            assert_eq!(came, left, "pattern {number}, {most} at once");
            drop(held);
        }
    }
    clean(&fixture, [theirs]).await;
}

/// The session of the one that holds them lives on.
#[tokio::test]
async fn an_overdue_push_keeps_its_order() {
    let fixture = Fixture::new("overdue pushes").await;
    let timed = |zk: &_| built(zk, |queue| queue.claim_timeout(Duration::from_secs(2)));
    let (ours, theirs) = (timed(&connect(&fixture).await), timed(&connect(&fixture).await));
    let (held, left) = settle(&ours, &[(0, Ack), (2, Nack), (1, Keep)]).await;
    let again = pop(&theirs).await;
    assert_eq!(text(&again), "2", "the others are held");
    again.nack().await.unwrap();
    within(PATIENCE, "the deadline", async {
        for delivery in held.iter().flatten() {
            delivery.lost().await;
        }
        // Others wait for a second more.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    })
    .await;
    assert_eq!(taken(&theirs, 3, left.len()).await, left);
    drop(held);
    clean(&fixture, [ours, theirs]).await;
}

/// A piece that another consumer has is passed, and comes first once it is given back.
#[tokio::test]
async fn a_piece_comes_first_once_given_back() {
    let (fixture, theirs) = start_queue("pieces").await;
    let zk = connect(&fixture).await;
    let (held, _) = settle(&queue(&zk), &[(0, Ack), (2, Nack)]).await;
    let piece = pop(&theirs).await;
    assert_eq!(text(&piece), "2");
    expire(&fixture, &zk).await;
    drop(held);
    let first = batch(&theirs, 1).await;
    assert_eq!(text(&first[0]), "1");
    piece.nack().await.unwrap();
    assert_eq!(taken(&theirs, 3, 4).await, ["2", "3", "4", "5"]);
    for delivery in first {
        delivery.ack().await.unwrap();
    }
    assert_eq!(claims(&fixture, PATH).await, 0);
    clean(&fixture, [theirs]).await;
}

#[tokio::test]
async fn peek_shows_a_lost_consumers_push_in_order() {
    let (fixture, theirs) = start_queue("peeked pushes").await;
    for (number, pattern) in PATTERNS.into_iter().enumerate() {
        let zk = connect(&fixture).await;
        let (held, left) = settle(&queue(&zk), pattern).await;
        expire(&fixture, &zk).await;
        drop(held);
        for most in [left.len(), 2] {
            let items = theirs.peek(most).await.unwrap();
            let texts: Vec<_> = items.iter().map(|item| item.payload.to_vec()).collect();
            let expected: Vec<_> = left[..most].iter().map(String::as_bytes).collect();
            assert_eq!(texts, expected, "pattern {number}");
        }
        assert_eq!(taken(&theirs, 8, left.len()).await, left);
    }
    clean(&fixture, [theirs]).await;
}
