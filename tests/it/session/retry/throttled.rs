//! A server that is too busy to answer.

use std::time::{Duration, Instant};

use futures::future;
use zookeeper_testkit::Fixture;

use crate::support::cost::Counted;
use crate::support::{Pending, faults, granted, lock, session_id};
use zookeeper_recipes::FairLockGuard;

const PENDING: usize = 200;

/// How long the server stays busy: long enough for the longest pause to be reached, which is after 1.3 s on average.
const BUSY: Duration = Duration::from_secs(3);

/// How often `PENDING` requests are sent within `elapsed`, at most.
///
/// The pause before the k-th repetition is uniform between 0 and 20 ms * 2^(k-1), the longest between 0 and 2 s. Seven
/// are shorter than that: eight attempts. From there on it is one a second on average. One more for each request is
/// nine standard deviations of the sum.
fn most_attempts(elapsed: Duration) -> f64 {
    PENDING as f64 * (8.0 + elapsed.as_secs_f64() + 1.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_acquires_back_off_from_a_busy_server() {
    let fixture = Fixture::with_embedded_server("throttled").await;
    let counted = Counted::connect(&fixture).await;
    let session = session_id(&counted.zk).await;
    let busy = faults(&fixture).on_any().session(session).always().throttle();
    let started = Instant::now();
    let pending: Vec<Pending<FairLockGuard>> = (0..PENDING)
        .map(|number| {
            let lock = lock(&counted.zk, &format!("/l/{number}"));
            tokio::spawn(async move { lock.acquire().await })
        })
        .collect();
    tokio::time::sleep(BUSY).await;
    let counts = counted.proxy.requests();
    let most = most_attempts(started.elapsed());
    let creates = counts.creates();
    println!(
        "{:?} in {:?}, at most {most:.0} creates",
        counts.by_op(),
        started.elapsed()
    );
    assert!(busy.hits() >= 2 * PENDING, "they try again");
    assert!(creates as f64 <= most, "{creates} creates, at most {most:.0}");
    assert!(
        counts.total() <= 2 * creates,
        "a list for each create, but {:?}",
        counts.by_op()
    );
    assert_eq!(counted.proxy.accepted().len(), 0, "the connection is healthy");

    busy.remove();
    let guards = future::join_all(pending.into_iter().map(granted)).await;
    future::join_all(guards.into_iter().map(|guard| async { guard.release().await.unwrap() })).await;
    fixture.assert_no_nodes_left(&[]).await;
}
