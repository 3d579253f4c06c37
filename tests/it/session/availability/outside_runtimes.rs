//! Futures that are polled outside of a tokio runtime do what they do inside, or fail with an error. They never panic.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::executor;
use zookeeper_embedded::Op;
use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{
    Barrier, Coordinator, CountDownLatch, DoubleBarrier, FairLock, Group, LeaderElection, MultiLock, Relay, RwLock,
    Semaphore, SharedCounter, SharedValue,
};
use zookeeper_testkit::{Fixture, background, within};

use crate::support::{PATIENCE, acquire, connect, connect_each, connect_to, faults, lock, session_id, start_proxied};

const MOMENT: Duration = Duration::from_millis(50);

/// Fails if a call panics on a thread without a runtime; what it returns does not matter here.
fn outside<T>(what: &str, zk: &Coordinator, call: impl AsyncFnOnce(Coordinator) -> T + Send + 'static) {
    let zk = zk.clone();
    let called = thread::spawn(move || {
        executor::block_on(call(zk));
    });
    assert!(called.join().is_ok(), "{what} panicked outside of a runtime");
}

/// The coordinator's runtime goes on meanwhile, as a service's does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_outside_a_runtime_do_not_panic() {
    let fixture = Arc::new(Fixture::new("outside, timeouts").await);
    let [zk, other] = connect_each(&fixture).await;
    let taken = acquire(&lock(&other, "/lock")).await;
    let zk = &zk;
    outside("FairLock", zk, async |zk| {
        FairLock::new(&zk, "/lock").unwrap().acquire_timeout(MOMENT).await.err()
    });
    outside("RwLock", zk, async |zk| {
        RwLock::new(&zk, "/rw").unwrap().read_timeout(MOMENT).await.map(drop)
    });
    outside("RwLock", zk, async |zk| {
        RwLock::new(&zk, "/rw").unwrap().write_timeout(MOMENT).await.map(drop)
    });
    outside("MultiLock", zk, async |zk| {
        MultiLock::new(&zk, ["/lock", "/m"])
            .unwrap()
            .acquire_timeout(MOMENT)
            .await
            .err()
    });
    outside("Semaphore", zk, async |zk| {
        Semaphore::new(&zk, "/s", 1)
            .unwrap()
            .acquire_timeout(MOMENT)
            .await
            .map(drop)
    });
    outside("LeaderElection", zk, async |zk| {
        LeaderElection::new(&zk, "/e")
            .unwrap()
            .campaign_timeout("", MOMENT)
            .await
            .map(drop)
    });
    outside("Relay", zk, async |zk| {
        Relay::new(&zk, "/r").unwrap().join_timeout(MOMENT).await.map(drop)
    });
    outside("Barrier", zk, async |zk| {
        let barrier = Barrier::new(&zk, "/b").unwrap();
        barrier.set().await.unwrap();
        barrier.wait_timeout(MOMENT).await.err()
    });
    outside("DoubleBarrier", zk, async |zk| {
        DoubleBarrier::new(&zk, "/d", 2)
            .unwrap()
            .enter_timeout(MOMENT)
            .await
            .err()
    });
    outside("CountDownLatch", zk, async |zk| {
        CountDownLatch::new(&zk, "/c", 1)
            .unwrap()
            .wait_timeout(MOMENT)
            .await
            .err()
    });
    outside("FifoQueue", zk, async |zk| {
        FifoQueue::new(&zk, "/f").unwrap().pop_timeout(MOMENT).await.err()
    });
    outside("WorkQueue", zk, async |zk| {
        let queue = WorkQueue::new(&zk, "/w").unwrap();
        queue.push_timeout("item", 20 * MOMENT).await.unwrap();
        queue.pop_timeout(20 * MOMENT).await.unwrap().ack().await.unwrap();
        queue.pop_timeout(MOMENT).await.err()
    });
    taken.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_outside_a_runtime_do_not_panic() {
    let fixture = Arc::new(Fixture::new("outside").await);
    let zk = &connect(&fixture).await;
    outside("FairLock", zk, async |zk| {
        let lock = FairLock::new(&zk, "/lock").unwrap();
        lock.run(|_| async {}).await.unwrap();
        lock.run_revocable(|_| async {}).await.unwrap();
        let guard = lock.try_acquire().await.unwrap();
        let mut write = guard.fenced();
        write.add_set_data("/lock", b"", None);
        write.commit().await.unwrap();
        let signal = guard.lost();
        guard.release().await.unwrap();
        signal.await
    });
    outside("Group", zk, async |zk| {
        let group = Group::new(&zk, "/group").unwrap();
        let mut observer = group.observe().await.unwrap();
        let member = group.join("member", "").await.unwrap();
        observer.wait_for(|members| members.len() == 1).await.unwrap();
        member.leave().await;
    });
    outside("SharedValue", zk, async |zk| {
        let value = SharedValue::new(&zk, "/value").unwrap();
        value.set("one").await.unwrap();
        drop(value.observe().await.unwrap());
    });
    outside("SharedCounter", zk, async |zk| {
        SharedCounter::new(&zk, "/counter").unwrap().fetch_add(1).await.unwrap()
    });
    outside("Coordinator", zk, async |zk| zk.close().await);
    fixture.assert_no_nodes_left(&["/lock", "/group"]).await;
}

