//! What abuse of the first format has shown, each as a test.

use std::time::{Duration, Instant};

use futures::{StreamExt, future};
use zookeeper_recipes::queue::{Delivery, ItemStatus, PushOptions};
use zookeeper_recipes::{Error, LossReason};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use super::{
    batch, built, clean, drain, pop, popped, queue, start_built, start_proxied_queues, start_queue, start_queues, text,
    wait_in_line,
};
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, connect, connect_to, start};

/// t23: the deadline of a claim is part of its hold, also behind a silent link.
#[tokio::test]
async fn a_claim_ends_before_its_takeover() {
    let fixture = Fixture::new("t23").await;
    let (proxy, servers) = fixture.proxied().await;
    let timeout = |queue: zookeeper_recipes::queue::WorkQueueBuilder| queue.claim_timeout(Duration::from_secs(1));
    let stuck = built(&connect_to(&servers, LONG).await, timeout);
    let theirs = built(&connect(&fixture).await, timeout);
    theirs.push("a").await.unwrap();
    let late = pop(&stuck).await;
    assert!(late.is_held() && late.remaining() <= Duration::from_secs(1));
    let told = tokio::spawn({
        let lost = late.lost();
        async move { (lost.await, Instant::now()) }
    });
    proxy.black_hole();
    let again = pop(&theirs).await;
    let taken = Instant::now();
    assert!(!late.is_held() && late.remaining().is_zero());
    let (reason, at) = within(PATIENCE, "the holder is told", told).await.unwrap();
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(at <= taken, "told {:?} after the item was taken over", at - taken);
    assert!(again.token() > late.token());
    proxy.heal();
    assert!(late.ack().await.is_err());
    again.ack().await.unwrap();
    clean(&fixture, [stuck, theirs]).await;
}

#[tokio::test]
async fn an_extended_claim_is_not_taken_over() {
    let fixture = Fixture::new("extend").await;
    let timeout = |queue: zookeeper_recipes::queue::WorkQueueBuilder| queue.claim_timeout(Duration::from_secs(1));
    let (ours, theirs) = (
        built(&connect(&fixture).await, timeout),
        queue(&connect(&fixture).await),
    );
    ours.push("a").await.unwrap();
    let held = pop(&ours).await;
    held.extend(Duration::from_secs(60)).await.unwrap();
    let waiting = wait_in_line(&fixture, &theirs, 1).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(held.is_held() && !waiting.is_finished());
    held.nack().await.unwrap();
    let again = popped(waiting).await;
    assert_eq!(again.attempt(), 2);
    again.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// t01, t02: what is given back stays in order, however much it is.
#[tokio::test]
async fn hundreds_that_are_given_back_stay_in_order() {
    const ITEMS: usize = 300;
    let (fixture, ours) = start_queue("t01 t02").await;
    let payload = "x".repeat(1_500);
    for part in 0..3 {
        let items = (part * 100..(part + 1) * 100).map(|number| format!("{number:03} {payload}"));
        ours.push_all(items).await.unwrap();
    }
    let held = batch(&ours, ITEMS).await;
    // One after the other, so that each is a transaction of its own.
    for delivery in held.into_iter().rev() {
        delivery.nack().await.unwrap();
    }
    let items = drain(&ours).await;
    assert_eq!(items.len(), ITEMS);
    assert!(items.is_sorted(), "out of order");
    clean(&fixture, [ours]).await;
}

/// t03: the status of an item that is done is told, however busy the queue is.
#[tokio::test]
async fn a_busy_queue_tells_of_done_items() {
    let (fixture, [ours, theirs]) = start_queues("t03").await;
    let done = ours.push("done").await.unwrap();
    pop(&ours).await.ack().await.unwrap();
    let busy = async {
        loop {
            theirs.push("busy").await.unwrap();
            pop(&theirs).await.nack().await.unwrap();
            pop(&theirs).await.ack().await.unwrap();
        }
    };
    let asked = async {
        for _ in 0..20 {
            assert_eq!(ours.status(&done).await.unwrap(), ItemStatus::Unknown);
        }
    };
    tokio::select! {
        () = within(PATIENCE, "answers", asked) => {}
        () = busy => {}
    }
    for queue in [&ours, &theirs] {
        drain(queue).await;
    }
    clean(&fixture, [ours, theirs]).await;
}

/// t05: a delay does not begin at a time that a lost reply told late.
#[tokio::test]
async fn a_lost_reply_does_not_shorten_a_delay() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("t05").await;
    ours.push("warm").await.unwrap();
    pop(&theirs).await.ack().await.unwrap();
    let fault = proxy.inject(When::request(Op::Multi).path("/lanes/"), Injection::LoseReply);
    let push = tokio::spawn({
        let ours = ours.clone();
        async move { ours.push("first").await }
    });
    fault.fired().await;
    proxy.refuse().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.accept().await;
    within(PATIENCE, "pushed", push).await.unwrap().unwrap();
    pop(&theirs).await.ack().await.unwrap();
    let delay = Duration::from_millis(1_500);
    let before = Instant::now();
    ours.push_with("delayed", PushOptions::new().delay(delay))
        .await
        .unwrap();
    let delivery = pop(&theirs).await;
    assert_eq!(text(&delivery), "delayed");
    // The ensemble's clock is known up to the time of a reply.
    assert!(
        before.elapsed() + Duration::from_millis(300) >= delay,
        "after {:?}",
        before.elapsed()
    );
    delivery.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// t07: a claim that comes too late for one pop belongs to the next one.
#[tokio::test]
async fn short_pop_timeouts_get_items() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("t07").await;
    theirs.push_all(["a", "b", "c"]).await.unwrap();
    pop(&ours).await.ack().await.unwrap();
    proxy.delay(Duration::from_millis(40));
    let mut got = Vec::new();
    let trying = async {
        while got.len() < 2 {
            if let Ok(delivery) = ours.pop_timeout(Duration::from_millis(60)).await {
                assert_eq!(delivery.attempt(), 1);
                got.push(text(&delivery));
                delivery.ack().await.unwrap();
            }
        }
    };
    within(PATIENCE, "items", trying).await;
    assert_eq!(got, ["b", "c"]);
    proxy.delay(Duration::ZERO);
    clean(&fixture, [ours, theirs]).await;
}

