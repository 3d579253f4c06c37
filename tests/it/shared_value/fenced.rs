//! Values that are written while a hold lasts.

use zookeeper_recipes::{FencedWriteError, SharedValue};
use zookeeper_testkit::{Op, When, within};

use crate::support::{LONG, PATIENCE, acquire, lock, start_each, start_proxied};

#[tokio::test]
async fn a_fenced_value_needs_a_lasting_hold() {
    let (fixture, [zk, other]) = start_each("fenced value").await;
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
async fn a_lost_reply_writes_a_fenced_value_once() {
    for is_there in [true, false] {
        let (fixture, proxy, zk) = start_proxied("fenced value, lost reply", LONG).await;
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
