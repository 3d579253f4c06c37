//! Random faults over all recipes: after the last of them every waiter is granted.
//!
//! * `work` – what the recipes do meanwhile
//! * `trouble` – the operator, the cuts and the kills

mod trouble;
mod work;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use zookeeper_recipes::Coordinator;
use zookeeper_testkit::{Fixture, Proxy, within};

use self::trouble::Trouble;
use crate::support::{connect, connect_to};

const TIMEOUT: Duration = Duration::from_secs(4);
/// One for each worker: a session that has nothing else shows most.
const SESSIONS: usize = 36;
const FAULTS: usize = 60;

/// How long a waiter may wait after the last fault: a session that a fault has cost expires first.
const BOUND: Duration = Duration::from_secs(45);

#[tokio::test]
async fn random_faults_leave_every_waiter_granted() {
    random_faults("random faults").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_on_two_threads_leave_waiters_granted() {
    random_faults("random faults, two threads").await;
}

async fn random_faults(name: &str) {
    let seed =
        std::env::var("ZK_TEST_SEED").map_or_else(|_| RandomState::new().hash_one(name), |seed| seed.parse().unwrap());
    println!("{name}: the same faults with ZK_TEST_SEED={seed}");
    let fixture = Arc::new(Fixture::with_own_server(name).await);
    let mut victims = Vec::new();
    for _ in 0..SESSIONS {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, TIMEOUT).await;
        victims.push(Victim { zk, proxy });
    }
    let play = Play::default();
    // Items and permissions come from sessions that no fault strikes.
    let calm = connect(&fixture).await;
    let helpers = work::help(&calm);
    let workers = work::begin(&victims, &play);

    let mut trouble = Trouble::new(Arc::clone(&fixture), seed);
    for _ in 0..FAULTS {
        trouble.strike(&victims).await;
    }
    play.end();
    let granted = play.grants();
    let mut waiting = Vec::new();
    let deadline = tokio::time::Instant::now() + BOUND;
    for (what, worker) in workers {
        match tokio::time::timeout_at(deadline, worker).await {
            Ok(ended) => ended.unwrap_or_else(|err| panic!("{what}: {err}")),
            Err(_) => waiting.push(what),
        }
    }
    assert!(
        waiting.is_empty(),
        "not granted within {BOUND:?} after the last fault: {waiting:?}"
    );
    println!("{name}: {granted} grants under faults, {} in all", play.grants());
    assert!(granted > 0, "nothing was granted under faults");
    helpers.iter().for_each(tokio::task::JoinHandle::abort);
    let closing = victims.iter().map(|victim| victim.zk.clone().close());
    within(BOUND, "closed", future::join_all(closing)).await;
    calm.close().await;
    fixture.assert_no_nodes_left_within(BOUND, &[]).await;
}

/// A session that is struck.
struct Victim {
    zk: Coordinator,
    proxy: Proxy,
}

/// What the workers know of the play.
#[derive(Clone, Default)]
struct Play(Arc<State>);

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    grants: AtomicUsize,
}

impl Play {
    fn end(&self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Relaxed)
    }

    fn granted(&self) {
        self.0.grants.fetch_add(1, Ordering::Relaxed);
    }

    fn grants(&self) -> usize {
        self.0.grants.load(Ordering::Relaxed)
    }
}
