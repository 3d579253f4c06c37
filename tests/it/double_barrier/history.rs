//! Many rounds, while members die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zookeeper_recipes::DoubleBarrier;
use zookeeper_testkit::{Fixture, eventually, within};

use super::PATH;
use crate::support::sessions::expire;
use crate::support::{PATIENCE, connect};

/// Rounds of all workers, while sessions expire and members give up: never open before enough are there, never left
/// before all have, and nobody is left waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_stay_together_while_some_die() {
    const WORKERS: usize = 5;
    const ROUNDS: usize = 12;
    let fixture = Arc::new(Fixture::new("rounds").await);
    // Of each round: how many have begun to enter, and how many are inside for certain.
    let counts: Arc<Vec<[AtomicUsize; 2]>> = Arc::new((0..ROUNDS).map(|_| Default::default()).collect());
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (fixture, counts) = (Arc::clone(&fixture), Arc::clone(&counts));
        workers.push(tokio::spawn(async move {
            let zk = connect(&fixture).await;
            for (round, [begun, inside]) in counts.iter().enumerate() {
                let barrier = DoubleBarrier::new(&zk, &format!("{PATH}/{round}"), WORKERS).unwrap();
                if worker == round % WORKERS {
                    // The last to come. Who gives up when all are there may have been let in, and the others have left.
                    eventually(PATIENCE, "the others have come", || async {
                        begun.load(Ordering::SeqCst) == WORKERS - 1
                    })
                    .await;
                } else if (worker + round) % 4 == 1 {
                    // Gives up at first.
                    let timed = barrier.enter_timeout(Duration::from_millis(worker as u64)).await;
                    assert!(timed.is_err(), "let in before all were there");
                }
                begun.fetch_add(1, Ordering::SeqCst);
                let entered = barrier.enter().await.unwrap();
                assert_eq!(begun.load(Ordering::SeqCst), WORKERS, "let in before all were there");
                inside.fetch_add(1, Ordering::SeqCst);
                if (worker + round) % 5 == 0 {
                    inside.fetch_sub(1, Ordering::SeqCst);
                    expire(&fixture, &zk).await;
                    within(PATIENCE, "told", entered.lost()).await;
                    assert!(entered.leave().await.is_err());
                } else {
                    tokio::time::sleep(Duration::from_millis(worker as u64 * 3)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    entered.leave().await.unwrap();
                    assert_eq!(inside.load(Ordering::SeqCst), 0, "left while others are inside");
                }
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    fixture.assert_no_nodes_left(&[]).await;
}
