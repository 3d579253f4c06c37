//! The order of delivery: by priority, then by due time, then by arrival, whoever pushed and whatever came in between.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future;
use zookeeper_recipes::queue::{Delivery, ItemId, ItemStatus, NewItem, PushOptions, WorkQueue};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{A_WHILE, MOMENT, PATH, clean, drain, pop, queue, start_queue, start_queues, text};
use crate::support::{PATIENCE, connect};

fn item(text: &str, options: PushOptions) -> NewItem {
    NewItem::new(text.to_owned()).with(options)
}

async fn batch(queue: &WorkQueue, items: usize) -> Vec<Delivery> {
    let batch = within(PATIENCE, "a batch", queue.pop_batch(items)).await.unwrap();
    assert_eq!(batch.len(), items);
    batch
}

/// Items come out of it in one order, however many are taken at once.
async fn drain_by(queue: &WorkQueue, most: usize) -> Vec<String> {
    let mut items = Vec::new();
    while !queue.is_empty().await.unwrap() {
        for delivery in within(PATIENCE, "a batch", queue.pop_batch(most)).await.unwrap() {
            items.push(text(&delivery));
            delivery.ack().await.unwrap();
        }
    }
    items
}

/// For items to be due at other times than those before.
async fn later() {
    tokio::time::sleep(MOMENT).await;
}

#[tokio::test]
async fn priority_beats_due_time_beats_arrival() {
    let fixture = Fixture::new("order").await;
    let mut queues = Vec::new();
    for _ in 0..3 {
        queues.push(queue(&connect(&fixture).await));
    }
    for most in [1, 2, 3, 128] {
        let with = |priority| PushOptions::new().priority(priority);
        let soon = Duration::from_millis(1);
        // Arrives first, and is due after those that are due at once now.
        let latest = queues[0].push(item("b 3", with(100).delay(A_WHILE))).await.unwrap();
        queues[1].push(item("b 2", with(100).delay(soon))).await.unwrap();
        queues[2].push(item("c 1", with(255))).await.unwrap();
        later().await;
        queues[0].push(item("c 2", with(255))).await.unwrap();
        queues[1].push(item("a 1", with(0))).await.unwrap();
        queues[2]
            .push_all([item("a 2", with(0)), item("b 2b", with(100)), item("a 3", with(0))])
            .await
            .unwrap();
        queues[0].push("b 2c").await.unwrap();
        eventually(PATIENCE, "all are due", || async {
            queues[0].status(&latest).await.unwrap() == ItemStatus::Ready
        })
        .await;
        // The other handles know the clock as late as their last replies came.
        later().await;
        let id = queues[2].push("b 4").await.unwrap();
        assert_eq!(queues[0].status(&id).await.unwrap(), ItemStatus::Ready);
        let expected = ["a 1", "a 2", "a 3", "b 2", "b 2b", "b 2c", "b 3", "b 4", "c 1", "c 2"];
        assert_eq!(drain_by(&queues[1], most).await, expected, "{most} at once");
    }
    clean(&fixture, queues).await;
}

#[tokio::test]
async fn what_is_given_back_keeps_its_place() {
    let (fixture, [ours, theirs]) = start_queues("place").await;
    let all = ["1", "2", "3", "4", "5", "6"];
    for item in all {
        ours.push(item).await.unwrap();
        later().await;
    }
    // Given back in another order than taken, one by one and together, by both.
    let mut first = batch(&ours, 3).await;
    let mut second = batch(&theirs, 2).await;
    second.remove(1).nack().await.unwrap();
    drop(first.remove(0));
    first.remove(1).nack().await.unwrap();
    second.remove(0).nack().await.unwrap();
    first.remove(0).nack().await.unwrap();
    eventually(PATIENCE, "all are back", || async { ours.len().await.unwrap() == 6 }).await;
    assert_eq!(drain_by(&theirs, 2).await, all);
    clean(&fixture, [ours, theirs]).await;
}

