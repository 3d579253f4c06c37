//! When it opens, and what is counted.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Error, LatchError};
use zookeeper_testkit::{Fixture, within};

use super::{PATH, finish, latch, wait};
use crate::support::{PATIENCE, connect, create, passes, stands_still, start, start_each};

#[tokio::test]
async fn the_last_count_opens_it_for_good() {
    let (fixture, [zk, other]) = start_each("opens").await;
    let settled = latch(&zk, 3);
    assert_eq!(settled.path(), PATH);
    assert_eq!(settled.count().await.unwrap(), 3);
    let waiters = [wait(&zk, 3), wait(&other, 3)];
    for (missing, zk) in [(2, &zk), (1, &other)] {
        assert_eq!(latch(zk, 3).count_down().await.unwrap(), missing);
        assert_eq!(settled.count().await.unwrap(), missing);
        for waiter in &waiters {
            stands_still(zk, waiter).await;
        }
    }
    assert_eq!(settled.count_down().await.unwrap(), 0);
    for waiter in waiters {
        passes(waiter).await;
    }
    assert_eq!(settled.count_down().await.unwrap(), 0, "nothing is left to count");
    assert_eq!(settled.count().await.unwrap(), 0);
    settled.wait().await.unwrap();
    finish(&fixture, &settled).await;
}

#[tokio::test]
async fn a_count_with_an_id_counts_once() {
    let (fixture, [zk, other]) = start_each("ids").await;
    for _ in 0..3 {
        assert_eq!(latch(&zk, 2).count_down_as("share-7").await.unwrap(), 1);
        assert_eq!(latch(&other, 2).count_down_as("share-7").await.unwrap(), 1);
    }
    assert_eq!(latch(&other, 2).count_down_as("share-8").await.unwrap(), 0);
    for id in ["", "a/b", "\0"] {
        let refused = latch(&zk, 2).count_down_as(id).await;
        assert!(
            matches!(refused, Err(LatchError::Error(Error::InvalidPath { .. }))),
            "{id:?}: {refused:?}"
        );
    }
    finish(&fixture, &latch(&zk, 2)).await;
}

#[tokio::test]
async fn counts_outlive_the_session_that_counted() {
    let (fixture, [zk, other]) = start_each("stay").await;
    let waiter = wait(&other, 2);
    latch(&zk, 2).count_down().await.unwrap();
    zk.close().await;
    stands_still(&other, &waiter).await;
    latch(&other, 2).count_down().await.unwrap();
    passes(waiter).await;
    finish(&fixture, &latch(&other, 2)).await;
}

#[tokio::test]
async fn a_latch_of_zero_is_open() {
    let (fixture, zk) = start("empty").await;
    latch(&zk, 0).wait().await.unwrap();
    assert_eq!(latch(&zk, 0).count_down().await.unwrap(), 0);
    latch(&zk, 0).remove().await.unwrap();
    create(&fixture, PATH, zk::CreateMode::Persistent).await;
    assert_eq!(latch(&zk, 2).count().await.unwrap(), 2);
    assert_eq!(latch(&zk, 2).count_down().await.unwrap(), 1);
    finish(&fixture, &latch(&zk, 2)).await;
}

#[tokio::test]
async fn a_removed_latch_starts_over_with_its_waiters() {
    let (fixture, zk) = start("removed").await;
    let waiter = wait(&zk, 2);
    let settled = latch(&zk, 2);
    settled.count_down_as("a").await.unwrap();
    settled.remove().await.unwrap();
    settled.remove().await.unwrap();
    assert_eq!(settled.count_down_as("a").await.unwrap(), 1);
    stands_still(&zk, &waiter).await;
    assert_eq!(settled.count_down_as("b").await.unwrap(), 0);
    passes(waiter).await;
    finish(&fixture, &settled).await;
}

/// CAS that collide go on until all are counted, each once, and the latch opens with the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_count_at_once() {
    const COUNTS: u32 = 60;
    let fixture = Fixture::new("many").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(connect(&fixture).await);
    }
    let waiter = wait(&sessions[0], COUNTS);
    let counts = (0..COUNTS).map(|number| {
        let latch = latch(&sessions[number as usize % 3], COUNTS);
        tokio::spawn(async move { latch.count_down().await.unwrap() })
    });
    let mut missing = Vec::new();
    for count in counts.collect::<Vec<_>>() {
        missing.push(within(PATIENCE * 2, "counted", count).await.unwrap());
    }
    missing.sort_unstable();
    assert_eq!(missing, (0..COUNTS).collect::<Vec<_>>());
    passes(waiter).await;
    finish(&fixture, &latch(&sessions[0], COUNTS)).await;
}
