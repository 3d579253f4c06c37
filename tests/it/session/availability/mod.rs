//! Availability: waits end, leases last on slow links, work ends before the next hold begins, and users learn why.

mod blocked_runtimes;
mod chosen_runtimes;
mod dead_guards;
mod ephemeral_bytes;
mod faults;
mod forged;
mod lapses;
mod late_proofs;
mod long_waits;
mod outside_runtimes;
mod slow_links;
mod timeout_errors;
mod told;
#[cfg(feature = "serde")]
mod typed_pops;
mod waits;

use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, Hold, Lost};
use zookeeper_testkit::{Counts, Fixture, Proxy, background};

use crate::support::{acquire, answered, lock};

const LOCK: &str = "/lock";

/// Creates `path` as a persistent node: the server would reap a container between two rounds.
async fn directory(fixture: &Fixture, path: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let created = fixture.raw().create(path, b"", &options).await;
    created.unwrap_or_else(|err| panic!("{path}: {err}"));
}

/// Shows that `hold` is not lost for as long as `period`.
async fn assert_held_for(hold: &Hold, period: Duration, what: impl Display) {
    let started = Instant::now();
    if let Ok(reason) = tokio::time::timeout(period, hold.lost()).await {
        panic!("{what}: lost {:?} after {:?}", reason, started.elapsed());
    }
    assert!(hold.is_held(), "{what}");
}

/// Work without an end, which notes when it went on last.
#[derive(Clone)]
struct BeatingWork(Arc<Mutex<Instant>>);

impl BeatingWork {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    async fn go_on(self) {
        loop {
            *self.0.lock().unwrap() = Instant::now();
            background::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Shows that the work was dropped before the next holder was granted the place.
    fn assert_dropped_before<T: Debug>(&self, granted: Instant, outcome: Result<Result<(), Lost>, T>) {
        let last = *self.0.lock().unwrap();
        assert!(
            last < granted,
            "the work ran {:?} beside the next holder",
            last - granted
        );
        assert!(matches!(outcome, Ok(Err(_))), "{outcome:?}");
    }
}

/// Waits until the session has an answer after a pause, and returns what an acquire then sends.
async fn requests_of_an_acquire(zk: &Coordinator, proxy: &Proxy) -> Counts {
    answered(zk).await;
    proxy.reset_counts();
    let guard = acquire(&lock(zk, LOCK)).await;
    let requests = proxy.requests();
    guard.release().await.unwrap();
    requests
}
