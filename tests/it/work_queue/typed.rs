//! A queue of values: they come out as they were pushed, and what is no such value is put aside, not away.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use zookeeper_recipes::queue::{AckError, ItemStatus, Json, NewItem, PushError, PushOptions};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{clean, drain, pop, queue, start_queue, start_queues, text};
use crate::support::{PATIENCE, connect};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Recharge {
    number: String,
    cents: u64,
}

fn recharge(cents: u64) -> Json<Recharge> {
    Json(Recharge {
        number: "+491701234567 \"ü\" 🔋".to_owned(),
        cents,
    })
}

/// What JSON cannot hold: keys that are no texts.
type Unencodable = BTreeMap<(u8, u8), u8>;

#[tokio::test]
async fn values_come_out_as_they_were_pushed() {
    let fixture = Fixture::new("values").await;
    let ours = queue(&connect(&fixture).await).typed::<Json<Recharge>>();
    let theirs = queue(&connect(&fixture).await).typed::<Json<Recharge>>();
    let mut ids = vec![ours.push(recharge(0)).await.unwrap()];
    ids.push(ours.try_push(recharge(1)).await.unwrap());
    ids.push(ours.push_timeout(recharge(2), PATIENCE).await.unwrap());
    ids.extend(ours.push_all([recharge(3), recharge(4)]).await.unwrap());
    let keyed = |key: &str| PushOptions::new().key(key);
    let both = ours.push_all([
        NewItem::of(recharge(5)).with(keyed("5")),
        NewItem::of(recharge(6)).with(keyed("6").priority(1)),
    ]);
    ids.extend(both.await.unwrap());
    let again = ours.push_with(recharge(7), keyed("5")).await.unwrap();
    assert_eq!(again, ids[5]);

    let urgent = within(PATIENCE, "an item", theirs.pop()).await.unwrap();
    assert_eq!(
        (urgent.payload(), urgent.id(), urgent.key()),
        (&recharge(6), &ids[6], Some("6"))
    );
    assert!(urgent.is_held() && urgent.attempt() == 1 && urgent.priority() == 1);
    urgent.nack().await.unwrap();
    let urgent = theirs.try_pop().await.unwrap().unwrap();
    assert_eq!((urgent.payload(), urgent.attempt()), (&recharge(6), 2));
    urgent.ack().await.unwrap();
    let first = theirs.pop_timeout(PATIENCE).await.unwrap();
    let next = first.ack_then([recharge(7)]).await.unwrap();
    let mut deliveries = theirs.deliveries(2);
    for cents in 1..=5 {
        let delivery = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
        assert_eq!(
            (delivery.payload(), delivery.id()),
            (&recharge(cents), &ids[cents as usize])
        );
        delivery.ack_with("done").await.unwrap();
    }
    let last = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
    assert_eq!((last.payload(), last.id()), (&recharge(7), &next[0]));
    drop(deliveries);
    let late = last
        .ack_then([NewItem::of(recharge(8)).with(keyed("8"))])
        .await
        .unwrap();
    assert_eq!(ours.result(&ids[1]).await.unwrap(), "done");
    let late_one = within(PATIENCE, "an item", theirs.pop_batch(10))
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!((late_one.id(), late_one.key()), (&late[0], Some("8")));
    late_one.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// Whatever is asked for, what cannot be read is in nobody's way, and kept.
#[tokio::test]
async fn a_malformed_value_becomes_a_dead_letter() {
    let (fixture, [raw, theirs]) = start_queues("no values").await;
    let typed = theirs.clone().typed::<Json<Recharge>>();
    let json = |cents| serde_json(&recharge(cents));
    let mut bad = Vec::new();
    for round in 0..5 {
        let id = raw.push(format!("{{\"cents\":{round}}}")).await.unwrap();
        raw.push(json(round)).await.unwrap();
        let delivery = match round {
            0 => within(PATIENCE, "an item", typed.pop()).await.unwrap(),
            1 => typed.try_pop().await.unwrap().unwrap(),
            2 => typed.pop_timeout(PATIENCE).await.unwrap(),
            3 => typed.pop_batch(2).await.unwrap().pop().unwrap(),
            _ => within(PATIENCE, "an item", typed.deliveries(8).next())
                .await
                .unwrap()
                .unwrap(),
        };
        assert_eq!(delivery.payload(), &recharge(round));
        delivery.ack().await.unwrap();
        // Those of a batch are put aside in the background.
        eventually(PATIENCE, "it is put aside", || async {
            matches!(raw.status(&id).await.unwrap(), ItemStatus::Dead { .. })
        })
        .await;
        bad.push(id);
    }
    assert!(typed.try_pop().await.unwrap().is_none());
    let dead = raw.dead_letters().await.unwrap();
    assert_eq!(
        dead.iter().map(|item| item.id.clone()).collect::<BTreeSet<_>>(),
        bad.iter().cloned().collect()
    );
    for item in &dead {
        assert!(
            item.reason.contains("Recharge") && item.reason.contains("number"),
            "{}",
            item.reason
        );
        assert_eq!(item.attempts, 1);
        raw.redrive(&item.id).await.unwrap();
    }
    assert_eq!(drain(&raw).await.len(), bad.len(), "they can be read without a type");
    drop(typed);
    clean(&fixture, [raw, theirs]).await;
}

#[tokio::test]
async fn a_batch_without_values_is_waited_through() {
    let (fixture, ours) = start_queue("waited through").await;
    let typed = ours.clone().typed::<Json<Recharge>>();
    ours.push_all(["[]", "", "null", "{\"number\":1,\"cents\":2}"])
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let typed = typed.clone();
        async move { typed.pop_batch(10).await }
    });
    eventually(PATIENCE, "they are put aside", || async {
        ours.dead_letters().await.unwrap().len() == 4
    })
    .await;
    typed.push(recharge(1)).await.unwrap();
    let mut batch = within(PATIENCE, "a batch", waiting).await.unwrap().unwrap();
    assert_eq!((batch.len(), batch[0].payload()), (1, &recharge(1)));
    batch.pop().unwrap().ack().await.unwrap();
    assert!(typed.pop_batch(0).await.unwrap().is_empty());
    drop(typed);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_value_json_cannot_hold_is_refused() {
    let (fixture, ours) = start_queue("unencodable").await;
    let typed = ours.clone().typed::<Json<Unencodable>>();
    let (good, bad) = (Json(Unencodable::new()), Json(Unencodable::from([((1, 2), 3)])));
    let refused = |error: PushError| assert!(matches!(error, PushError::Unencodable { .. }), "{error}");
    refused(typed.push(bad.clone()).await.unwrap_err());
    refused(typed.push_all([good.clone(), bad.clone()]).await.unwrap_err());
    assert!(ours.is_empty().await.unwrap());
    typed.push(good.clone()).await.unwrap();
    let delivery = within(PATIENCE, "an item", typed.pop()).await.unwrap();
    match delivery.ack_then([good.clone(), bad.clone()]).await.unwrap_err() {
        AckError::Push(error) => refused(error),
        error => panic!("{error}"),
    }
    let again = pop(&ours).await;
    assert_eq!((text(&again).as_str(), again.attempt()), ("{}", 2));
    again.ack().await.unwrap();
    drop(typed);
    clean(&fixture, [ours]).await;
}

fn serde_json(recharge: &Json<Recharge>) -> String {
    let Json(Recharge { number, cents }) = recharge;
    format!("{{\"number\":{:?},\"cents\":{cents}}}", number)
}
