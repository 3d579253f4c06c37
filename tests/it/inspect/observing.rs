//! A place that is observed.

use std::fmt::Write as _;

use zookeeper_recipes::inspect::{Inspector, PlaceInfo};
use zookeeper_recipes::{Observer, SharedValue};
use zookeeper_testkit::{Fixture, within};

use super::connect_as;
use crate::support::cost::Counted;
use crate::support::{PATIENCE, acquire, granted, join_line, lock, session_id, start};

type Observed = Observer<Option<PlaceInfo>>;

/// `identity+` of a holder, `identity` of a waiter, with a `!` if it was asked to make way.
fn told(place: Option<&PlaceInfo>) -> String {
    let mut text = String::new();
    for one in place.iter().flat_map(|place| &place.contenders) {
        let holds = if one.is_holder { "+" } else { "" };
        let asked = if one.asked.is_some() { "!" } else { "" };
        write!(text, "{}{holds}{asked} ", String::from_utf8_lossy(&one.identity)).unwrap();
    }
    text.trim_end().to_owned()
}

async fn until(observed: &mut Observed, wanted: &str) {
    let seen = within(PATIENCE, format!("{wanted:?} is seen"), async {
        while told(observed.current_and_update().as_ref()) != wanted {
            observed.changed().await.expect("it goes on");
        }
    });
    seen.await;
}

#[tokio::test]
async fn an_observed_line_shows_each_change() {
    let (fixture, zk) = start("observed_line").await;
    let (one, two) = (connect_as(&fixture, "one").await, connect_as(&fixture, "two").await);
    let mut observed = Inspector::new(&zk).observe("/l").await.unwrap();
    assert!(observed.current().is_none());
    let first = acquire(&lock(&one, "/l")).await;
    until(&mut observed, "one+").await;
    let second = join_line(&fixture, &lock(&two, "/l"), 2).await;
    until(&mut observed, "one+ two").await;
    let holder = observed.current().unwrap().contenders[0].clone();
    lock(&zk, "/l").request_revocation(&holder, "deploy").await.unwrap();
    until(&mut observed, "one+! two").await;
    first.release().await.unwrap();
    until(&mut observed, "two+").await;
    granted(second).await.release().await.unwrap();
    until(&mut observed, "").await;
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn observing_goes_on_in_a_new_session() {
    let (fixture, zk) = start("observing_expiry").await;
    let one = connect_as(&fixture, "one").await;
    let mut observed = Inspector::new(&zk).observe("/l").await.unwrap();
    let before = session_id(&zk).await;
    fixture.expire(&zk.client().await.unwrap().session().clone()).await;
    let guard = acquire(&lock(&one, "/l")).await;
    until(&mut observed, "one+").await;
    assert_ne!(session_id(&zk).await, before);
    guard.release().await.unwrap();
    until(&mut observed, "").await;
}

#[tokio::test]
async fn an_observed_join_costs_two_requests() {
    let fixture = Fixture::new("observing_budget").await;
    let counted = Counted::connect(&fixture).await;
    let (one, two) = (connect_as(&fixture, "one").await, connect_as(&fixture, "two").await);
    let first = acquire(&lock(&one, "/l")).await;
    let mut observed = Inspector::new(&counted.zk).observe("/l").await.unwrap();
    until(&mut observed, "one+").await;
    counted.requests(3).await;
    let second = join_line(&fixture, &lock(&two, "/l"), 2).await;
    until(&mut observed, "one+ two").await;
    let counts = counted.requests(2).await;
    assert_eq!((counts.lists(), counts.total()), (1, 2), "{counts}");
    first.release().await.unwrap();
    until(&mut observed, "two+").await;
    // The data of the new holder is read once more, with a watch.
    let counts = counted.requests(2).await;
    assert_eq!((counts.lists(), counts.total()), (1, 2), "{counts}");
    granted(second).await.release().await.unwrap();
}

#[tokio::test]
async fn an_observed_value_shows_its_versions() {
    let (_fixture, zk) = start("observed_value").await;
    let value = SharedValue::new(&zk, "/v").unwrap();
    value.set("one").await.unwrap();
    let mut observed = Inspector::new(&zk).observe("/v").await.unwrap();
    assert_eq!(observed.current().unwrap().stat.version, 0);
    value.set("three").await.unwrap();
    let seen = within(PATIENCE, "the new version", observed.changed()).await;
    let stat = seen.unwrap().unwrap().stat;
    assert_eq!((stat.version, stat.data_length), (1, 5));
}
