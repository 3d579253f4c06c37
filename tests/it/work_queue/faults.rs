//! Consumers and producers that are lost, stuck or closed, and a server that is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use zookeeper_recipes::queue::{AckError, ItemStatus, PushError, WorkQueue};
use zookeeper_recipes::zookeeper_client::CreateMode;
use zookeeper_recipes::{Coordinator, Error, LossReason, Lost};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{MOMENT, built, clean, drain, pop, popped, queue, start_queue, text, until_silent, wait_in_line};
use crate::support::sessions::{assert_expired, expire, expire_unseen};
use crate::support::{LONG, PATIENCE, connect, connect_to, start_each, start_proxied};

#[tokio::test]
async fn a_waiting_consumer_survives_its_session() {
    let (fixture, [zk, other]) = start_each("expiry while waiting").await;
    let (ours, theirs) = (queue(&zk), queue(&other));
    let waiting = wait_in_line(&fixture, &ours, 1).await;
    expire(&fixture, &zk).await;
    theirs.push("a").await.unwrap();
    let delivery = popped(waiting).await;
    assert_eq!(text(&delivery), "a");
    delivery.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// Nobody does anything but wait, when the consumer of the only item dies.
#[tokio::test]
async fn a_dead_consumers_items_move_at_once() {
    let fixture = Fixture::new("expiry while holding").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (idle, servers) = fixture.proxied().await;
    let (ours, theirs) = (queue(&zk), queue(&connect_to(&servers, LONG).await));
    let ids = theirs.push_all(["a", "b"]).await.unwrap();
    let mut lost = within(PATIENCE, "items", ours.pop_batch(2)).await.unwrap();
    assert_eq!(lost.len(), 2);
    let waiting = wait_in_line(&fixture, &theirs, 1).await;
    until_silent(&idle).await;
    expire_unseen(&fixture, &proxy, &zk).await;
    let second = popped(waiting).await;
    assert_eq!((second.id(), second.attempt()), (&ids[0], 2));
    assert!(second.token() > lost[0].token());
    assert_expired(within(PATIENCE, "the consumer is told", lost[0].lost()).await);
    for late in lost.drain(..) {
        assert!(matches!(late.ack().await, Err(AckError::Lost(_))));
    }
    assert!(second.is_held(), "a late ack does not touch what belongs to another");
    second.ack().await.unwrap();
    assert_eq!(drain(&theirs).await, ["b"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_dropped_coordinators_items_move_on() {
    let (fixture, theirs) = start_queue("dropped in mid-work").await;
    for how in ["dropped", "closed"] {
        let zk = connect(&fixture).await;
        theirs.push(how).await.unwrap();
        let delivery = pop(&queue(&zk)).await;
        let waiting = wait_in_line(&fixture, &theirs, 1).await;
        match how {
            "dropped" => drop((delivery, zk)),
            _ => {
                zk.close().await;
                assert_eq!(
                    delivery.ack().await,
                    Err(AckError::Lost(Lost {
                        reason: LossReason::Closed
                    }))
                );
            }
        }
        let again = popped(waiting).await;
        assert_eq!((text(&again).as_str(), again.attempt()), (how, 2));
        again.ack().await.unwrap();
    }
    clean(&fixture, [theirs]).await;
}

#[tokio::test]
async fn a_closed_coordinator_ends_whoever_waits() {
    let (fixture, [zk, other]) = start_each("closed while waiting").await;
    let (ours, theirs) = (
        built(&zk, |queue| queue.capacity(1)),
        built(&other, |queue| queue.capacity(1)),
    );
    theirs.push("a").await.unwrap();
    let held = pop(&theirs).await;
    let waiting = wait_in_line(&fixture, &ours, 1).await;
    let pushing = tokio::spawn({
        let ours = ours.clone();
        async move { ours.push("b").await }
    });
    zk.close().await;
    let popped = within(PATIENCE, "the pop ends", waiting).await.unwrap();
    assert_eq!(popped.err(), Some(Error::Closed));
    let pushed = within(PATIENCE, "the push ends", pushing).await.unwrap();
    assert_eq!(pushed, Err(PushError::Error(Error::Closed)));
    assert_eq!(ours.try_pop().await.err(), Some(Error::Closed));
    assert_eq!(ours.len().await, Err(Error::Closed));
    held.ack().await.unwrap();
    assert_eq!(drain(&theirs).await, Vec::<String>::new());
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_stuck_consumers_late_ack_fails() {
    let (fixture, [zk, other]) = start_each("claim timeout").await;
    let (stuck, theirs) = (built(&zk, |queue| queue.claim_timeout(MOMENT)), queue(&other));
    let id = stuck.push("a").await.unwrap();
    let late = pop(&stuck).await;
    // An idle consumer sees to it, though nothing else happens.
    let waiting = wait_in_line(&fixture, &theirs, 1).await;
    let again = popped(waiting).await;
    assert_eq!((again.id(), again.attempt()), (&id, 2));
    assert!(again.token() > late.token());
    let reason = within(PATIENCE, "the stuck one is told", late.lost()).await;
    assert_eq!(
        reason,
        LossReason::LeaseLapsed,
        "it ends here before another has the item"
    );
    let mut write = late.fenced();
    write.add_create("/late", b"", CreateMode::Persistent);
    assert!(write.commit().await.is_err());
    assert_eq!(late.ack().await, Err(AckError::Lost(Lost { reason })));
    assert!(again.is_held());
    again.ack().await.unwrap();
    assert_eq!(theirs.status(&id).await.unwrap(), ItemStatus::Unknown);
    clean(&fixture, [stuck, theirs]).await;
}

/// Two take at once, and none of them takes what the other has just taken for an item of a dead consumer.
#[tokio::test]
async fn recovery_spares_an_item_taken_meanwhile() {
    const ITEMS: usize = 200;
    let fixture = Fixture::new("looking").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, theirs) = (
        queue(&connect(&fixture).await),
        queue(&connect_to(&servers, LONG).await),
    );
    let done = AtomicUsize::new(0);
    let take = async |queue: &WorkQueue| {
        while done.load(Ordering::Relaxed) < ITEMS {
            if let Some(delivery) = queue.try_pop().await.unwrap() {
                assert_eq!(delivery.attempt(), 1, "it was given back while it was held");
                delivery.ack().await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let push = async || {
        for number in 0..ITEMS {
            ours.push(number.to_string()).await.unwrap();
            if number % 20 == 0 {
                proxy.cut();
            }
        }
    };
    let all = future::join3(take(&ours), take(&theirs), push());
    within(4 * PATIENCE, "all items", all).await;
    clean(&fixture, [ours, theirs]).await;
}

async fn with_own_server(name: &str) -> (Fixture, [Coordinator; 2]) {
    let fixture = Fixture::with_own_server(name).await;
    let sessions = [connect(&fixture).await, connect(&fixture).await];
    (fixture, sessions)
}

#[tokio::test]
async fn work_goes_on_after_a_server_crash() {
    let (fixture, [zk, other]) = with_own_server("server killed").await;
    let (ours, theirs) = (queue(&zk), queue(&other));
    ours.push_all(["held", "waiting"]).await.unwrap();
    let held = pop(&ours).await;
    let second = pop(&ours).await;
    let idle = wait_in_line(&fixture, &theirs, 1).await;
    fixture.server().kill().await;
    let acking = tokio::spawn(held.ack());
    let pushing = tokio::spawn({
        let ours = ours.clone();
        async move { ours.push("pushed meanwhile").await }
    });
    fixture.server().restart().await;
    within(PATIENCE, "acked", acking).await.unwrap().unwrap();
    within(PATIENCE, "pushed", pushing).await.unwrap().unwrap();
    assert!(second.is_held());
    let woken = popped(idle).await;
    assert_eq!(text(&woken), "pushed meanwhile");
    woken.ack().await.unwrap();
    second.nack().await.unwrap();
    eventually(PATIENCE, "the last one", || async { theirs.len().await.unwrap() == 1 }).await;
    assert_eq!(drain(&theirs).await, ["waiting"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_silent_consumer_loses_its_items_in_time() {
    let (fixture, proxy, zk) = start_proxied("silent", Duration::from_secs(2)).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    theirs.push("a").await.unwrap();
    let silent = pop(&ours).await;
    let waiting = wait_in_line(&fixture, &theirs, 1).await;
    proxy.black_hole();
    let lost = tokio::spawn(async move {
        within(PATIENCE, "it is told", silent.lost()).await;
        (std::time::Instant::now(), silent)
    });
    let again = popped(waiting).await;
    let delivered = std::time::Instant::now();
    let (told, silent) = lost.await.unwrap();
    assert!(told <= delivered, "two consumers believe to hold one item");
    proxy.heal();
    assert!(matches!(silent.ack().await, Err(AckError::Lost(_))));
    again.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}
