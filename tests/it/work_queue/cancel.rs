//! Futures that are dropped at any moment: no item is lost, none is stuck, and what nobody got was not tried.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use zookeeper_recipes::WaitTimeoutError;
use zookeeper_recipes::queue::{Delivery, ItemId, ItemStatus, WorkQueue};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{MOMENT, PATH, claims, clean, drain, pop, start_queue, start_queues, text};
use crate::support::PATIENCE;
use crate::support::polls::poll_times;

/// Drops what `call` makes after each number of polls, and after ever more time on its way, until it is done before that.
async fn drop_everywhere<T, F: Future<Output = T>>(call: impl Fn() -> F, after: impl AsyncFn(Option<T>)) -> usize {
    let mut rounds = 0;
    for polls in 0.. {
        // Not polled again after that, though it goes on elsewhere.
        let output = {
            let mut future = pin!(call());
            within(PATIENCE, format!("{polls} polls"), poll_times(future.as_mut(), polls)).await
        };
        rounds += 1;
        let is_done = output.is_some();
        after(output).await;
        if is_done {
            break;
        }
    }
    for step in 0..60_u64 {
        let output = tokio::time::timeout(Duration::from_micros(step * step * 10), call())
            .await
            .ok();
        rounds += 1;
        after(output).await;
    }
    rounds
}

