//! Writes that are dropped.

use super::{clean, get, value};
use crate::support::start;

#[tokio::test]
async fn writes_that_are_dropped_leave_no_mark() {
    let (fixture, zk) = start("dropped writes").await;
    let value = value(&zk);
    value.set("a").await.unwrap();
    for polls in 0..20 {
        let mut writing = Box::pin(value.set("b"));
        for _ in 0..polls {
            if futures::poll!(&mut writing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(writing);
    }
    value.set("c").await.unwrap();
    assert_eq!(get(&value).await.as_deref(), Some("c"));
    clean(&fixture).await;
}
