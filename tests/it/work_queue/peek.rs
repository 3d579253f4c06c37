//! Looking at what is next: reads alone, and what pops take in the same order.

use std::time::Duration;

use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{Delivery, ItemId, NewItem, Order, PushOptions, ReadyItem, WorkQueue};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, Op, eventually, within};

use super::bad_input::write;
use super::foreign::{denied, guard, remove_all};
use super::{A_WHILE, PATH, batch, built, clean, drain, pop, queue};
use crate::support::cost::Counted;
use crate::support::sessions::session_of;
use crate::support::{PATIENCE, connect};

async fn peek(queue: &WorkQueue, most: usize) -> Vec<ReadyItem> {
    within(PATIENCE, "a look", queue.peek(most)).await.unwrap()
}

fn ids(items: &[ReadyItem]) -> Vec<ItemId> {
    items.iter().map(|item| item.id.clone()).collect()
}

fn text(item: &ReadyItem) -> &str {
    std::str::from_utf8(&item.payload).unwrap()
}

/// Priorities, groups, single pushes and a batch; returns the item that is delayed.
async fn push_a_mixture(queue: &WorkQueue) -> ItemId {
    let with = |payload: &'static str, options| NewItem::new(payload).with(options);
    queue.push("plain").await.unwrap();
    for (payload, group) in [("g1 first", "g1"), ("g2 first", "g2"), ("g1 second", "g1")] {
        queue.push_with(payload, PushOptions::new().group(group)).await.unwrap();
    }
    queue.push_all(["a", "b", "c"]).await.unwrap();
    let urgent = with("urgent", PushOptions::new().priority(5).key("k"));
    queue
        .push_all([urgent, with("idle", PushOptions::new().priority(200))])
        .await
        .unwrap();
    let later = PushOptions::new().delay(Duration::from_secs(600)).priority(1);
    queue.push_with("later", later).await.unwrap()
}

