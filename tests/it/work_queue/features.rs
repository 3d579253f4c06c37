//! Groups, windows, retries, expiry, cancelling, pausing, numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future;
use zookeeper_recipes::queue::{
    CancelError, Delivery, ItemStatus, NewItem, Order, PushError, PushOptions, ResultError, RetryPolicy, WorkQueue,
};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{built, clean, drain, pop, popped, queue, start_built, start_queue, start_queues, text};
use crate::support::sessions::session_of;
use crate::support::{PATIENCE, connect, start};

fn grouped(item: &str, group: &str) -> NewItem {
    NewItem::new(item.to_owned()).with(PushOptions::new().group(group))
}

/// No group is left.
async fn no_group_is_left(fixture: &Fixture) {
    eventually(PATIENCE, "no group is left", || async {
        let tree = fixture.tree().await;
        !tree
            .keys()
            .any(|path| path.contains("/groups/") && path.matches('/').count() > 4)
    })
    .await;
}

#[tokio::test]
async fn items_of_a_group_come_singly_in_order() {
    let (fixture, [ours, theirs]) = start_queues("groups").await;
    for item in ["a1", "a2", "b1", "a3"] {
        ours.push(grouped(item, &item[..1])).await.unwrap();
    }
    assert_eq!(ours.len().await.unwrap(), 4);
    let (first, other) = (pop(&ours).await, pop(&theirs).await);
    assert_eq!(
        (text(&first), first.group(), text(&other)),
        ("a1".to_owned(), Some("a"), "b1".to_owned())
    );
    assert!(
        theirs.try_pop().await.unwrap().is_none(),
        "the rest of its group waits for the first one"
    );
    first.nack().await.unwrap();
    let again = pop(&theirs).await;
    assert_eq!((text(&again).as_str(), again.attempt()), ("a1", 2));
    again.ack().await.unwrap();
    other.ack().await.unwrap();
    let second = pop(&ours).await;
    assert_eq!((text(&second).as_str(), second.attempt()), ("a2", 1));
    ours.push(grouped("a4", "a")).await.unwrap();
    second.ack().await.unwrap();
    assert_eq!(drain(&theirs).await, ["a3", "a4"]);
    no_group_is_left(&fixture).await;
    clean(&fixture, [ours, theirs]).await;
}

