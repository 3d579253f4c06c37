//! Many at once, under faults.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zookeeper_recipes::queue::{FifoPopError, FifoPopTimeoutError, FifoPushError};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{LEDGERS, LINE, PATH, queue, text};
use crate::support::{LONG, PATIENCE, connect_to};

/// Each item exactly once, while links are cut, replies lost and sessions taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_lose_and_double_nothing() {
    const ITEMS: usize = 300;
    let fixture = Arc::new(Fixture::new("many").await);
    let delivered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let in_doubt = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let pushing = Arc::new(AtomicUsize::new(3));
    let mut tasks = Vec::new();
    let mut links = Vec::new();
    for producer in 0..3 {
        let (proxy, servers) = fixture.proxied().await;
        let queue = queue(&connect_to(&servers, LONG).await);
        let (in_doubt, pushing) = (Arc::clone(&in_doubt), Arc::clone(&pushing));
        links.push(proxy);
        tasks.push(tokio::spawn(async move {
            for number in 0..ITEMS / 3 {
                let item = format!("{producer}-{number:05}");
                match queue.push(item.clone()).await {
                    Ok(()) => {}
                    Err(FifoPushError::Indeterminate) => _ = in_doubt.lock().unwrap().insert(item),
                    Err(err) => panic!("{item}: {err}"),
                }
            }
            pushing.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    for _ in 0..4 {
        let (proxy, servers) = fixture.proxied().await;
        let queue = queue(&connect_to(&servers, LONG).await);
        let (in_doubt, pushing) = (Arc::clone(&in_doubt), Arc::clone(&pushing));
        let delivered = Arc::clone(&delivered);
        links.push(proxy);
        tasks.push(tokio::spawn(async move {
            loop {
                match queue.pop_timeout(Duration::from_millis(500)).await {
                    Ok(item) => delivered.lock().unwrap().push(text(item)),
                    Err(FifoPopTimeoutError::Error(FifoPopError::Indeterminate { item, .. })) => {
                        in_doubt.lock().unwrap().insert(text(item));
                    }
                    Err(FifoPopTimeoutError::Elapsed { .. }) => {
                        if pushing.load(Ordering::SeqCst) == 0 && queue.is_empty().await.unwrap() {
                            return;
                        }
                    }
                    Err(err) => panic!("{err}"),
                }
            }
        }));
    }
    let links = Arc::new(links);
    let trouble = Arc::clone(&links);
    let trouble = tokio::spawn(async move {
        let links = trouble;
        for round in 0_usize.. {
            let link = &links[round % links.len()];
            let fault = link.inject(
                When::request(Op::Multi),
                [Injection::LoseReply, Injection::CutBefore][round / 7 % 2],
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
            fault.disarm();
        }
    });
    for task in tasks {
        within(PATIENCE * 4, "all pushed and popped", task).await.unwrap();
    }
    trouble.abort();
    let delivered = delivered.lock().unwrap().clone();
    let once: BTreeSet<_> = delivered.iter().cloned().collect();
    assert_eq!(once.len(), delivered.len(), "delivered twice");
    let all = (0..3).flat_map(|producer| (0..ITEMS / 3).map(move |number| format!("{producer}-{number:05}")));
    let lost: Vec<_> = all.filter(|item| !once.contains(item)).collect();
    let in_doubt = in_doubt.lock().unwrap().clone();
    assert!(lost.iter().all(|item| in_doubt.contains(item)), "lost: {lost:?}");
    // No session has ended, so that nothing may be in doubt at all.
    assert!(in_doubt.is_empty(), "{in_doubt:?}");
    fixture.assert_no_nodes_left(&[PATH, LINE, LEDGERS]).await;
}
