//! Waiters whose session ends.

use std::time::Duration;

use super::{finish, latch, wait};
use crate::support::sessions::expire_and_follow;
use crate::support::{elapsed, passes, stands_still, start_each};

#[tokio::test]
async fn timeouts_elapse_and_waits_survive_their_session() {
    let (fixture, [zk, other]) = start_each("timeout").await;
    let after = Duration::from_millis(100);
    assert_eq!(elapsed(latch(&zk, 1).wait_timeout(after).await), Some(after));
    let waiter = wait(&zk, 1);
    stands_still(&zk, &waiter).await;
    expire_and_follow(&fixture, &zk).await;
    stands_still(&zk, &waiter).await;
    latch(&other, 1).count_down().await.unwrap();
    passes(waiter).await;
    finish(&fixture, &latch(&other, 1)).await;
}