/// Each request in turn loses its reply or its connection, so that each is retried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_outside_a_runtime_do_not_panic() {
    let fixture = Arc::new(Fixture::with_embedded_server("outside, retries").await);
    for nth in 1..=6 {
        let zk = connect(&fixture).await;
        let session = session_id(&zk).await;
        let requests = faults(&fixture)
            .on_any()
            .session(session)
            .matching(|request| !matches!(request.op, Op::Ping | Op::Connect | Op::SetWatches | Op::CloseSession))
            .nth(nth);
        let rule = match nth % 2 {
            0 => requests.drop_after_apply(),
            _ => requests.drop_before_apply(),
        };
        outside("FairLock", &zk, async |zk| {
            let guard = FairLock::new(&zk, "/lock").unwrap().acquire().await.unwrap();
            guard.release().await.unwrap();
        });
        outside("SharedValue", &zk, async |zk| {
            SharedValue::new(&zk, "/value").unwrap().set("one").await.unwrap();
        });
        outside("Group", &zk, async |zk| {
            let group = Group::new(&zk, "/group").unwrap();
            group.join("member", "").await.unwrap().leave().await;
        });
        assert!(rule.hits() > 0, "request {nth} was struck");
        zk.close().await;
    }
    fixture.assert_no_nodes_left(&["/lock", "/group"]).await;
}

/// After a pause of the runtime a grant may have to wait until a proof can vouch for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_outside_a_runtime_after_pauses_never_panic() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    let fixture = Fixture::new("outside, pause").await;
    let zk = connect_to(&fixture.connect_string(), TIMEOUT).await;
    background::sleep(TIMEOUT).await;
    let sleepers = (0..2).map(|_| tokio::spawn(async { thread::sleep(TIMEOUT / 2) }));
    for sleeper in sleepers.collect::<Vec<_>>() {
        sleeper.await.unwrap();
    }
    outside("FairLock", &zk, async |zk| {
        let guard = FairLock::new(&zk, "/lock").unwrap().acquire().await.unwrap();
        guard.release().await.unwrap();
    });
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

/// The signal is polled by another executor, and fires when the lease has lapsed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_is_told_outside_a_runtime() {
    let (fixture, proxy, zk) = start_proxied("outside, lost", Duration::from_secs(2)).await;
    let guard = acquire(&lock(&zk, "/lock")).await;
    proxy.black_hole();
    let told = thread::spawn(move || {
        let work = guard.run_until_lost(std::future::pending::<()>());
        executor::block_on(work).unwrap_err()
    });
    let told = background::blocking(move || told.join());
    let lost = within(PATIENCE, "the loss", told).await;
    assert!(lost.is_ok(), "it panicked outside of a runtime");
    proxy.heal();
    fixture.assert_no_nodes_left(&["/lock"]).await;
}
