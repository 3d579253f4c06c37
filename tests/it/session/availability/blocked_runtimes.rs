//! A blocked runtime of the user costs no hold, and hides no loss from work that runs elsewhere.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zookeeper_recipes::{Coordinator, FairLockGuard};
use zookeeper_testkit::{Fixture, within};

use super::{BeatingWork, LOCK};
use crate::support::sessions::Acquiring;
use crate::support::{PATIENCE, acquire, connect, connect_to, lock};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Connects on a runtime of one thread, which is then blocked until it is told to end.
struct Blocked {
    end: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Blocked {
    async fn hold(servers: String) -> (Self, FairLockGuard) {
        let (send, held) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let zk = connect_to(&servers, TIMEOUT).await;
                send.send(acquire(&lock(&zk, LOCK)).await).unwrap();
                let _ = ended.recv();
            });
        });
        let guard = tokio::task::spawn_blocking(move || held.recv_timeout(PATIENCE));
        (Self { end, thread }, guard.await.unwrap().expect("it is held"))
    }

    fn end(self) {
        drop(self.end);
        self.thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_blocked_runtime_costs_no_hold() {
    let fixture = Fixture::new("blocked runtime").await;
    let (blocked, guard) = Blocked::hold(fixture.connect_string()).await;
    super::assert_held_for(&guard, 2 * TIMEOUT, "a hold of a blocked runtime").await;
    assert_eq!(fixture.children(LOCK).await.len(), 1);
    drop(guard);
    blocked.end();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_all_sleep_cost_no_hold() {
    let fixture = Fixture::new("sleeping workers").await;
    let servers = fixture.connect_string();
    let held = tokio::spawn(async move {
        let zk = connect_to(&servers, TIMEOUT).await;
        let guard = acquire(&lock(&zk, LOCK)).await;
        (zk, guard)
    });
    let (zk, guard): (Coordinator, _) = within(PATIENCE, "a hold", held).await.unwrap();
    // Two workers, and the thread of the test.
    let sleeping: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async { thread::sleep(2 * TIMEOUT) }))
        .collect();
    thread::sleep(2 * TIMEOUT);
    assert!(guard.is_held(), "{:?}", guard.lost().reason());
    for sleeper in sleeping {
        sleeper.await.unwrap();
    }
    super::assert_held_for(&guard, TIMEOUT, "a hold of a runtime that was blocked").await;
    guard.release().await.unwrap();
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_loss_stops_work_on_another_runtime() {
    let fixture = Fixture::new("loss elsewhere").await;
    let (proxy, servers) = fixture.proxied().await;
    let (blocked, guard) = Blocked::hold(servers).await;
    let next = Acquiring::start_at(&fixture, &lock(&connect(&fixture).await, LOCK), 1).await;
    let granted = tokio::spawn(async move { (next.granted().await, Instant::now()) });
    proxy.black_hole();
    let work = BeatingWork::new();
    let ended = tokio::time::timeout(3 * TIMEOUT, guard.run_until_lost(work.clone().go_on())).await;
    let (next, granted) = granted.await.unwrap();
    work.assert_dropped_before(granted, ended);
    proxy.heal();
    next.release().await.unwrap();
    drop(guard);
    blocked.end();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
