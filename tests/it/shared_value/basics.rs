//! Values that are read, set and updated.

use zookeeper_recipes::{Error, SharedValue, SharedValueError};
use zookeeper_testkit::{Fixture, within};

use super::{VALUE, clean, get, value};
use crate::support::{PATIENCE, connect, start};

#[tokio::test]
async fn values_are_set_replaced_and_updated_by_version() {
    let fixture = Fixture::new("value").await;
    let value = value(&connect(&fixture).await);
    assert_eq!(value.get().await.unwrap(), None);
    value.set("a").await.unwrap();
    let first = value.get().await.unwrap().unwrap();
    assert_eq!((first.value.as_ref(), first.version), (&b"a"[..], 0));
    value.compare_and_set(Some(&first), "b").await.unwrap();
    let second = value.get().await.unwrap().unwrap();
    assert_eq!((second.value.as_ref(), second.version), (&b"b"[..], 1));
    assert!(second.zxid > first.zxid);
    assert_eq!(
        value.compare_and_set(Some(&first), "c").await,
        Err(SharedValueError::Changed)
    );
    assert_eq!(value.compare_and_set(None, "c").await, Err(SharedValueError::Changed));
    let appended = value
        .update(|now| [now.unwrap().value.as_ref(), b"!"].concat())
        .await
        .unwrap();
    assert_eq!(appended, "b!");
    assert_eq!(get(&value).await.as_deref(), Some("b!"));
    clean(&fixture).await;
}

#[tokio::test]
async fn the_first_to_expect_none_makes_it() {
    let fixture = Fixture::new("first value").await;
    let (one, two) = (value(&connect(&fixture).await), value(&connect(&fixture).await));
    let (first, second) = futures::future::join(one.compare_and_set(None, "x"), two.compare_and_set(None, "x")).await;
    let won = [first, second];
    assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "{won:?}");
    assert!(won.contains(&Err(SharedValueError::Changed)), "{won:?}");
    clean(&fixture).await;
}

#[tokio::test]
async fn the_layout_is_that_of_curators_shared_value() {
    let fixture = Fixture::new("value layout").await;
    let value = value(&connect(&fixture).await);
    value.set("raw").await.unwrap();
    let (data, stat) = fixture.raw().get_data(VALUE).await.unwrap();
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"raw"[..], 0));
    fixture.raw().set_data(VALUE, b"theirs", None).await.unwrap();
    assert_eq!(get(&value).await.as_deref(), Some("theirs"));
    clean(&fixture).await;
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn values_are_read_and_written_as_json() {
    use std::collections::BTreeMap;

    use zookeeper_recipes::Json;

    type Limits = BTreeMap<String, u32>;
    let limits = |rate| Json(Limits::from([("rate".to_owned(), rate)]));
    let (fixture, zk) = start("values as json").await;
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
