//! Values that are written while a hold lasts, and values that are more than bytes.

use zookeeper_recipes::{Error, FencedWriteError, SharedValue};
use zookeeper_testkit::{Fixture, Op, When, within};

use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, lock};

#[tokio::test]
async fn a_fenced_value_is_written_while_the_hold_lasts_and_not_after() {
    let fixture = Fixture::new("fenced value").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/l")).await;
    let value = SharedValue::new(&zk, "/deep/down/value").unwrap();
    // It is made with what is above it, replaced, and made again.
    for (text, remove) in [("1", false), ("2", true), ("3", false)] {
        within(PATIENCE, "written", value.set_fenced(&guard, text))
            .await
            .unwrap();
        assert_eq!(value.get().await.unwrap().unwrap().value, text);
        if remove {
            fixture.raw().delete("/deep/down/value", None).await.unwrap();
        }
    }
    SharedValue::new(&other, "/deep/down/value")
        .unwrap()
        .set("theirs")
        .await
        .unwrap();
    value.set_fenced(&guard, "4").await.unwrap();
    assert_eq!(value.get().await.unwrap().unwrap().value, "4");

    let session = zk.client().await.unwrap().session().clone();
    fixture.expire(&session).await;
    // The guard may not know it yet: the ensemble does.
    let refused = within(PATIENCE, "refused", value.set_fenced(&guard, "late")).await;
    assert!(matches!(refused, Err(FencedWriteError::Lost(_))), "{refused:?}");
    assert_eq!(value.get().await.unwrap().unwrap().value, "4");
    drop(guard);
    fixture.assert_no_nodes_left(&["/l", "/deep/down/value"]).await;
}

#[tokio::test]
async fn a_fenced_value_whose_reply_is_lost_is_written_once() {
    for is_there in [true, false] {
        let fixture = Fixture::new("fenced value, lost reply").await;
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, LONG).await;
        let guard = acquire(&lock(&zk, "/l")).await;
        let value = SharedValue::new(&zk, "/value").unwrap();
        if is_there {
            value.set("before").await.unwrap();
        }
        let before = value.get().await.unwrap().map_or(-1, |value| value.version);
        let fault = proxy.lose_reply(When::request(Op::Multi).path("/value"));
        within(PATIENCE, "written", value.set_fenced(&guard, "after"))
            .await
            .unwrap();
        assert!(fault.has_fired());
        let after = value.get().await.unwrap().unwrap();
        assert_eq!((after.value.as_ref(), after.version), (b"after".as_slice(), before + 1));
        guard.release().await.unwrap();
        fixture.assert_no_nodes_left(&["/l", "/value"]).await;
    }
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn values_are_read_and_written_as_json() {
    use std::collections::BTreeMap;

    use zookeeper_recipes::Json;

    type Limits = BTreeMap<String, u32>;
    let limits = |rate| Json(Limits::from([("rate".to_owned(), rate)]));
    let fixture = Fixture::new("values as json").await;
    let zk = connect(&fixture).await;
    let bytes = SharedValue::new(&zk, "/limits").unwrap();
    let typed = bytes.clone().typed::<Json<Limits>>();
    typed.set(limits(1)).await.unwrap();
    assert_eq!(bytes.get().await.unwrap().unwrap().value, r#"{"rate":1}"#);
    let mut observer = typed.observe().await.unwrap();
    let current = typed.get().await.unwrap();
    assert_eq!(current.as_ref().unwrap().value["rate"], 1);
    typed.compare_and_set(current.as_ref(), limits(2)).await.unwrap();
    let updated = typed
        .update(|now| limits(now.unwrap().value["rate"] + 1))
        .await
        .unwrap();
    assert_eq!(updated, limits(3));
    let seen = |rate| {
        let wanted = limits(rate);
        move |value: &Option<zookeeper_recipes::Versioned<Json<Limits>>>| {
            value.as_ref().is_some_and(|value| value.value == wanted)
        }
    };
    within(PATIENCE, "seen", observer.wait_for(seen(3))).await.unwrap();

    // A slip takes the configuration from no process, and is told to each caller that asks.
    bytes.set("{rate: 4}").await.unwrap();
    let error = typed.get().await.unwrap_err();
    assert!(
        matches!(&error, Error::Value { path, .. } if path == "/limits"),
        "{error}"
    );
    assert!(typed.update(|_| limits(5)).await.is_err());
    assert!(typed.observe().await.is_err());
    typed.set(limits(6)).await.unwrap();
    within(PATIENCE, "seen", observer.wait_for(seen(6))).await.unwrap();
    fixture.assert_no_nodes_left(&["/limits"]).await;
}
