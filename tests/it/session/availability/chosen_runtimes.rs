//! needs: `ConnectOptions::runtime(tokio::runtime::Handle)`
//!
//! A runtime that the user has chosen can be paused and shut down, and the session with it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zookeeper_recipes::{ConnectOptions, Coordinator, LossReason};
use zookeeper_testkit::{Fixture, background, within};

use super::{BeatingWork, LOCK, directory, requests_of_an_acquire};
use crate::support::sessions::{Acquiring, told};
use crate::support::{PATIENCE, acquire, connect, lock};

/// A runtime of one worker, which a task can block.
fn one_worker() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn connect_on(runtime: &Runtime, servers: &str, timeout: Duration) -> Coordinator {
    let options = ConnectOptions::new()
        .session_timeout(timeout)
        .runtime(runtime.handle().clone());
    within(PATIENCE, "a session", options.connect(servers)).await.unwrap()
}

/// Blocks the only worker until the sender is dropped.
fn block(runtime: &Runtime) -> mpsc::Sender<()> {
    let (end, ended) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    runtime.spawn(async move {
        begin.send(()).unwrap();
        let _ = ended.recv();
    });
    begun.recv_timeout(PATIENCE).unwrap();
    end
}

/// What `late_proofs` shows of the runtime of the test, where the session runs on a thread of its own.
#[tokio::test]
async fn a_paused_session_costs_few_heartbeats() {
    let runtime = one_worker();
    for timeout in [4, 10, 20].map(Duration::from_secs) {
        let fixture = Fixture::new("paused session").await;
        directory(&fixture, LOCK).await;
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_on(&runtime, &servers, timeout).await;
        background::sleep(timeout).await;
        let blocked = block(&runtime);
        background::sleep(timeout / 2).await;
        drop(blocked);
        let requests = requests_of_an_acquire(&zk, &proxy).await;
        assert!(requests.heartbeats() <= 8, "T = {timeout:?}: {requests}");
        fixture.assert_no_nodes_left(&[LOCK]).await;
    }
    background::blocking(move || drop(runtime)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_ends_before_the_next_session_begins() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let fixture = Fixture::new("paused session, work elsewhere").await;
    let runtime = one_worker();
    let zk = connect_on(&runtime, &fixture.connect_string(), TIMEOUT).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let next = Acquiring::start_at(&fixture, &lock(&connect(&fixture).await, LOCK), 1).await;
    let granted = tokio::spawn(async move { (next.granted().await, Instant::now()) });
    let blocked = block(&runtime);
    let work = BeatingWork::new();
    // Its timer is one of the runtime of the session, which is blocked: that of the caller has to look as well.
    let ended = tokio::time::timeout(3 * TIMEOUT, guard.run_until_lost(work.clone().go_on())).await;
    drop(blocked);
    let (next, granted) = granted.await.unwrap();
    work.assert_dropped_before(granted, ended);
    next.release().await.unwrap();
    drop(guard);
    fixture.assert_no_nodes_left(&[LOCK]).await;
    background::blocking(move || drop(runtime)).await;
}

#[tokio::test]
async fn holds_end_with_their_runtime() {
    let fixture = Fixture::new("runtime shut down").await;
    let runtime = one_worker();
    let zk = connect_on(&runtime, &fixture.connect_string(), Duration::from_secs(3)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let signal = guard.lost();
    thread::spawn(move || drop(runtime)).join().unwrap();
    let (reason, _) = told(&guard).await;
    assert_eq!(reason, LossReason::Closed);
    assert_eq!(signal.await, LossReason::Closed);
    drop(guard);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// Without one, the session has a runtime of its own.
#[test]
fn connecting_outside_a_runtime_works() {
    let fixture = background::handle().block_on(Fixture::new("no runtime"));
    let servers = fixture.connect_string();
    futures::executor::block_on(async {
        let zk = zookeeper_recipes::connect(&servers).await.unwrap();
        acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
        zk.close().await;
    });
    background::handle().block_on(fixture.assert_no_nodes_left(&[LOCK]));
}
