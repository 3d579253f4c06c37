//! What is told of claims and of single items: reads alone.

use std::time::Duration;

use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{ItemId, ItemInfo, ItemStatus, PushOptions, QueueClaims, WorkQueue};
use zookeeper_testkit::{Fixture, Op, within};

use super::bad_input::write;
use super::foreign::remove_all;
use super::{PATH, built, clean, drain, pop, queue, text};
use crate::support::cost::Counted;
use crate::support::{PATIENCE, connect};

async fn claims(queue: &WorkQueue) -> QueueClaims {
    within(PATIENCE, "the claims", queue.claims()).await.unwrap()
}

async fn item(queue: &WorkQueue, id: &ItemId) -> ItemInfo {
    within(PATIENCE, "an item", queue.item(id)).await.unwrap()
}

fn payload(item: &ItemInfo) -> &str {
    std::str::from_utf8(item.payload.as_ref().unwrap()).unwrap()
}

fn reasons(item: &ItemInfo) -> Vec<&str> {
    item.history.iter().map(|past| past.reason.as_str()).collect()
}

/// All nodes, and when they and their children were changed.
async fn changes(fixture: &Fixture) -> Vec<(String, i64, i64)> {
    let all = fixture.tree().await.into_iter();
    all.map(|(path, stat)| (path, stat.mzxid, stat.pzxid)).collect()
}