#[tokio::test]
async fn a_look_shows_what_pops_take_in_order() {
    let fixture = Fixture::new("peek order").await;
    let ours = queue(&connect(&fixture).await);
    let later = push_a_mixture(&ours).await;
    let seen = peek(&ours, 100).await;
    let texts: Vec<&str> = seen.iter().map(text).collect();
    assert_eq!(
        texts,
        ["urgent", "plain", "g1 first", "g2 first", "a", "b", "c", "idle"]
    );
    let first = &seen[0];
    assert_eq!(
        (first.priority, first.key.as_deref(), first.attempts),
        (5, Some("k"), 0)
    );
    assert_eq!(seen[2].group.as_deref(), Some("g1"));
    assert_eq!(ids(&peek(&ours, 3).await), ids(&seen)[..3]);
    let held = batch(&ours, seen.len()).await;
    let taken: Vec<ItemId> = held.iter().map(|delivery| delivery.id().clone()).collect();
    assert_eq!(taken, ids(&seen));
    assert_eq!(peek(&ours, 100).await, []);
    futures::future::try_join_all(held.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    assert_eq!(peek(&ours, 9).await.iter().map(text).collect::<Vec<_>>(), ["g1 second"]);
    assert_eq!(drain(&ours).await, ["g1 second"]);
    ours.cancel(&later).await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_delayed_item_is_shown_when_due() {
    let fixture = Fixture::new("peek delayed").await;
    let ours = queue(&connect(&fixture).await);
    ours.push_with("later", PushOptions::new().delay(A_WHILE))
        .await
        .unwrap();
    assert_eq!(peek(&ours, 9).await, []);
    eventually(PATIENCE, "it is due", || async { peek(&ours, 9).await.len() == 1 }).await;
    assert_eq!(drain(&ours).await, ["later"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn what_comes_back_is_shown_with_its_attempts() {
    let fixture = Fixture::new("peek attempts").await;
    let zk = connect(&fixture).await;
    let (ours, theirs) = (
        built(&zk, |queue| queue.max_attempts(3)),
        queue(&connect(&fixture).await),
    );
    ours.push_all(["a", "b"]).await.unwrap();
    let first = pop(&ours).await;
    let shown = |items: Vec<ReadyItem>| {
        items
            .iter()
            .map(|item| (text(item).to_owned(), item.attempts))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(peek(&theirs, 9).await), [("b".to_owned(), 0)]);
    first.nack().await.unwrap();
    let both = [("a".to_owned(), 1), ("b".to_owned(), 0)];
    assert_eq!(shown(peek(&theirs, 9).await), both);
    // Lost with its consumer at its second attempt.
    let second = pop(&ours).await;
    fixture.expire(&session_of(&zk).await).await;
    eventually(PATIENCE, "it is back", || async {
        shown(peek(&theirs, 9).await) == [("a".to_owned(), 2), ("b".to_owned(), 0)]
    })
    .await;
    drop(second);
    assert_eq!(drain(&theirs).await, ["a", "b"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn items_that_no_pop_delivers_are_not_shown() {
    let fixture = Fixture::new("peek useless").await;
    let ours = queue(&connect(&fixture).await);
    let brief = PushOptions::new().expires_after(Duration::from_millis(1));
    ours.push_with("expired", brief).await.unwrap();
    write(&fixture, &format!("{PATH}/lanes/100/0/foreign"), b"x").await;
    ours.push("good").await.unwrap();
    eventually(PATIENCE, "it has expired", || async {
        peek(&ours, 9).await.iter().map(text).collect::<Vec<_>>() == ["good"]
    })
    .await;
    fixture
        .raw()
        .delete(&format!("{PATH}/lanes/100/0/foreign"), None)
        .await
        .unwrap();
    assert_eq!(drain(&ours).await, ["good"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_paused_queue_shows_nothing_to_take() {
    let fixture = Fixture::new("peek paused").await;
    let (ours, theirs) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    ours.push("a").await.unwrap();
    ours.pause().await.unwrap();
    assert_eq!(peek(&theirs, 9).await, []);
    ours.resume().await.unwrap();
    assert_eq!(peek(&theirs, 9).await.len(), 1);
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours, theirs]).await;
}

/// A sync, the queue's node, four lists in three round trips, and a read for 16 pushes: nothing is written.
#[tokio::test]
async fn a_look_costs_few_reads_and_no_write() {
    let fixture = Fixture::new("peek cost").await;
    let ours = built(&connect(&fixture).await, |queue| queue.order(Order::Window(8)));
    for number in 0..40 {
        ours.push(number.to_string()).await.unwrap();
    }
    ours.push_all((40..50).map(|number| number.to_string())).await.unwrap();
    let before = fixture.tree().await;
    let counted = Counted::connect(&fixture).await;
    let theirs = queue(&counted.zk);
    for (most, shown, reads) in [(1, 1, 1), (10, 10, 1), (50, 50, 3)] {
        let items = peek(&theirs, most).await;
        let expected: Vec<String> = (0..shown).map(|number| number.to_string()).collect();
        assert_eq!(items.iter().map(text).collect::<Vec<_>>(), expected);
        let counts = counted.requests(1).await;
        assert_eq!(
            (counts.of(Op::Sync), counts.creates(), counts.of(Op::Multi)),
            (1, 0, 0),
            "{counts}"
        );
        assert_eq!(counts.total(), 5 + reads, "{counts}");
    }
    let unchanged = |tree: &std::collections::BTreeMap<String, zk::Stat>| {
        tree.iter()
            .map(|(path, stat)| (path.clone(), stat.mzxid, stat.pzxid))
            .collect::<Vec<_>>()
    };
    assert_eq!(unchanged(&fixture.tree().await), unchanged(&before));
    assert_eq!(drain(&ours).await.len(), 50);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_bounded() {
    let fixture = Fixture::new("peek numbers").await;
    let counted = Counted::connect(&fixture).await;
    let ours = queue(&counted.zk);
    assert_eq!(peek(&ours, 0).await, []);
    assert_eq!(counted.requests(0).await.total(), 0);
    // No queue: none is made.
    assert_eq!(peek(&ours, 1).await, []);
    assert!(!fixture.tree().await.contains_key(PATH));
    ours.push_all((0..600).map(|number| number.to_string())).await.unwrap();
    assert_eq!(peek(&ours, usize::MAX).await.len(), 512);
    assert_eq!(drain(&ours).await.len(), 600);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_look_at_what_is_no_queue_fails() {
    let fixture = Fixture::new("peek foreign").await;
    let zk = connect(&fixture).await;
    let ours = queue(&zk);
    write(&fixture, PATH, b"something else").await;
    let error = within(PATIENCE, "an error", ours.peek(1)).await.unwrap_err();
    assert!(matches!(&error, Error::Layout { path, .. } if path == PATH), "{error}");
    remove_all(&fixture, PATH).await;
    guard(&fixture, PATH, zk::Permission::NONE, b"").await;
    let error = within(PATIENCE, "an error", ours.peek(1)).await.unwrap_err();
    assert!(denied(&error), "{error}");
    remove_all(&fixture, PATH).await;
    zk.close().await;
    let error = within(PATIENCE, "an error", ours.peek(1)).await.unwrap_err();
    assert_eq!(error, Error::Closed);
}

/// What is of no use fills no place of what is asked for.
#[tokio::test]
async fn a_look_goes_past_what_is_useless() {
    let fixture = Fixture::new("peek past useless").await;
    let ours = queue(&connect(&fixture).await);
    let brief = || PushOptions::new().priority(5).expires_after(Duration::from_millis(1));
    for _ in 0..3 {
        ours.push_with("expired", brief()).await.unwrap();
    }
    ours.push("good").await.unwrap();
    eventually(PATIENCE, "the others have expired", || async {
        peek(&ours, 1).await.iter().map(text).collect::<Vec<_>>() == ["good"]
    })
    .await;
    assert_eq!(drain(&ours).await, ["good"]);
    clean(&fixture, [ours]).await;
}
