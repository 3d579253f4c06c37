//! What values cost, counted by a proxy: every request but pings.

use std::time::Duration;

use zookeeper_testkit::{Fixture, Op, eventually, within};

use super::{clean, is, value};
use crate::support::{LONG, PATIENCE, connect_to};

#[tokio::test]
async fn requests_keep_to_budget_idle_observers_free() {
    let fixture = Fixture::new("value budget").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);
    value.set("a").await.unwrap();
    let mut observer = value.observe().await.unwrap();
    let current = observer.current();
    // Three nodes and no mark: all is quiet.
    clean(&fixture).await;
    proxy.reset_counts();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = proxy.requests();
    assert_eq!(counts.total(), 0, "{counts}");
    value.compare_and_set(current.as_ref(), "b").await.unwrap();
    within(PATIENCE, "seen", observer.wait_for(is("b"))).await.unwrap();
    eventually(PATIENCE, "the mark is deleted", || async {
        proxy.requests().of(Op::Delete) == 1
    })
    .await;
    let counts = proxy.requests();
    assert_eq!(
        (counts.of(Op::Multi), counts.of(Op::GetData), counts.total()),
        (1, 1, 3),
        "{counts}"
    );
    clean(&fixture).await;
}
