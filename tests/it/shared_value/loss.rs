//! Writes whose session ends.

use zookeeper_recipes::SharedValueError;
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{clean, value};
use crate::support::{LONG, PATIENCE, connect_to};

/// A write in flight when the session ends: exact where it can be, else Indeterminate, never a guess.
#[tokio::test]
async fn writes_of_lost_sessions_are_reported_truly() {
    let fixture = Fixture::new("value, session lost").await;
    let (proxy, servers) = fixture.proxied().await;
    for applied in [true, false] {
        let zk = connect_to(&servers, LONG).await;
        let value = value(&zk);
        value.set("0").await.unwrap();
        let current = value.get().await.unwrap().unwrap();
        let session = zk.client().await.unwrap().session().clone();
        let when = When::request(Op::Multi);
        let fault = if applied {
            proxy.lose_reply(when)
        } else {
            proxy.cut_before(when)
        };
        let set = value.compare_and_set(Some(&current), "1");
        let expire = async {
            fault.fired().await;
            proxy.refuse().await;
            fixture.expire(&session).await;
            proxy.accept().await;
        };
        let (set, ()) = within(PATIENCE, "answered", futures::future::join(set, expire)).await;
        let now = value.get().await.unwrap().unwrap();
        match set {
            Ok(()) => assert_eq!((now.value.as_ref(), now.version), (&b"1"[..], current.version + 1)),
            Err(SharedValueError::Indeterminate) => assert!(applied, "it is certain that it was not applied before"),
            Err(other) => panic!("{other}"),
        }
        zk.close().await;
    }
    clean(&fixture).await;
}
