//! Everything at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::zookeeper_client::{AddWatchMode, EventType};
use zookeeper_testkit::{Fixture, History, Mode, ServerTruth, within};

use super::{LEASES, PATH, finish, semaphore, take};
use crate::support::sessions::expire;
use crate::support::{LONG, PATIENCE, connect, connect_to, create};

/// Counts the nodes below `leases` in the order of the server's transactions.
async fn never_more_than(fixture: &Fixture, limit: usize) -> JoinHandle<usize> {
    let client = fixture.connect().await;
    let mut watcher = client.watch(LEASES, AddWatchMode::PersistentRecursive).await.unwrap();
    tokio::spawn(async move {
        let _session = client;
        let (mut leases, mut most) = (0_usize, 0);
        loop {
            let event = watcher.changed().await;
            match event.event_type {
                EventType::NodeCreated if event.path.contains("-lease-") => leases += 1,
                EventType::NodeDeleted if event.path.contains("-lease-") => leases -= 1,
                // The end of the test.
                EventType::NodeDeleted => return most,
                _ => {}
            }
            most = most.max(leases);
            assert!(leases <= limit, "{leases} permits of {limit}");
        }
    })
}

/// Everything at once: big and small requests, timeouts, drops, expiries, deletes and cuts. Never over the limit, by the
/// server's truth and by belief, and nobody is left waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_never_exceed_the_limit() {
    const LIMIT: u32 = 4;
    const WORKERS: u32 = 6;
    let fixture = Arc::new(Fixture::new("history").await);
    let history = History::new();
    let first = connect(&fixture).await;
    take(&semaphore(&first, LIMIT), 1).await.release().await.unwrap();
    create(&fixture, &format!("{LEASES}/keep"), zk::CreateMode::Persistent).await;
    let _truth = ServerTruth::record(fixture.raw(), LEASES, &history).await;
    let counting = never_more_than(&fixture, LIMIT as usize).await;
    let together = Arc::new(Barrier::new(2));
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (fixture, history) = (Arc::clone(&fixture), history.clone());
        let together = Arc::clone(&together);
        workers.push(tokio::spawn(async move {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, LONG).await;
            let mine = semaphore(&zk, LIMIT);
            for round in 0..14_u32 {
                let taken = [1, 2, 1, 1, 3, 1, 2, LIMIT][(worker + round) as usize % 8];
                let mix = (worker * 5 + round * 3) % 9;
                if mix == 1 {
                    proxy.cut();
                }
                let permit = match mix {
                    2 => match mine.acquire_many_timeout(taken, Duration::from_millis(20)).await {
                        Ok(permit) => permit,
                        Err(_) => continue,
                    },
                    3 => match mine.try_acquire_many(taken).await {
                        Ok(permit) => permit,
                        Err(_) => continue,
                    },
                    4 => {
                        let patience = tokio::time::sleep(Duration::from_millis(u64::from(round)));
                        tokio::select! {
                            permit = mine.acquire_many(taken) => permit.unwrap(),
                            () = patience => continue,
                        }
                    }
                    _ => mine.acquire_many(taken).await.unwrap(),
                };
                let mode = Mode::Permits { taken, limit: LIMIT };
                let held = history.record_grant(PATH, format!("{worker}.{round}"), mode, permit.token().as_i64());
                if round == 0 && worker < 2 {
                    // With one and two of four permits: some hold at once for certain.
                    together.wait().await;
                }
                tokio::time::sleep(Duration::from_millis(u64::from(10 * (round % 3)))).await;
                // A delete and an expiry by another client cannot be known before they happen.
                held.end();
                match mix {
                    5 => {
                        expire(&fixture, &zk).await;
                        within(PATIENCE, "told", permit.lost()).await;
                    }
                    6 => {
                        fixture.raw().delete(permit.path(), None).await.unwrap();
                        within(PATIENCE, "told", permit.lost()).await;
                    }
                    7 => drop(permit),
                    _ => _ = permit.release().await,
                }
            }
            // While the proxy is there to carry it.
            zk.close().await;
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    println!("{summary}");
    assert!(summary.grants > 40 && summary.most_at_once > 1, "{summary}");
    fixture.until_children(LEASES, 1).await;
    fixture.raw().delete(&format!("{LEASES}/keep"), None).await.unwrap();
    let most = within(PATIENCE, "counted", counting).await.unwrap();
    assert!(most > 1 && most <= LIMIT as usize, "{most}");
    finish(&fixture, &semaphore(&first, LIMIT), LIMIT).await;
}
