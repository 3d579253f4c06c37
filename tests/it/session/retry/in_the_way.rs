//! A node of another client, where a recipe wants to remove its own.

use zookeeper_recipes::zookeeper_client::CreateMode;
use zookeeper_recipes::{CountDownLatch, Error};
use zookeeper_testkit::Fixture;

use super::{requests, without_storm};
use crate::support::cost::Counted;
use crate::support::create;

/// List, delete the count, delete the latch in vain, and one more list to see why.
const REQUESTS: usize = 4;

#[tokio::test]
async fn removing_a_latch_names_a_foreign_child() {
    let fixture = Fixture::new("foreign child").await;
    let counted = Counted::connect(&fixture).await;
    let latch = CountDownLatch::new(&counted.zk, "/latch", 2).unwrap();
    latch.count_down().await.unwrap();
    create(&fixture, "/latch/notes", CreateMode::Persistent).await;
    for _ in 0..2 {
        counted.proxy.reset_counts();
        let error = without_storm(&counted.proxy, requests, latch.remove())
            .await
            .unwrap_err();
        let counts = counted.proxy.requests();
        assert!(
            matches!(&error, Error::Layout { path, .. } if path == "/latch/notes"),
            "{error:?}"
        );
        assert!(counts.total() <= REQUESTS, "{counts}");
        assert!(fixture.children("/latch").await.contains(&"notes".to_owned()));
    }
    fixture.raw().delete("/latch/notes", None).await.unwrap();
    without_storm(&counted.proxy, requests, latch.remove()).await.unwrap();
    assert!(fixture.tree().await.is_empty());
}