/// What is given back together may have been apart in line.
#[tokio::test]
async fn items_given_back_together_keep_their_places() {
    let (fixture, [ours, theirs]) = start_queues("apart").await;
    for most in [1, 2, 3, 128] {
        let all = ["1", "2", "3", "4", "5", "6"];
        for item in all {
            ours.push(item).await.unwrap();
            later().await;
        }
        let first = batch(&ours, 1).await;
        let mut middle = batch(&theirs, 4).await;
        let last = batch(&ours, 1).await;
        let (five, two) = (middle.pop().unwrap(), middle.remove(0));
        // In two transactions: the first and the last, the second and the fifth, and those in between.
        let both = [first, last].into_iter().flatten();
        future::try_join_all(both.map(Delivery::nack)).await.unwrap();
        future::try_join_all([two, five].map(Delivery::nack)).await.unwrap();
        future::try_join_all(middle.into_iter().map(Delivery::nack))
            .await
            .unwrap();
        assert_eq!(drain_by(&theirs, most).await, all, "{most} at once");
    }
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_lost_consumers_items_keep_their_place() {
    let (fixture, theirs) = start_queue("lost").await;
    for waits in [true, false] {
        let zk = connect(&fixture).await;
        let ours = queue(&zk);
        ours.push("1").await.unwrap();
        ours.push("2").await.unwrap();
        let held = batch(&ours, 1).await;
        zk.close().await;
        for item in ["1", "2"] {
            let delivery = match waits {
                true => pop(&theirs).await,
                false => within(PATIENCE, "an answer", theirs.try_pop()).await.unwrap().unwrap(),
            };
            assert_eq!(text(&delivery), item);
            delivery.ack().await.unwrap();
        }
        assert!(!held[0].is_held());
    }
    clean(&fixture, [theirs]).await;
}

/// Curator puts it back without its priority.
#[tokio::test]
async fn an_item_put_off_keeps_priority_and_key() {
    let (fixture, [ours, theirs]) = start_queues("nack after").await;
    let urgent = || item("urgent", PushOptions::new().priority(1).key("4711"));
    let id = ours.push(urgent()).await.unwrap();
    ours.push(item("normal", PushOptions::new())).await.unwrap();
    pop(&theirs).await.nack_after(A_WHILE).await.unwrap();
    assert!(matches!(ours.status(&id).await.unwrap(), ItemStatus::Delayed { .. }));
    assert_eq!(ours.push(urgent()).await.unwrap(), id);
    let normal = pop(&theirs).await;
    assert_eq!(text(&normal), "normal");
    normal.nack().await.unwrap();
    eventually(PATIENCE, "it is due", || async {
        ours.status(&id).await.unwrap() == ItemStatus::Ready
    })
    .await;
    let again = pop(&theirs).await;
    assert_eq!((again.id(), again.priority(), again.key()), (&id, 1, Some("4711")));
    assert_eq!(again.attempt(), 2);
    again.ack().await.unwrap();
    assert_eq!(ours.push(urgent()).await.unwrap(), id, "a key outlives its item");
    assert_eq!(drain(&ours).await, ["normal"]);
    clean(&fixture, [ours, theirs]).await;
}

/// Several blocks of nodes, filled by two producers at once and emptied by two consumers.
#[tokio::test]
async fn order_holds_across_blocks() {
    const EACH: usize = 700;
    let fixture = Fixture::new("blocks").await;
    let producers = [queue(&connect(&fixture).await), queue(&connect(&fixture).await)];
    let pushed = producers.iter().enumerate().map(|(producer, queue)| async move {
        let mut ids = Vec::new();
        for number in 0..EACH {
            ids.push(queue.push(format!("{producer} {number}")).await.unwrap());
        }
        ids
    });
    let ids: Vec<Vec<ItemId>> = future::join_all(pushed).await;
    assert_eq!(producers[0].len().await.unwrap(), 2 * EACH);
    // The order in which the ensemble saw them, by the guids of their nodes.
    let lane = format!("{PATH}/lanes/100/");
    let tree = fixture.tree().await;
    let segments = tree
        .iter()
        .filter(|(path, _)| path.strip_prefix(&lane).is_some_and(|rest| rest.contains("/s-")));
    let arrivals: BTreeMap<i64, &str> = segments
        .map(|(path, stat)| (stat.czxid, path.split_once("/s-").unwrap().1.split('.').next().unwrap()))
        .collect();
    assert_eq!(arrivals.len(), 2 * EACH);
    let blocks = fixture.children(lane.trim_end_matches('/')).await;
    assert!(blocks.len() >= 2, "{blocks:?}");

    let guid = |id: &ItemId| id.as_str().split('.').nth(2).unwrap().to_owned();
    let mut delivered = Vec::new();
    for turn in 0.. {
        let consumer = &producers[turn % 2];
        let most = [1, 100, 128][turn % 3];
        let taken = within(PATIENCE, "a batch", consumer.pop_batch(most)).await.unwrap();
        delivered.extend(taken.iter().map(|delivery| delivery.id().clone()));
        future::try_join_all(taken.into_iter().map(Delivery::ack))
            .await
            .unwrap();
        if delivered.len() == 2 * EACH {
            break;
        }
    }
    let guids: Vec<String> = delivered.iter().map(guid).collect();
    assert_eq!(guids, arrivals.into_values().collect::<Vec<_>>());
    for ids in &ids {
        let ours = delivered.iter().filter(|id| ids.contains(id));
        assert!(ours.eq(ids.iter()), "one producer's items are in its order");
    }
    // Those that are empty go, but for the last one.
    assert!(producers[0].try_pop().await.unwrap().is_none());
    eventually(PATIENCE, "empty blocks are gone", || async {
        fixture.children(lane.trim_end_matches('/')).await.len() <= 1
    })
    .await;
    clean(&fixture, producers).await;
}
