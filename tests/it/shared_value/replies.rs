//! Replies that are lost.

use zookeeper_recipes::SharedValueError;
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{clean, value};
use crate::support::{LONG, PATIENCE, connect, connect_to};

/// Curator's atomics: a write that was applied and whose reply was lost is reported as failed, or applied twice.
#[tokio::test]
async fn curator_atomic_a_lost_reply_writes_once() {
    let fixture = Fixture::new("value, reply lost").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);

    let fault = proxy.lose_reply(When::request(Op::Multi));
    within(PATIENCE, "created", value.compare_and_set(None, "0"))
        .await
        .unwrap();
    fault.fired().await;
    for round in 1..4 {
        let current = value.get().await.unwrap().unwrap();
        let when = When::request(Op::Multi);
        let fault = if round == 2 {
            proxy.cut_before(when)
        } else {
            proxy.lose_reply(when)
        };
        let set = value.compare_and_set(Some(&current), round.to_string());
        within(PATIENCE, "set", set).await.unwrap();
        fault.fired().await;
        let now = value.get().await.unwrap().unwrap();
        assert_eq!(
            (now.value, now.version),
            (round.to_string().into(), round),
            "applied once"
        );
    }
    let fault = proxy.lose_reply(When::request(Op::Multi));
    within(PATIENCE, "set", value.set("x")).await.unwrap();
    fault.fired().await;
    assert_eq!(value.get().await.unwrap().unwrap().version, 4);
    clean(&fixture).await;
}

/// What version and bytes cannot tell: the write that is there is another client's, with the same bytes.
#[tokio::test]
async fn equal_bytes_of_others_are_not_ours() {
    let fixture = Fixture::new("same bytes").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, theirs) = (
        value(&connect_to(&servers, LONG).await),
        value(&connect(&fixture).await),
    );
    theirs.set("5").await.unwrap();
    let current = ours.get().await.unwrap();
    let fault = proxy.cut_before(When::request(Op::Multi));
    let set = ours.compare_and_set(current.as_ref(), "6");
    let overtake = async {
        fault.fired().await;
        proxy.refuse().await;
        theirs.compare_and_set(current.as_ref(), "6").await.unwrap();
        proxy.accept().await;
    };
    let (set, ()) = within(PATIENCE, "answered", futures::future::join(set, overtake)).await;
    assert!(
        matches!(set, Err(SharedValueError::Changed)),
        "two clients won: {set:?}"
    );
    clean(&fixture).await;
}