/// t08: a handle that knows nothing of an option does not change it.
#[tokio::test]
async fn a_plain_handle_keeps_the_queues_options() {
    let (fixture, bounded) = start_built("t08", |queue| queue.capacity(1).max_attempts(2)).await;
    bounded.push("a").await.unwrap();
    let plain = queue(&connect(&fixture).await);
    assert!(plain.try_push("b").await.is_err());
    pop(&plain).await.nack().await.unwrap();
    pop(&plain).await.nack().await.unwrap();
    assert_eq!(plain.dead_letters().await.unwrap().len(), 1);
    plain.push("c").await.unwrap();
    assert!(bounded.try_push("d").await.is_err());
    let other = built(&connect(&fixture).await, |queue| queue.max_attempts(3));
    match other.push("e").await.unwrap_err() {
        zookeeper_recipes::queue::PushError::Error(Error::OptionMismatch {
            option, asked, agreed, ..
        }) => {
            assert_eq!(
                (option.as_str(), asked.as_str(), agreed.as_str()),
                ("max_attempts", "3", "2")
            );
        }
        error => panic!("{error}"),
    }
    assert_eq!(drain(&plain).await, ["c"]);
    clean(&fixture, [bounded, plain, other]).await;
}

/// t09: numbers of blocks do not begin again, so that an old view does not deliver out of order.
#[tokio::test]
async fn an_idle_time_does_not_change_the_order() {
    let (fixture, [ours, theirs]) = start_queues("t09").await;
    for round in 0..3 {
        for number in 0..210 {
            ours.push(format!("{round} {number:03}")).await.unwrap();
        }
        let items = drain(if round % 2 == 0 { &theirs } else { &ours }).await;
        assert_eq!(items.len(), 210);
        assert!(items.is_sorted(), "{items:?}");
    }
    clean(&fixture, [ours, theirs]).await;
}

