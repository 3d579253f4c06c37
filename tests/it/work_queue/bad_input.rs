//! Bad items, keys, ids and numbers: an error that says what, and nothing is lost.

use std::time::Duration;

use futures::{StreamExt, future};
use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{
    AckError, DeadItemError, Delivery, ItemId, ItemStatus, NewItem, PushError, PushOptions, ResultError, WorkQueue,
};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, clean, drain, pop, queue, start_built, start_queue, text};
use crate::support::{PATIENCE, start};

const ITEM_LIMIT: usize = 1_000_000;
const KEY_LIMIT: usize = 512;
pub(super) const GUID: &str = "abcdefghijklmnop";

pub(super) async fn write(fixture: &Fixture, path: &str, data: &[u8]) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        fixture.raw().mkdir(above, &options).await.unwrap();
    }
    fixture.raw().create(path, data, &options).await.unwrap();
}

fn too_large(error: &PushError) -> bool {
    matches!(error, PushError::Error(Error::TooLarge { limit, .. }) if *limit >= ITEM_LIMIT)
}

#[tokio::test]
async fn items_one_byte_over_the_limit_are_refused() {
    let (fixture, ours) = start_built("item limit", |queue| queue.max_attempts(2)).await;
    let key = "k".repeat(KEY_LIMIT);
    let largest = || NewItem::new(vec![7; ITEM_LIMIT]).with(PushOptions::new().key(&key));
    let larger = || NewItem::new(vec![7; ITEM_LIMIT + 1]);
    let refused = |error: PushError| {
        let expected = Error::TooLarge {
            path: PATH.to_owned(),
            size: ITEM_LIMIT + 1,
            limit: ITEM_LIMIT,
        };
        assert_eq!(error, PushError::Error(expected));
        assert!(error.to_string().contains(&ITEM_LIMIT.to_string()), "{error}");
    };
    refused(ours.push(larger()).await.unwrap_err());
    refused(ours.try_push(larger()).await.unwrap_err());
    refused(ours.push_all([NewItem::new("small"), larger()]).await.unwrap_err());
    assert!(ours.is_empty().await.unwrap());

    let id = ours.push(largest()).await.unwrap();
    let first = pop(&ours).await;
    first.nack_after(Duration::from_millis(1)).await.unwrap();
    let second = pop(&ours).await;
    assert_eq!((second.payload().len(), second.attempt()), (ITEM_LIMIT, 2));
    second.reject("x".repeat(10_000)).await.unwrap();
    let dead = ours.dead_letters().await.unwrap();
    assert_eq!((&dead[0].id, dead[0].payload.len()), (&id, ITEM_LIMIT));
    ours.redrive(&id).await.unwrap();
    pop(&ours).await.ack_with("result").await.unwrap();

    ours.push("first").await.unwrap();
    match pop(&ours).await.ack_then([larger()]).await.unwrap_err() {
        AckError::Push(PushError::Error(Error::TooLarge { limit, .. })) => assert_eq!(limit, ITEM_LIMIT),
        error => panic!("{error}"),
    }
    let again = pop(&ours).await;
    assert_eq!((text(&again).as_str(), again.attempt()), ("first", 2));
    again.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn an_oversized_result_gives_the_item_back() {
    let (fixture, ours) = start_queue("result limit").await;
    let id = ours.push("sum").await.unwrap();
    let neighbour = ours.push("neighbour").await.unwrap();
    let mut both = within(PATIENCE, "both", ours.pop_batch(2)).await.unwrap();
    let (beside, large) = (both.pop().unwrap(), both.pop().unwrap());
    // Acknowledged together, but one of them is not in the other's way.
    let (refused, acked) = tokio::join!(large.ack_with(vec![7; 1 << 20]), beside.ack());
    assert!(
        matches!(&refused, Err(AckError::Error(Error::TooLarge { limit, .. })) if *limit > ITEM_LIMIT),
        "{refused:?}"
    );
    acked.unwrap();
    assert_eq!(ours.status(&neighbour).await.unwrap(), ItemStatus::Unknown);
    let again = pop(&ours).await;
    assert_eq!((again.id(), again.attempt()), (&id, 2));
    again.ack_with(vec![7; ITEM_LIMIT]).await.unwrap();
    assert_eq!(ours.result(&id).await.unwrap().len(), ITEM_LIMIT);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn an_oversized_batch_pushes_nothing() {
    let (fixture, ours) = start_queue("transaction limit").await;
    let part = || NewItem::new(vec![7; 400_000]);
    let error = ours.push_all([part(), part(), part()]).await.unwrap_err();
    assert!(too_large(&error), "{error}");
    assert!(ours.is_empty().await.unwrap());
    let small: Vec<NewItem> = (0..5_000).map(|_| NewItem::new(vec![7; 300])).collect();
    let error = ours.push_all(small).await.unwrap_err();
    assert!(too_large(&error), "{error}");
    // What is pushed at the same time by others is not refused with it, nor is what fits alone.
    let large = ours.push_all([part(), part(), part()]);
    let (large, pushed) = tokio::join!(large, future::join_all((0..4).map(|_| ours.push(part()))));
    assert!(too_large(&large.unwrap_err()));
    assert!(pushed.iter().all(Result::is_ok), "{pushed:?}");
    assert_eq!(drain(&ours).await.len(), 4);
    assert!(ours.push_all(Vec::<NewItem>::new()).await.unwrap().is_empty());
    clean(&fixture, [ours]).await;
}

/// Curator's ids break on `/`, kazoo's on nothing, ours on nothing.
#[tokio::test]
async fn keys_are_1_to_512_bytes_of_text() {
    let (fixture, ours) = start_queue("keys").await;
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    let good = [
        "/".to_owned(),
        "a/b|c".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        "%2f".to_owned(),
        "zookeeper".to_owned(),
        "a\0b\u{7f}\u{fff0}".to_owned(),
        "Überweisung 🔋".to_owned(),
        "k".repeat(KEY_LIMIT),
        "ü".repeat(KEY_LIMIT / 2),
    ];
    let mut ids = Vec::new();
    for key in &good {
        ids.push(ours.push(keyed(key)).await.unwrap());
    }
    let again = ours.push_all(good.iter().map(|key| keyed(key))).await.unwrap();
    assert_eq!(again, ids);
    for key in ["".to_owned(), "k".repeat(KEY_LIMIT + 1), "ü".repeat(KEY_LIMIT / 2 + 1)] {
        let error = ours.push(keyed(&key)).await.unwrap_err();
        let expected = PushError::InvalidKey {
            size: key.len(),
            limit: KEY_LIMIT,
        };
        assert_eq!(error, expected);
        assert_eq!(ours.push_all([keyed("new"), keyed(&key)]).await.unwrap_err(), expected);
    }
    for key in &good {
        let delivery = pop(&ours).await;
        assert_eq!((text(&delivery), delivery.key()), (key.clone(), Some(key.as_str())));
        delivery.ack().await.unwrap();
    }
    assert!(ours.is_empty().await.unwrap());
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn foreign_ids_are_refused_or_unknown() {
    let (fixture, ours) = start_queue("ids").await;
    for text in ["", "/", "17", "qn-0000000001", "100.0.x.0", "../../zookeeper"] {
        let error = text.parse::<ItemId>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    for text in [
        format!("100.0.{GUID}.0"),
        format!("d{}.{}.{GUID}.{}", i64::MAX, i32::MAX, u8::MAX),
        format!("d{}.{}.{GUID}.0", i64::MIN, i32::MIN),
        format!("g{GUID}.0.{GUID}.0"),
    ] {
        let id: ItemId = text.parse().unwrap();
        let all = async {
            assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Unknown);
            let unknown = || id.clone();
            assert_eq!(
                ours.result(&id).await.unwrap_err(),
                ResultError::Unknown { id: unknown() }
            );
            assert_eq!(
                ours.redrive(&id).await.unwrap_err(),
                DeadItemError::Unknown { id: unknown() }
            );
            assert_eq!(
                ours.purge(&id).await.unwrap_err(),
                DeadItemError::Unknown { id: unknown() }
            );
        };
        within(PATIENCE, "answers", all).await;
    }
    let id = ours.push("not dead").await.unwrap();
    assert_eq!(
        ours.redrive(&id).await.unwrap_err(),
        DeadItemError::Unknown { id: id.clone() }
    );
    assert_eq!(ours.purge(&id).await.unwrap_err(), DeadItemError::Unknown { id });
    assert_eq!(drain(&ours).await, ["not dead"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn senseless_numbers_of_items_are_bounded() {
    let (fixture, zk) = start("numbers").await;
    let ours = queue(&zk);
    ours.push_all((0..600).map(|number| format!("{number:03}")))
        .await
        .unwrap();
    assert!(within(PATIENCE, "nothing", ours.pop_batch(0)).await.unwrap().is_empty());
    let batch = within(PATIENCE, "a batch", ours.pop_batch(usize::MAX)).await.unwrap();
    assert_eq!(batch.len(), 512);
    future::try_join_all(batch.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    for prefetch in [0, usize::MAX] {
        let mut deliveries = ours.deliveries(prefetch);
        within(PATIENCE, "an item", deliveries.next())
            .await
            .unwrap()
            .unwrap()
            .ack()
            .await
            .unwrap();
    }
    eventually(PATIENCE, "what was fetched ahead is back", || async {
        ours.len().await.unwrap() == 86
    })
    .await;
    assert_eq!(drain(&ours).await.len(), 86);
    // Each item is delivered once at least.
    let once = WorkQueue::builder(&zk, "/once").max_attempts(0).build().unwrap();
    once.push_all(["a", "b"]).await.unwrap();
    pop(&once).await.nack().await.unwrap();
    assert_eq!(drain(&once).await, ["b"]);
    assert_eq!(once.dead_letters().await.unwrap().len(), 1);
    drop(once);
    clean(&fixture, [ours]).await;
}