/// Nobody of ours stands in line any more, or holds anything.
async fn until_idle(fixture: &Fixture) {
    fixture.until_children(&format!("{PATH}/consumers"), 0).await;
    eventually(PATIENCE, "nothing is claimed", || async {
        claims(fixture, PATH).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_dropped_push_pushes_at_most_once() {
    let (fixture, [ours, theirs]) = start_queues("push dropped").await;
    let after = async |pushed: Option<ItemId>| {
        // What was on its way is behind this push, or before it.
        ours.push("behind").await.unwrap();
        let items = drain(&theirs).await;
        let count = items.iter().filter(|item| *item == "a").count();
        assert!(count <= 1 && items.len() == count + 1, "{items:?}");
        assert!(pushed.is_none() || count == 1);
    };
    let rounds = drop_everywhere(|| async { ours.push("a").await.unwrap() }, after).await;
    println!("{rounds} rounds");
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_dropped_pop_leaves_the_item_untried() {
    let (fixture, [ours, theirs]) = start_queues("pop dropped").await;
    ours.push("a").await.unwrap();
    let after = async |popped: Option<Delivery>| {
        let item = match popped {
            Some(delivery) => delivery,
            None => pop(&theirs).await,
        };
        assert_eq!((text(&item).as_str(), item.attempt()), ("a", 1));
        item.ack().await.unwrap();
        until_idle(&fixture).await;
        theirs.push("a").await.unwrap();
    };
    let rounds = drop_everywhere(|| async { ours.pop().await.unwrap() }, &after).await;
    let tried = drop_everywhere(
        || async { ours.try_pop().await.unwrap() },
        async |popped: Option<Option<Delivery>>| after(popped.flatten()).await,
    );
    println!("{rounds} + {} rounds", tried.await);
    drain(&theirs).await;
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_pop_dropped_while_waiting_leaves_the_line() {
    let (fixture, [ours, theirs]) = start_queues("pop dropped in line").await;
    let after = async |popped: Option<Option<Delivery>>| {
        assert!(popped.flatten().is_none(), "there is nothing");
        until_idle(&fixture).await;
    };
    let wait = || async { ours.pop_timeout(Duration::from_millis(20)).await.ok() };
    let rounds = drop_everywhere(wait, after).await;
    println!("{rounds} rounds");
    theirs.push("a").await.unwrap();
    assert_eq!(drain(&theirs).await, ["a"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_dropped_batch_leaves_items_untried_and_ordered() {
    let (fixture, [ours, theirs]) = start_queues("pop_batch dropped").await;
    let items = ["a", "b", "c", "d", "e"];
    theirs.push_all(items).await.unwrap();
    let after = async |popped: Option<Vec<Delivery>>| {
        let mut seen = Vec::new();
        for delivery in popped.into_iter().flatten() {
            seen.push(text(&delivery));
            assert_eq!(delivery.attempt(), 1);
            delivery.ack().await.unwrap();
        }
        while seen.len() < items.len() {
            let delivery = pop(&theirs).await;
            seen.push(text(&delivery));
            assert_eq!(delivery.attempt(), 1);
            delivery.ack().await.unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, items);
        until_idle(&fixture).await;
        theirs.push_all(items).await.unwrap();
    };
    let rounds = drop_everywhere(|| async { ours.pop_batch(4).await.unwrap() }, after).await;
    println!("{rounds} rounds");
    drain(&theirs).await;
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_dropped_stream_gives_unyielded_items_back_untried() {
    let (fixture, [ours, theirs]) = start_queues("stream dropped").await;
    for yielded in [0, 1, 5] {
        for prefetch in [1, 4, 100] {
            theirs.push_all((0..10).map(|number| number.to_string())).await.unwrap();
            let mut deliveries = ours.deliveries(prefetch);
            for number in 0..yielded {
                let delivery = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
                assert_eq!(text(&delivery), number.to_string());
                delivery.ack().await.unwrap();
            }
            if yielded == 0 {
                assert!(deliveries.next().now_or_never().is_none(), "it has just begun");
            }
            drop(deliveries);
            until_idle(&fixture).await;
            for number in yielded..10 {
                let delivery = pop(&theirs).await;
                assert_eq!(
                    (text(&delivery), delivery.attempt()),
                    (number.to_string(), 1),
                    "{prefetch}"
                );
                delivery.ack().await.unwrap();
            }
            until_idle(&fixture).await;
        }
    }
    clean(&fixture, [ours, theirs]).await;
}

/// Where an item is once it is claimed no more.
async fn settled(ours: &WorkQueue, id: &ItemId) -> ItemStatus {
    let claimed = async || matches!(ours.status(id).await.unwrap(), ItemStatus::Claimed { .. });
    eventually(PATIENCE, "the item is settled", || async { !claimed().await }).await;
    ours.status(id).await.unwrap()
}

#[tokio::test]
async fn a_dropped_ack_acknowledges_only_once_polled() {
    let (fixture, [ours, theirs]) = start_queues("ack dropped").await;
    for polls in 0..3 {
        let id = theirs.push("a").await.unwrap();
        let delivery = pop(&ours).await;
        poll_times(pin!(delivery.ack()), polls).await;
        let status = settled(&theirs, &id).await;
        if polls == 0 {
            assert_eq!(status, ItemStatus::Ready);
            let again = pop(&theirs).await;
            assert_eq!(again.attempt(), 2);
            again.ack().await.unwrap();
        } else {
            assert_eq!(status, ItemStatus::Unknown);
        }
    }
    for polls in 1..3 {
        let id = theirs.push("a").await.unwrap();
        poll_times(pin!(pop(&ours).await.ack_with("result")), polls).await;
        assert_eq!(settled(&theirs, &id).await, ItemStatus::Done);
        theirs.push("a").await.unwrap();
        poll_times(pin!(pop(&ours).await.ack_then(["next"])), polls).await;
        let next = pop(&theirs).await;
        assert_eq!(text(&next), "next");
        next.ack().await.unwrap();
    }
    until_idle(&fixture).await;
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_dropped_nack_still_gives_back() {
    let (fixture, [ours, theirs]) = start_queues("nack dropped").await;
    for polls in 0..3 {
        let id = theirs.push("a").await.unwrap();
        poll_times(pin!(pop(&ours).await.nack()), polls).await;
        let again = pop(&theirs).await;
        assert_eq!((again.id(), again.attempt()), (&id, 2));
        poll_times(pin!(again.nack_after(MOMENT)), 1).await;
        assert!(matches!(settled(&ours, &id).await, ItemStatus::Delayed { .. }));
        let third = pop(&ours).await;
        assert_eq!((third.id(), third.attempt()), (&id, 3));
        third.ack().await.unwrap();
    }
    until_idle(&fixture).await;
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_timed_out_pop_has_left_the_line() {
    let (fixture, ours) = start_queue("out of time").await;
    let popped = within(PATIENCE, "the limit", ours.pop_timeout(Duration::from_millis(100))).await;
    assert!(matches!(popped, Err(WaitTimeoutError::Elapsed { .. })));
    assert_eq!(
        fixture.children(&format!("{PATH}/consumers")).await,
        Vec::<String>::new()
    );
    clean(&fixture, [ours]).await;
}
