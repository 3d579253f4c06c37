//! What observers see, also across a reconnect.

use zookeeper_recipes::SharedValue;
use zookeeper_testkit::{Fixture, Op, eventually, within};

use super::{VALUE, clean, is, value};
use crate::support::{LONG, PATIENCE, connect, connect_to, start, start_proxied};

/// CURATOR-311, -329: a stale value after a reconnect; version 0 ignored. CURATOR-391: delete and recreate during a cut,
/// with the same version, gives no event.
#[tokio::test]
async fn curator_311_391_an_observer_sees_recreated_nodes() {
    let (fixture, proxy, bystander) = start_proxied("value observer", LONG).await;
    let value = value(&connect(&fixture).await);
    value.set("same").await.unwrap();
    let observed = SharedValue::new(&bystander, VALUE).unwrap();
    let mut observer = observed.observe().await.unwrap();
    let seen = observer.current().unwrap();
    assert_eq!((seen.value.as_ref(), seen.version), (&b"same"[..], 0));
    for expire in [false, true] {
        let session = bystander.client().await.unwrap().session().clone();
        let before = observer.current().unwrap();
        proxy.refuse().await;
        if expire {
            fixture.expire(&session).await;
        }
        clean(&fixture).await;
        fixture.raw().delete(VALUE, None).await.unwrap();
        value.set("same").await.unwrap();
        proxy.accept().await;
        let again = within(PATIENCE, "the recreated one is seen", observer.changed())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((again.value.as_ref(), again.version), (&b"same"[..], 0));
        assert!(again.zxid > before.zxid);
    }
    clean(&fixture).await;
}

#[tokio::test]
async fn observers_sync_and_read_after_each_reconnect() {
    let fixture = Fixture::new("reread").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);
    let mut observer = value.observe().await.unwrap();
    observer.current_and_update();
    for _ in 0..3 {
        proxy.reset_counts();
        proxy.cut();
        // A look that the cut interrupted is finished first, without a sync.
        let read_again = || async {
            let counts = proxy.requests();
            let sync = counts.requests().iter().position(|request| request.op == Op::Sync);
            sync.is_some_and(|sync| counts.requests()[sync..].iter().any(|request| request.is_under(VALUE)))
        };
        eventually(PATIENCE, "read again behind a sync", read_again).await;
    }
    clean(&fixture).await;
}

#[tokio::test]
async fn observers_see_each_latest_value_and_none() {
    let (fixture, zk) = start("observe value").await;
    let value = value(&zk);
    let mut observer = value.observe().await.unwrap();
    assert_eq!(observer.current(), None, "not even the path exists");
    value.set("a").await.unwrap();
    within(PATIENCE, "a", observer.wait_for(is("a"))).await.unwrap();
    for _ in 0..50 {
        value.set("b").await.unwrap();
    }
    value.set("last").await.unwrap();
    within(PATIENCE, "the last", observer.wait_for(is("last")))
        .await
        .unwrap();
    clean(&fixture).await;
    fixture.raw().delete(VALUE, None).await.unwrap();
    within(PATIENCE, "none", observer.wait_for(Option::is_none))
        .await
        .unwrap();
    value.set("again").await.unwrap();
    within(PATIENCE, "again", observer.wait_for(is("again"))).await.unwrap();
    zk.close().await;
    assert_eq!(within(PATIENCE, "the end", observer.changed()).await, None);
    clean(&fixture).await;
}