/// A poison item that kills its consumers takes no other item with it.
#[tokio::test]
async fn a_lost_item_gets_its_last_attempt_alone() {
    let (fixture, zk) = start("isolated").await;
    let ours = built(&zk, |queue| queue.max_attempts(2));
    ours.push_all(["poison", "beside", "next"]).await.unwrap();
    let held = batch(&ours, 2).await;
    fixture.expire(&session_of(&zk).await).await;
    drop(held);
    let poison = pop(&ours).await;
    assert_eq!((text(&poison).as_str(), poison.attempt()), ("poison", 2));
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop_batch(3).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "it is alone");
    poison.reject("it kills").await.unwrap();
    let mut beside = within(PATIENCE, "an item", waiting).await.unwrap().unwrap();
    assert_eq!((beside.len(), text(&beside[0]).as_str()), (1, "beside"));
    beside.pop().unwrap().ack().await.unwrap();
    assert_eq!(drain(&ours).await, ["next"]);
    assert_eq!(ours.purge_all().await.unwrap(), 1);
    clean(&fixture, [ours]).await;
}

/// t15: closing gives back what was fetched ahead, and no attempt is spent.
#[tokio::test]
async fn closing_spends_no_attempt_of_prefetched_items() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("t15").await;
    theirs
        .push_all((0..40).map(|number| format!("{number:02}")))
        .await
        .unwrap();
    let mut deliveries = ours.deliveries(32);
    let first = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
    let second = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
    proxy.delay(Duration::from_millis(10));
    let ack = tokio::spawn(first.ack());
    tokio::task::yield_now().await;
    drop(deliveries);
    within(PATIENCE, "it closes", ours.close()).await;
    ack.await.unwrap().unwrap();
    second.ack().await.unwrap();
    let items = batch(&theirs, 38).await;
    let attempts: Vec<(String, u32)> = items
        .iter()
        .map(|delivery| (text(delivery), delivery.attempt()))
        .collect();
    let expected: Vec<(String, u32)> = (2..40).map(|number| (format!("{number:02}"), 1)).collect();
    assert_eq!(attempts, expected);
    future::try_join_all(items.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    assert!(matches!(ours.pop().await, Err(Error::Closed)));
    assert!(ours.push("late").await.is_err());
    clean(&fixture, [ours, theirs]).await;
}

/// t12: slots that are emptied are cleared away off the path of a pop.
#[tokio::test]
async fn emptied_slots_do_not_make_a_pop_expensive() {
    const ITEMS: usize = 30;
    let fixture = Fixture::new("t12").await;
    let counted = crate::support::cost::Counted::connect(&fixture).await;
    let (ours, theirs) = (queue(&counted.zk), queue(&connect(&fixture).await));
    for number in 1..=ITEMS {
        let delay = Duration::from_millis(u64::try_from(number).unwrap() * 130);
        theirs
            .push_with(number.to_string(), PushOptions::new().delay(delay))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(130 * 31)).await;
    batch(&theirs, ITEMS)
        .await
        .into_iter()
        .for_each(|delivery| drop(tokio::spawn(delivery.ack())));
    theirs.push("last").await.unwrap();
    counted.requests(0).await;
    let last = pop(&ours).await;
    assert_eq!(text(&last), "last");
    let counts = counted.requests(0).await.without_heartbeats();
    assert!(
        counts.matching(|request| request.op == Op::Multi).total() <= 3,
        "{counts}"
    );
    last.ack().await.unwrap();
    eventually(PATIENCE, "the slots are gone", || async {
        drop(ours.try_pop().await.unwrap());
        let tree = fixture.tree().await;
        !tree
            .keys()
            .any(|path| path.contains("/delayed/") && path.matches('/').count() > 4)
    })
    .await;
    clean(&fixture, [ours, theirs]).await;
}

/// t20: the stream of a closed coordinator ends.
#[tokio::test]
async fn the_stream_of_a_closed_coordinator_ends() {
    let (_fixture, zk) = start("t20").await;
    let ours = queue(&zk);
    let mut deliveries = ours.deliveries(4);
    zk.close().await;
    let first = within(PATIENCE, "an error", deliveries.next()).await;
    assert!(matches!(first, Some(Err(Error::Closed))), "{first:?}");
    assert!(within(PATIENCE, "the end", deliveries.next()).await.is_none());
}
