//! Clocks set apart: a claim ends at its consumer before another consumer takes the item over, whatever a clock shows.

use std::time::{Duration, Instant};

use futures::future;
use zookeeper_recipes::LossReason;
use zookeeper_recipes::queue::{Delivery, WorkQueue, WorkQueueBuilder};
use zookeeper_testkit::{Fixture, within};

use super::{built, clean, pop};
use crate::support::{LONG, PATIENCE, connect, connect_to, faults};

const TIMEOUT: Duration = Duration::from_secs(2);

fn timeout(queue: WorkQueueBuilder) -> WorkQueueBuilder {
    queue.claim_timeout(TIMEOUT)
}

/// The item that `old` holds is given to `new`, once the hold of `old` has ended; returns how long that took.
async fn taken_over(producer: &WorkQueue, old: &WorkQueue, new: &WorkQueue) -> Duration {
    producer.push("a").await.unwrap();
    let late = pop(old).await;
    let claimed = Instant::now();
    assert!(late.is_held());
    let told = tokio::spawn({
        let lost = late.lost();
        async move { (lost.await, Instant::now()) }
    });
    let again = pop(new).await;
    let taken = Instant::now();
    assert!(!late.is_held() && late.remaining().is_zero(), "two hold it");
    let (reason, at) = within(PATIENCE, "the holder is told", told).await.unwrap();
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(at <= taken, "told {:?} after it was taken over", at - taken);
    assert!(again.token() > late.token());
    assert!(again.attempt() > late.attempt());
    assert!(late.ack().await.is_err());
    finish(new, again).await;
    taken - claimed
}

/// Acknowledges an item, which a busy machine may lose meanwhile.
async fn finish(queue: &WorkQueue, mut delivery: Delivery) {
    while delivery.ack().await.is_err() {
        delivery = pop(queue).await;
    }
}

/// One of the two hears everything late, so that its idea of the ensemble's clock is behind.
#[tokio::test]
async fn a_claim_ends_first_beside_a_slow_link() {
    let fixture = Fixture::new("slow clock").await;
    let (proxy, servers) = fixture.proxied().await;
    let (slow, quick) = (
        built(&connect_to(&servers, LONG).await, timeout),
        built(&connect(&fixture).await, timeout),
    );
    proxy.delay(Duration::from_millis(100));
    taken_over(&quick, &slow, &quick).await;
    taken_over(&quick, &quick, &slow).await;
    proxy.delay(Duration::ZERO);
    clean(&fixture, [slow, quick]).await;
}

/// The clock of the ensemble's leader is set back, or ahead by less than the margin, before the claim or after it: one of
/// the two has an idea of it from before.
#[tokio::test]
async fn a_claim_ends_first_with_clocks_apart() {
    let cases = [-3_000, -700, 700]
        .map(|shift| [true, false].map(|before| [true, false].map(|is_holder| (shift, before, is_holder))));
    future::join_all(
        cases
            .into_iter()
            .flatten()
            .flatten()
            .map(|(shift, before, is_holder)| async move {
                let fixture = Fixture::with_embedded_server("clock set").await;
                let faults = faults(&fixture);
                let handle = async || built(&connect(&fixture).await, timeout);
                let (producer, knowing) = (handle().await, handle().await);
                // It learns the clock by this.
                knowing.push("first").await.unwrap();
                pop(&knowing).await.ack().await.unwrap();
                if before {
                    faults.shift_clock(shift);
                }
                let other = handle().await;
                other.push("second").await.unwrap();
                pop(&other).await.ack().await.unwrap();
                if !before {
                    faults.shift_clock(shift);
                }
                let took = match is_holder {
                    true => taken_over(&producer, &knowing, &other).await,
                    false => taken_over(&producer, &other, &knowing).await,
                };
                println!(
                    "set by {shift} ms, before: {before}, under the holder: {is_holder}; taken over after {took:?}"
                );
                faults.clear();
                clean(&fixture, [producer, knowing, other]).await;
            }),
    )
    .await;
}

/// The clock is set while the item is held.
#[tokio::test]
async fn a_claim_ends_first_under_a_changing_clock() {
    for shift in [-3_000, 700] {
        let fixture = Fixture::with_embedded_server("clock set under a claim").await;
        let (old, new) = (
            built(&connect(&fixture).await, timeout),
            built(&connect(&fixture).await, timeout),
        );
        new.push("a").await.unwrap();
        let late = pop(&old).await;
        faults(&fixture).shift_clock(shift);
        let again = pop(&new).await;
        assert!(!late.is_held(), "two hold it");
        assert!(again.token() > late.token());
        assert!(late.ack().await.is_err());
        finish(&new, again).await;
        faults(&fixture).clear();
        clean(&fixture, [old, new]).await;
    }
}
