//! A consumer that waits is told of whatever comes free, at whichever moment.

use std::time::Duration;

use zookeeper_recipes::queue::PushOptions;
use zookeeper_testkit::within;

use super::{clean, pop, queue, start_built};
use crate::support::{PATIENCE, connect};

/// So many places in which everything is claimed that not all of them are listed at each look.
const PLACES: u64 = 16;

const ROUNDS: u64 = 60;

/// What comes free between a look and the watches behind it is not missed, wherever it is.
#[tokio::test]
async fn an_item_freed_during_a_look_is_taken() {
    let (fixture, ours) = start_built("free while looked", |queue| queue.max_attempts(1000)).await;
    let theirs = queue(&connect(&fixture).await);
    for place in 0..PLACES {
        // Each has a slot of its own.
        let options = PushOptions::new().delay(Duration::from_millis(150 * (place + 1)));
        ours.push_with(format!("{place}"), options).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(pop(&ours).await);
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..ROUNDS {
        // The first ones are left alone: they are listed each time.
        let released = held.remove(0);
        let waiting = theirs.clone();
        let waiting = tokio::spawn(async move { waiting.pop().await });
        tokio::time::sleep(Duration::from_micros(random.u64(..6000))).await;
        released.nack_after(Duration::ZERO).await.unwrap();
        let taken = within(PATIENCE, "what has come free", waiting).await.unwrap().unwrap();
        taken.nack_after(Duration::ZERO).await.unwrap();
        held.push(pop(&ours).await);
    }
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    clean(&fixture, [ours, theirs]).await;
}
