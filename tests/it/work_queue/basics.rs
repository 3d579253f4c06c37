//! What a queue does while nothing goes wrong.

use std::time::{Duration, Instant};

use futures::{StreamExt, future};
use zookeeper_recipes::queue::{ItemStatus, NewItem, PushOptions};
use zookeeper_testkit::{Fixture, within};

use super::{A_WHILE, built, clean, drain, pop, popped, queue, start_built, start_queue, start_queues, text};
use crate::support::{PATIENCE, connect, connect_each, start};

#[tokio::test]
async fn items_are_delivered_in_order_of_arrival() {
    let (fixture, [ours, theirs]) = start_queues("order").await;
    let mut ids = Vec::new();
    for item in ["a", "b", "c"] {
        ids.push(ours.push(item).await.unwrap());
    }
    ids.extend(ours.push_all(["d", "e"]).await.unwrap());
    assert_eq!(theirs.len().await.unwrap(), 5);
    for (id, item) in ids.iter().zip(["a", "b", "c", "d", "e"]) {
        assert_eq!(ours.status(id).await.unwrap(), ItemStatus::Ready);
        let delivery = pop(&theirs).await;
        assert_eq!(
            (delivery.id(), text(&delivery).as_str(), delivery.attempt()),
            (id, item, 1)
        );
        assert!(matches!(
            ours.status(id).await.unwrap(),
            ItemStatus::Claimed { attempt: 1, .. }
        ));
        delivery.ack().await.unwrap();
        assert_eq!(ours.status(id).await.unwrap(), ItemStatus::Unknown);
    }
    assert!(theirs.try_pop().await.unwrap().is_none());
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn an_idle_consumer_gets_what_arrives() {
    let (fixture, [ours, theirs]) = start_queues("idle").await;
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.pop().await }
    });
    fixture.until_children("/queues/recharges/consumers", 1).await;
    ours.push("a").await.unwrap();
    let delivery = within(PATIENCE, "an item", waiting).await.unwrap().unwrap();
    assert_eq!(text(&delivery), "a");
    delivery.nack().await.unwrap();
    let again = pop(&theirs).await;
    assert_eq!((text(&again).as_str(), again.attempt()), ("a", 2));
    drop(again);
    let third = pop(&theirs).await;
    assert_eq!((text(&third).as_str(), third.attempt()), ("a", 3));
    third.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn urgent_items_go_ahead_and_delayed_ones_wait() {
    let (fixture, ours) = start_queue("priority").await;
    ours.push("later").await.unwrap();
    let delayed = ours
        .push_with("delayed", PushOptions::new().delay(A_WHILE))
        .await
        .unwrap();
    ours.push_with("urgent", PushOptions::new().priority(1)).await.unwrap();
    assert!(matches!(
        ours.status(&delayed).await.unwrap(),
        ItemStatus::Delayed { .. }
    ));
    assert_eq!(drain(&ours).await, ["urgent", "later"]);
    let delivery = pop(&ours).await;
    assert_eq!(text(&delivery), "delayed");
    delivery.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_key_is_pushed_once() {
    let (fixture, ours) = start_queue("key").await;
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    let first = ours.push(keyed("4711")).await.unwrap();
    assert_eq!(ours.push(keyed("4711")).await.unwrap(), first);
    let ids = ours
        .push_all([keyed("4711"), keyed("a/b|c"), keyed("a/b|c")])
        .await
        .unwrap();
    assert_eq!((&ids[0], &ids[1]), (&first, &ids[2]));
    assert_eq!(drain(&ours).await, ["4711", "a/b|c"]);
    assert_eq!(
        ours.push(keyed("4711")).await.unwrap(),
        first,
        "a key outlives its item"
    );
    assert_eq!(drain(&ours).await, Vec::<String>::new());
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn many_travel_together_and_come_out_once_each() {
    let (fixture, [ours, theirs]) = start_queues("many").await;
    let pushes = (0..1000).map(|number| ours.push(format!("{number:04}")));
    future::try_join_all(pushes).await.unwrap();
    let mut seen = Vec::new();
    let mut deliveries = theirs.deliveries(200);
    let mut acks = Vec::new();
    while seen.len() < 1000 {
        let delivery = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
        seen.push(text(&delivery));
        acks.push(tokio::spawn(delivery.ack()));
    }
    for ack in acks {
        ack.await.unwrap().unwrap();
    }
    let all: Vec<String> = (0..1000).map(|number| format!("{number:04}")).collect();
    assert_eq!(seen, all);
    drop(deliveries);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn results_and_next_steps_come_with_the_ack() {
    let (fixture, [ours, theirs]) = start_queues("result").await;
    let id = ours.push("sum").await.unwrap();
    let waiting = tokio::spawn({
        let (ours, id) = (ours.clone(), id.clone());
        async move { ours.result(&id).await }
    });
    pop(&theirs).await.ack_with("42").await.unwrap();
    assert_eq!(within(PATIENCE, "a result", waiting).await.unwrap().unwrap(), "42");
    assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Done);
    ours.push("first").await.unwrap();
    let next = pop(&theirs).await.ack_then(["second"]).await.unwrap();
    let second = pop(&theirs).await;
    assert_eq!((second.id(), text(&second).as_str()), (&next[0], "second"));
    second.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn dead_letters_can_be_redriven() {
    let (fixture, ours) = start_built("dead", |queue| queue.max_attempts(2)).await;
    let id = ours.push("poison").await.unwrap();
    for _ in 0..2 {
        pop(&ours).await.nack().await.unwrap();
    }
    assert!(ours.try_pop().await.unwrap().is_none());
    let dead = ours.dead_letters().await.unwrap();
    assert_eq!((dead.len(), &dead[0].id, dead[0].attempts), (1, &id, 2));
    assert!(matches!(ours.status(&id).await.unwrap(), ItemStatus::Dead { .. }));
    ours.redrive(&id).await.unwrap();
    let delivery = pop(&ours).await;
    assert_eq!((delivery.id(), delivery.attempt()), (&id, 1));
    delivery.reject("it is poisoned").await.unwrap();
    assert_eq!(ours.dead_letters().await.unwrap()[0].reason, "it is poisoned");
    ours.purge(&id).await.unwrap();
    assert_eq!(ours.dead_letters().await.unwrap(), []);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_bounded_queue_makes_a_push_wait() {
    let (fixture, ours) = start_built("bounded", |queue| queue.capacity(2)).await;
    ours.push_all(["a", "b"]).await.unwrap();
    assert!(ours.try_push("c").await.is_err());
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.push("c").await }
    });
    let first = pop(&ours).await;
    assert!(ours.try_push("d").await.is_err(), "what is claimed counts");
    first.ack().await.unwrap();
    within(PATIENCE, "room", waiting).await.unwrap().unwrap();
    assert_eq!(drain(&ours).await, ["b", "c"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn keys_and_results_are_forgotten_after_their_time() {
    let fixture = Fixture::new("retention").await;
    let ours = built(&connect(&fixture).await, |queue| {
        queue.result_retention(Duration::from_millis(200))
    });
    let keyed = || NewItem::new("a").with(PushOptions::new().key("k"));
    let id = ours.push(keyed()).await.unwrap();
    pop(&ours).await.ack_with("result").await.unwrap();
    assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Done);
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    zookeeper_testkit::eventually(PATIENCE, "the result is forgotten", || async {
        ours.status(&id).await.unwrap() == ItemStatus::Unknown
    })
    .await;
    assert_ne!(ours.push(keyed()).await.unwrap(), id);
    popped(waiting).await.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn turnover_counts_what_live_handles_did() {
    // On a busy machine it may be longer ago than counts.
    while !turns_over_in_time().await {}
}

/// False if it took longer than what counts certainly.
async fn turns_over_in_time() -> bool {
    let (fixture, zk) = start("turnover").await;
    let [ours, watcher] = connect_each(&fixture).await.map(|zk| queue(&zk));
    let theirs = queue(&zk);
    let mut seen = Vec::new();
    let mut look = async || {
        let turnover = watcher.stats().await.unwrap().turnover;
        let seconds = turnover.over.as_secs_f64();
        assert!((10.0..20.0).contains(&seconds), "{seconds}");
        assert!((turnover.pushed_per_second() * seconds - turnover.pushed as f64).abs() < 1e-6);
        seen.push((turnover.pushed, turnover.done));
    };
    look().await;
    let began = Instant::now();
    ours.push_all(["a", "b", "c", "d"]).await.unwrap();
    theirs.push("e").await.unwrap();
    let mut held = within(PATIENCE, "items", theirs.pop_batch(4)).await.unwrap();
    look().await;
    held.pop().unwrap().nack().await.unwrap();
    held.pop().unwrap().reject("no").await.unwrap();
    held.pop().unwrap().ack().await.unwrap();
    held.pop().unwrap().ack_then(["f"]).await.unwrap();
    look().await;
    assert_eq!(drain(&ours).await.len(), 3);
    look().await;
    // Those that are closed count no more.
    zk.close().await;
    look().await;
    let in_time = began.elapsed() < Duration::from_secs(9);
    if in_time {
        assert_eq!(seen, [(0, 0), (5, 0), (6, 2), (6, 5), (4, 3)]);
    }
    clean(&fixture, [ours, watcher]).await;
    in_time
}
