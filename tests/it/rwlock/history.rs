//! Many at once, in calm weather and struck.

use std::sync::Arc;
use std::time::Duration;

use zookeeper_testkit::{Fixture, History, Mode, within};

use super::{DIR, rw};
use crate::support::sessions::expire;
use crate::support::{PATIENCE, connect};

/// Sessions that read, write and go from writing to reading as they like, and give up now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_are_never_together() {
    let fixture = Fixture::new("history").await;
    let history = History::new();
    let mut workers = Vec::new();
    for worker in 0..6_u64 {
        let (zk, history) = (connect(&fixture).await, history.clone());
        workers.push(tokio::spawn(async move {
            let lock = rw(&zk);
            for round in 0..25_u64 {
                let choice = (worker * 7 + round * 13) % 10;
                let limit = Duration::from_millis(if choice == 9 { 5 } else { 60_000 });
                if choice < 5 {
                    let guard = lock.read_timeout(limit).await.unwrap();
                    let held = history.record_grant(DIR, worker, Mode::Shared, guard.token().as_i64());
                    tokio::task::yield_now().await;
                    held.end();
                    guard.release().await.unwrap();
                } else if let Ok(guard) = lock.write_timeout(limit).await {
                    let token = guard.token().as_i64();
                    let held = history.record_grant(DIR, worker, Mode::Exclusive, token);
                    tokio::task::yield_now().await;
                    held.end();
                    if choice >= 7 {
                        let guard = guard.downgrade().await.unwrap();
                        assert_eq!(guard.token().as_i64(), token);
                        let held = history.record_grant(DIR, worker, Mode::Shared, token);
                        tokio::task::yield_now().await;
                        held.end();
                        guard.release().await.unwrap();
                    } else {
                        guard.release().await.unwrap();
                    }
                }
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    println!("{summary}");
    assert!(summary.grants >= 6 * 20 && summary.most_at_once > 1, "{summary}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Holders are struck in their turn; nobody is left waiting, and nobody is granted beside another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_line_survives_expiries_and_deletions() {
    let fixture = Fixture::new("struck").await;
    let history = History::new();
    let fixture = Arc::new(fixture);
    let mut workers = Vec::new();
    for worker in 0..4_u64 {
        let (fixture, history) = (Arc::clone(&fixture), history.clone());
        workers.push(tokio::spawn(async move {
            let zk = connect(&fixture).await;
            for round in 0..8_u64 {
                let lock = rw(&zk);
                let (mode, hold): (_, Box<dyn std::ops::Deref<Target = zookeeper_recipes::Hold> + Send>) =
                    if (worker + round) % 3 == 0 {
                        (Mode::Exclusive, Box::new(lock.write().await.unwrap()))
                    } else {
                        (Mode::Shared, Box::new(lock.read().await.unwrap()))
                    };
                let held = history.record_grant(DIR, format!("{worker}.{round}"), mode, hold.token().as_i64());
                match round % 4 {
                    // A delete and an expiry by another client cannot be known before they happen.
                    1 => {
                        held.end();
                        expire(&fixture, &zk).await;
                        within(PATIENCE, "told", hold.lost()).await;
                    }
                    3 => {
                        held.end();
                        fixture.raw().delete(hold.path(), None).await.unwrap();
                        within(PATIENCE, "told", hold.lost()).await;
                    }
                    _ => held.end(),
                }
                drop(hold);
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    assert_eq!(summary.grants, 32, "{summary}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}
