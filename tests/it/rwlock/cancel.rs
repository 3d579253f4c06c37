//! Calls that are dropped at any await point leave nothing.

use std::pin::Pin;

use zookeeper_recipes::RwLock;
use zookeeper_testkit::within;

use super::{DIR, rw, write};
use crate::support::polls::poll_times;
use crate::support::{PATIENCE, SILENCE, session_id, start_each};

type Attempt = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Drops `attempt` after every number of polls, with a reader ahead, and shows that whoever is behind has its turn.
async fn walk(name: &str, attempt: impl Fn(RwLock) -> Attempt) {
    let (fixture, [zk, other]) = start_each(name).await;
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for blocked in [false, true] {
        for polls in 0.. {
            rounds += 1;
            let holder = match blocked {
                true => Some(write(&rw(&other)).await),
                false => None,
            };
            let mut attempt = attempt(rw(&zk));
            let polled = poll_times(attempt.as_mut(), polls);
            // Whoever waits for the holder waits for ever.
            let done = match blocked {
                true => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(())),
                false => within(PATIENCE, "polled", polled).await,
            };
            drop(attempt);
            drop(holder);
            write(&rw(&other)).await.release().await.unwrap();
            fixture.until_children(DIR, 0).await;
            if done.is_some() {
                break;
            }
        }
    }
    assert!(rounds > 4, "it was never dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_read_dropped_anywhere_leaves_nothing() {
    walk("read", |lock| Box::pin(async move { drop(lock.read().await.unwrap()) })).await;
}

#[tokio::test]
async fn a_write_dropped_anywhere_leaves_nothing() {
    walk("write", |lock| {
        Box::pin(async move { drop(lock.write().await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn a_downgrade_dropped_anywhere_leaves_nothing() {
    walk("downgrade", |lock| {
        Box::pin(async move {
            let reader = lock.write().await.unwrap().downgrade().await.unwrap();
            reader.release().await.unwrap();
        })
    })
    .await;
}

#[tokio::test]
async fn a_read_timeout_dropped_anywhere_leaves_nothing() {
    walk("read_timeout", |lock| {
        Box::pin(async move { drop(lock.read_timeout(PATIENCE).await.unwrap()) })
    })
    .await;
}