/// A sync, the queue's node, three lists, the block with the claims and the one behind, and one read a claim.
#[tokio::test]
async fn claims_are_seen_without_listing_the_backlog() {
    let fixture = Fixture::new("claims cost").await;
    let ours = queue(&connect(&fixture).await);
    for number in 0..800 {
        ours.push(number.to_string()).await.unwrap();
    }
    let later = PushOptions::new().delay(Duration::from_secs(600));
    let later = ours.push_with("later", later).await.unwrap();
    let held = [pop(&ours).await, pop(&ours).await];
    assert!(fixture.children(&format!("{PATH}/lanes/100")).await.len() > 3);
    let before = changes(&fixture).await;
    let counted = Counted::connect(&fixture).await;
    let theirs = queue(&counted.zk);
    let seen = claims(&theirs).await;
    assert_eq!(
        seen.claims.iter().map(|claim| claim.items).sum::<usize>(),
        2,
        "{seen:?}"
    );
    assert!(!seen.paused);
    let counts = counted.requests(1).await;
    assert_eq!(counts.of(Op::Sync), 1, "{counts}");
    assert_eq!(counts.of(Op::GetData), 1 + seen.claims.len(), "{counts}");
    assert!(counts.lists() <= 6, "{counts}");
    assert_eq!(counts.total(), 2 + seen.claims.len() + counts.lists(), "{counts}");
    assert_eq!(changes(&fixture).await, before);
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    assert_eq!(claims(&theirs).await.claims, []);
    ours.cancel(&later).await.unwrap();
    assert_eq!(drain(&ours).await.len(), 798);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn counting_writes_nothing_and_makes_no_queue() {
    let fixture = Fixture::new("counting").await;
    let ours = queue(&connect(&fixture).await);
    let theirs = queue(&connect(&fixture).await);
    let none = theirs.stats().await.unwrap();
    assert_eq!((none.ready, none.claims.len(), none.turnover.pushed), (0, 0, 0));
    assert_eq!(theirs.len().await.unwrap(), 0);
    assert!(!fixture.tree().await.contains_key(PATH), "no queue is made");
    ours.push_all(["a", "b"]).await.unwrap();
    let held = pop(&ours).await;
    let before = changes(&fixture).await;
    let seen = theirs.stats().await.unwrap();
    assert_eq!((seen.ready, seen.claimed, theirs.len().await.unwrap()), (1, 1, 1));
    assert_eq!(changes(&fixture).await, before);
    held.ack().await.unwrap();
    pop(&ours).await.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn claims_tell_of_a_pause() {
    let fixture = Fixture::new("claims pause").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let ours = queue(&zk);
    assert_eq!(claims(&ours).await, QueueClaims::default());
    assert!(!fixture.tree().await.contains_key(PATH), "no queue is made");
    ours.push("a").await.unwrap();
    ours.pause_because("deploy").await.unwrap();
    let seen = claims(&queue(&other)).await;
    assert_eq!((seen.paused, seen.pause_reason.as_deref()), (true, Some("deploy")));
    assert!(seen.paused_by.is_some());
    ours.resume().await.unwrap();
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_live_item_is_shown_with_its_payload() {
    let fixture = Fixture::new("item live").await;
    let ours = built(&connect(&fixture).await, |queue| queue.max_attempts(2));
    let theirs = queue(&connect(&fixture).await);
    let ids = ours.push_all(["a", "b"]).await.unwrap();
    let options = PushOptions::new().key("k").priority(200);
    let delayed = ours
        .push_with("late", options.delay(Duration::from_secs(600)))
        .await
        .unwrap();
    let ready = item(&theirs, &ids[1]).await;
    assert_eq!((payload(&ready), ready.attempts), ("b", 0));
    assert_eq!((&ready.status, ready.priority), (&ItemStatus::Ready, Some(100)));
    let later = item(&theirs, &delayed).await;
    assert!(matches!(later.status, ItemStatus::Delayed { .. }), "{later:?}");
    assert_eq!((payload(&later), later.key.as_deref()), ("late", Some("k")));
    assert_eq!(later.priority, Some(200));

    pop(&ours).await.nack().await.unwrap();
    let again = pop(&ours).await;
    assert_eq!((again.id(), text(&again).as_str()), (&ids[0], "a"));
    again.progress("half").await.unwrap();
    let before = changes(&fixture).await;
    let claimed = item(&theirs, &ids[0]).await;
    assert_eq!((payload(&claimed), claimed.attempts), ("a", 2));
    assert_eq!(reasons(&claimed), ["given back"]);
    let ItemStatus::Claimed { attempt, progress, .. } = &claimed.status else {
        panic!("{claimed:?}");
    };
    assert_eq!((*attempt, progress.as_deref()), (2, Some(&b"half"[..])));
    assert_eq!(changes(&fixture).await, before, "nothing is written");

    again.reject("no JSON").await.unwrap();
    let dead = item(&theirs, &ids[0]).await;
    assert_eq!((payload(&dead), dead.priority, dead.attempts), ("a", Some(100), 2));
    assert!(matches!(&dead.status, ItemStatus::Dead { reason } if reason.contains("no JSON")));
    pop(&ours).await.ack().await.unwrap();
    let done = item(&theirs, &ids[1]).await;
    assert_eq!((&done.status, &done.payload), (&ItemStatus::Unknown, &None));
    ours.cancel(&delayed).await.unwrap();
    ours.purge(&ids[0]).await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn items_of_a_group_are_shown_too() {
    let fixture = Fixture::new("item group").await;
    let ours = queue(&connect(&fixture).await);
    let mut ids = Vec::new();
    for word in ["first", "second"] {
        let options = PushOptions::new().group("g");
        ids.push(ours.push_with(word, options).await.unwrap());
    }
    let held = pop(&ours).await;
    let first = item(&ours, &ids[0]).await;
    assert!(
        matches!(first.status, ItemStatus::Claimed { attempt: 1, .. }),
        "{first:?}"
    );
    assert_eq!((payload(&first), first.attempts), ("first", 1));
    let second = item(&ours, &ids[1]).await;
    assert_eq!((&second.status, second.attempts), (&ItemStatus::Ready, 0));
    assert_eq!((payload(&second), second.group.as_deref()), ("second", Some("g")));
    held.ack().await.unwrap();
    assert_eq!(drain(&ours).await, ["second"]);
    clean(&fixture, [ours]).await;
}

/// Given back with a delay, an item of several is moved to a segment of its own.
#[tokio::test]
async fn an_item_that_was_moved_is_found() {
    let fixture = Fixture::new("item moved").await;
    let ours = queue(&connect(&fixture).await);
    let ids = ours.push_all(["a", "b"]).await.unwrap();
    let held = pop(&ours).await;
    held.nack_after(Duration::from_secs(600)).await.unwrap();
    let moved = item(&ours, &ids[0]).await;
    assert!(matches!(moved.status, ItemStatus::Delayed { .. }), "{moved:?}");
    assert_eq!((payload(&moved), moved.attempts), ("a", 1));
    assert_eq!(reasons(&moved), ["given back"]);
    ours.cancel(&ids[0]).await.unwrap();
    assert_eq!(drain(&ours).await, ["b"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn lookups_at_what_is_no_queue_fail() {
    let fixture = Fixture::new("lookups foreign").await;
    let zk = connect(&fixture).await;
    let ours = queue(&zk);
    let id: ItemId = "100.0.abcdefghijklmnop.0".parse().unwrap();
    assert_eq!(item(&ours, &id).await.status, ItemStatus::Unknown);
    assert!(!fixture.tree().await.contains_key(PATH), "no queue is made");
    write(&fixture, PATH, b"something else").await;
    for error in [
        within(PATIENCE, "an error", ours.claims()).await.unwrap_err(),
        within(PATIENCE, "an error", ours.item(&id)).await.unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Layout { path, .. } if path == PATH), "{error}");
    }
    remove_all(&fixture, PATH).await;
    zk.close().await;
    let error = within(PATIENCE, "an error", ours.claims()).await.unwrap_err();
    assert_eq!(error, Error::Closed);
}
