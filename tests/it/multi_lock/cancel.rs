//! Calls that are dropped at any await point leave nothing.

use std::sync::Arc;

use zookeeper_testkit::{Fixture, within};

use super::{PATHS, all, take};
use crate::support::polls::poll_times;
use crate::support::{PATIENCE, SILENCE, acquire, connect_each, lock, session_id};

/// With and without somebody ahead, on the first path or on the last.
#[tokio::test]
async fn an_acquire_dropped_anywhere_leaves_nothing() {
    let fixture = Arc::new(Fixture::new("cancelled").await);
    let [zk, other] = connect_each(&fixture).await;
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for blocked in [None, Some(PATHS[0]), Some(PATHS[2])] {
        for form in ["acquire", "acquire_timeout", "try_acquire", "release"] {
            for polls in 0.. {
                rounds += 1;
                let holder = match blocked {
                    Some(path) => Some(acquire(&lock(&other, path)).await),
                    None => None,
                };
                let locks = all(&zk);
                let mut attempt = Box::pin(async move {
                    match form {
                        "acquire" => drop(locks.acquire().await.unwrap()),
                        "acquire_timeout" => drop(locks.acquire_timeout(PATIENCE).await.unwrap()),
                        "try_acquire" => drop(locks.try_acquire().await),
                        _ => locks.acquire().await.unwrap().release().await.unwrap(),
                    }
                });
                let polled = poll_times(attempt.as_mut(), polls);
                // Whoever waits for the holder waits for ever.
                let done = match blocked {
                    Some(_) => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(())),
                    None => within(PATIENCE, "polled", polled).await,
                };
                drop(attempt);
                drop(holder);
                take(&all(&other)).await.release().await.unwrap();
                for path in PATHS {
                    fixture.until_children(path, 0).await;
                }
                if done.is_some() {
                    break;
                }
            }
        }
    }
    assert!(rounds > 24, "it was never dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&PATHS).await;
}