/// However many push, take, fail and die: each group is in order, and no item of it is worked on beside another.
#[tokio::test]
async fn groups_stay_in_order_among_several_consumers() {
    const EACH: usize = 40;
    let fixture = Fixture::new("groups in order").await;
    let ours = built(&connect(&fixture).await, |queue| {
        queue.order(Order::Window(8)).max_attempts(100)
    });
    // It is made with its options.
    assert!(ours.try_pop().await.unwrap().is_none());
    let groups = ["a", "b", "c", "d"];
    let producer = async {
        for number in 0..EACH {
            for group in groups {
                ours.push(grouped(&format!("{group}{number:03}"), group)).await.unwrap();
            }
        }
    };
    let seen = std::sync::Mutex::new(BTreeMap::<char, Vec<String>>::new());
    let open = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let zk = future::join_all((0..3).map(|_| connect(&fixture))).await;
    let consumers = future::join_all(zk.iter().map(|zk| async {
        let queue = queue(zk);
        let mut random = fastrand::Rng::new();
        while seen.lock().unwrap().values().map(Vec::len).sum::<usize>() < EACH * groups.len() {
            let Some(delivery) = queue.try_pop().await.unwrap() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let item = text(&delivery);
            let group = item.chars().next().unwrap();
            assert!(open.lock().unwrap().insert(group), "two of {group} at once");
            tokio::task::yield_now().await;
            open.lock().unwrap().remove(&group);
            if random.u8(..5) == 0 {
                delivery.nack().await.unwrap();
            } else {
                seen.lock().unwrap().entry(group).or_default().push(item);
                delivery.ack().await.unwrap();
            }
        }
    }));
    within(4 * PATIENCE, "all items", future::join(producer, consumers)).await;
    for (group, items) in seen.into_inner().unwrap() {
        let expected: Vec<String> = (0..EACH).map(|number| format!("{group}{number:03}")).collect();
        assert_eq!(items, expected);
    }
    no_group_is_left(&fixture).await;
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_group_survives_its_consumer() {
    let (fixture, zk) = start("group and loss").await;
    let (ours, theirs) = (
        built(&zk, |queue| queue.max_attempts(2)),
        queue(&connect(&fixture).await),
    );
    ours.push_all([grouped("a1", "a"), grouped("a2", "a")]).await.unwrap();
    for attempt in 1..=2 {
        let held = pop(&ours).await;
        assert_eq!((text(&held).as_str(), held.attempt()), ("a1", attempt));
        fixture.expire(&session_of(&zk).await).await;
        within(PATIENCE, "it is lost", held.lost()).await;
    }
    let next = pop(&theirs).await;
    assert_eq!((text(&next).as_str(), next.attempt()), ("a2", 1));
    next.ack().await.unwrap();
    let dead = theirs.dead_letters().await.unwrap();
    assert_eq!(
        (dead.len(), &dead[0].payload[..], dead[0].group.as_deref()),
        (1, &b"a1"[..], Some("a"))
    );
    theirs.redrive(&dead[0].id).await.unwrap();
    assert_eq!(drain(&theirs).await, ["a1"]);
    no_group_is_left(&fixture).await;
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_group_waits_with_its_first_item() {
    let (fixture, ours) = start_queue("group and delay").await;
    let delayed = PushOptions::new().group("a").delay(Duration::from_secs(1));
    assert_eq!(ours.push_with("x", delayed).await, Err(PushError::DelayedGroup));
    ours.push_all([grouped("a1", "a"), grouped("a2", "a"), grouped("b1", "b")])
        .await
        .unwrap();
    pop(&ours).await.nack_after(Duration::from_millis(700)).await.unwrap();
    assert_eq!(drain(&ours).await, ["b1"]);
    let first = pop(&ours).await;
    assert_eq!((text(&first).as_str(), first.attempt()), ("a1", 2));
    first.ack().await.unwrap();
    assert_eq!(drain(&ours).await, ["a2"]);
    no_group_is_left(&fixture).await;
    clean(&fixture, [ours]).await;
}

/// A window delivers each item once, and passes by no more than its width.
#[tokio::test]
async fn a_window_delivers_all_within_its_width() {
    const ITEMS: usize = 200;
    const WIDTH: usize = 8;
    let fixture = Fixture::new("window").await;
    let ours = built(&connect(&fixture).await, |queue| {
        queue.order(Order::Window(WIDTH as u16))
    });
    for number in 0..ITEMS {
        ours.push(number.to_string()).await.unwrap();
    }
    let zk = future::join_all((0..2).map(|_| connect(&fixture))).await;
    let queues: Vec<WorkQueue> = zk.iter().map(queue).collect();
    let mut left: Vec<usize> = (0..ITEMS).collect();
    for turn in 0..ITEMS {
        let delivery = pop(&queues[turn % 2]).await;
        let number: usize = text(&delivery).parse().unwrap();
        let place = left.iter().position(|other| *other == number).unwrap();
        assert!(place < WIDTH, "{number} was delivered with {place} ahead");
        left.remove(place);
        delivery.ack().await.unwrap();
    }
    drop(queues);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_nack_follows_the_retry_policy() {
    let fixture = Fixture::new("retry").await;
    let policy = RetryPolicy::exponential(Duration::from_millis(300), Duration::from_secs(1)).jitter(0.0);
    let ours = built(&connect(&fixture).await, |queue| queue.retry(policy).max_attempts(3));
    let id = ours.push("a").await.unwrap();
    for attempt in 1..=3 {
        let delivery = pop(&ours).await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.nack_because(format!("failure {attempt}")).await.unwrap();
        if attempt < 3 {
            assert!(matches!(ours.status(&id).await.unwrap(), ItemStatus::Delayed { .. }));
        }
    }
    let dead = ours.dead_letters().await.unwrap();
    let reasons: Vec<&str> = dead[0].history.iter().map(|past| past.reason.as_str()).collect();
    assert_eq!(reasons, ["failure 1", "failure 2", "failure 3"]);
    ours.purge(&id).await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn each_end_of_an_item_has_a_result() {
    let (fixture, ours) = start_queue("outcomes").await;
    for keeps in [false, true] {
        let options = || {
            if keeps {
                PushOptions::new().keep_outcome()
            } else {
                PushOptions::new()
            }
        };
        let id = ours.push_with("done", options()).await.unwrap();
        let waiting = tokio::spawn({
            let (ours, id) = (ours.clone(), id.clone());
            async move { ours.result(&id).await }
        });
        let delivery = pop(&ours).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        delivery.ack().await.unwrap();
        let told = within(PATIENCE, "the end is told", waiting).await.unwrap();
        assert_eq!(told, Err(ResultError::NoResult { id }));
    }
    let id = ours
        .push_with("cancelled", PushOptions::new().keep_outcome())
        .await
        .unwrap();
    ours.cancel(&id).await.unwrap();
    assert_eq!(ours.result(&id).await, Err(ResultError::Cancelled { id: id.clone() }));
    assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Cancelled);
    let soon = PushOptions::new()
        .keep_outcome()
        .expires_after(Duration::from_millis(1));
    let id = ours.push_with("expired", soon).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(ours.try_pop().await.unwrap().is_none());
    assert_eq!(
        within(PATIENCE, "a result", ours.result(&id)).await,
        Err(ResultError::Expired { id })
    );
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn only_waiting_items_can_be_cancelled() {
    let (fixture, ours) = start_queue("cancel").await;
    let single = ours.push("single").await.unwrap();
    let several = ours.push_all(["a", "b", "c", "d"]).await.unwrap();
    let delayed = ours
        .push_with("later", PushOptions::new().delay(Duration::from_secs(600)))
        .await
        .unwrap();
    let group = ours
        .push_all([grouped("g1", "g"), grouped("g2", "g"), grouped("g3", "g")])
        .await
        .unwrap();
    let first = pop(&ours).await;
    assert_eq!(text(&first), "single");
    assert!(matches!(ours.cancel(&single).await, Err(CancelError::Claimed { .. })));
    first.nack().await.unwrap();
    for id in [&single, &several[1], &several[3], &delayed, &group[1], &group[0]] {
        ours.cancel(id).await.unwrap();
        assert_eq!(ours.cancel(id).await, Err(CancelError::Unknown { id: (*id).clone() }));
    }
    assert_eq!(drain(&ours).await, ["a", "c", "g3"]);
    let alone = ours.push(grouped("h1", "h")).await.unwrap();
    ours.cancel(&alone).await.unwrap();
    assert!(ours.try_pop().await.unwrap().is_none());
    no_group_is_left(&fixture).await;
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_paused_queue_delivers_nothing() {
    let (fixture, [ours, theirs]) = start_queues("pause").await;
    ours.push("a").await.unwrap();
    let held = pop(&theirs).await;
    ours.pause().await.unwrap();
    ours.push("b").await.unwrap();
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.pop().await }
    });
    assert!(ours.try_pop().await.unwrap().is_none());
    held.ack().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished() && ours.stats().await.unwrap().paused);
    ours.resume().await.unwrap();
    let delivery = popped(waiting).await;
    assert_eq!(text(&delivery), "b");
    delivery.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn numbers_say_what_a_queue_holds() {
    let (fixture, ours) = start_built("stats", |queue| queue.max_attempts(1)).await;
    let empty = ours.stats().await.unwrap();
    assert_eq!((empty.ready, empty.claimed, empty.oldest), (0, 0, None));
    ours.push_all(["a", "b", "c", "d", "e"]).await.unwrap();
    ours.push_with("later", PushOptions::new().delay(Duration::from_secs(600)))
        .await
        .unwrap();
    ours.push_all([grouped("g1", "g"), grouped("g2", "g")]).await.unwrap();
    let mut held = within(PATIENCE, "items", ours.pop_batch(3)).await.unwrap();
    held.pop().unwrap().reject("no").await.unwrap();
    let stats = ours.stats().await.unwrap();
    assert_eq!((stats.ready, stats.delayed, stats.claimed, stats.dead), (4, 1, 2, 1));
    assert_eq!(stats.claims.iter().map(|claim| claim.items).sum::<usize>(), 2);
    assert!(stats.oldest.is_some() && !stats.paused);
    held[0].progress("half").await.unwrap();
    match ours.status(held[0].id()).await.unwrap() {
        ItemStatus::Claimed { attempt, progress, .. } => {
            assert_eq!((attempt, progress.as_deref()), (1, Some(&b"half"[..])));
        }
        status => panic!("{status:?}"),
    }
    future::try_join_all(held.into_iter().map(Delivery::ack)).await.unwrap();
    assert_eq!(drain(&ours).await, ["d", "e", "g1", "g2"]);
    let delayed = fixture
        .tree()
        .await
        .into_keys()
        .filter(|path| path.contains("/delayed/"))
        .count();
    assert!(delayed > 0);
    let later = ours.dead_letters().await.unwrap();
    ours.purge(&later[0].id).await.unwrap();
    assert_eq!(ours.len().await.unwrap(), 1);
}

#[tokio::test]
async fn dead_letters_are_paged_and_redriven_together() {
    const ITEMS: usize = 150;
    let (fixture, ours) = start_built("dead pages", |queue| queue.max_attempts(1)).await;
    ours.push_all((0..ITEMS).map(|number| format!("{number:03}")))
        .await
        .unwrap();
    let mut held = Vec::new();
    while held.len() < ITEMS {
        held.extend(within(PATIENCE, "items", ours.pop_batch(ITEMS)).await.unwrap());
    }
    future::try_join_all(held.into_iter().map(Delivery::nack))
        .await
        .unwrap();
    let (mut pages, mut last) = (Vec::new(), None);
    loop {
        let page = ours.dead_letters_page(last.as_ref(), 40).await.unwrap();
        let Some(end) = page.last() else { break };
        last = Some(end.id.clone());
        pages.push(page.len());
    }
    assert_eq!(pages, [40, 40, 40, 30]);
    assert_eq!(ours.redrive_all().await.unwrap(), ITEMS);
    let mut items = drain(&ours).await;
    items.sort_unstable();
    let all: Vec<String> = (0..ITEMS).map(|number| format!("{number:03}")).collect();
    assert_eq!(items, all);
    assert_eq!(ours.purge_all().await.unwrap(), 0);
    clean(&fixture, [ours]).await;
}

/// An old item of low priority comes before new urgent ones.
#[tokio::test]
async fn aging_lets_low_priorities_through() {
    let (fixture, ours) = start_built("aging", |queue| queue.aging(Duration::from_millis(10))).await;
    ours.push_with("old", PushOptions::new().priority(120)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    ours.push_with("urgent", PushOptions::new().priority(100))
        .await
        .unwrap();
    assert_eq!(drain(&ours).await, ["old", "urgent"]);
    clean(&fixture, [ours]).await;
}
