//! Lost is not removed: after a lapse the place stays taken until the work has ended.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures::future;
use tokio::task::JoinHandle;
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{
    Coordinator, Hold, LeaderElection, LossReason, MultiLock, RunError, RwLock, Semaphore, SessionState,
};
use zookeeper_testkit::{Fixture, Proxy, within};

use super::directory;
use crate::support::sessions::{Acquiring, reached};
use crate::support::{PATIENCE, connect, connect_to, lock, loss};

const TIMEOUT: Duration = Duration::from_secs(3);
const LANES: u32 = 10;
const ROUNDS_PER_LANE: u32 = 5;

/// Makes commits of the healthy ensemble too slow to prolong a lease, while the session lives on.
fn delay_proofs(proxy: &Proxy) {
    proxy.delay(TIMEOUT * 14 / 100);
}

/// Blocks a thread until the loss, and then for `tail` more. Returns when it ended.
struct Work {
    started: mpsc::Sender<()>,
    lost: mpsc::Receiver<()>,
    tail: Duration,
    ended: mpsc::Sender<Instant>,
}

impl Work {
    fn block(self) {
        self.started.send(()).unwrap();
        self.lost.recv_timeout(PATIENCE).unwrap();
        thread::sleep(self.tail);
        self.ended.send(Instant::now()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lapsed_work_ends_before_the_next_grant() {
    let fixture = Fixture::new("lapses").await;
    future::join_all((0..LANES).map(|lane| rounds(&fixture, lane))).await;
    fixture.assert_no_nodes_left(&[]).await;
}

async fn rounds(fixture: &Fixture, lane: u32) {
    let path = format!("/lane-{lane}");
    directory(fixture, &path).await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, TIMEOUT).await, connect(fixture).await);
    for round in 0..ROUNDS_PER_LANE {
        let tail = TIMEOUT * (round * LANES + lane) / (LANES * ROUNDS_PER_LANE + 5);
        let is_revocable = round % 2 == 1;
        let ran = lapse_under_work(fixture, &proxy, (&zk, &other), &path, (tail, is_revocable)).await;
        assert!(
            matches!(ran, Err(RunError::Lost(lost)) if lost.reason == LossReason::LeaseLapsed),
            "{path}, {tail:?}: {ran:?}"
        );
    }
}

async fn lapse_under_work(
    fixture: &Fixture,
    proxy: &Proxy,
    (zk, other): (&Coordinator, &Coordinator),
    path: &str,
    (tail, is_revocable): (Duration, bool),
) -> Result<(), RunError> {
    let (started, has_started) = mpsc::channel();
    let (tell, lost) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let work = Work {
        started,
        lost,
        tail,
        ended,
    };
    let working = lock(zk, path);
    // On a thread of its own: work that blocks is not to block the session.
    let running = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            match is_revocable {
                true => working.run_revocable(|_| async { work.block() }).await,
                false => working.run(|_| async { work.block() }).await,
            }
        })
    });
    within(PATIENCE, "the work starts", received(has_started)).await;
    let next = Acquiring::start_at(fixture, &lock(other, path), 1).await;
    let granted = tokio::spawn(async move { (next.granted().await, Instant::now()) });
    let mut states = zk.states();
    delay_proofs(proxy);
    reached(&mut states, SessionState::Lost).await;
    proxy.delay(Duration::ZERO);
    tell.send(()).unwrap();

    let ended = within(PATIENCE, "the work ends", received(has_ended)).await;
    let (guard, granted) = granted.await.unwrap();
    assert!(
        ended < granted,
        "{path}: granted {:?} before the work ended, which took {tail:?} after the loss",
        ended - granted
    );
    guard.release().await.unwrap();
    let ran = tokio::task::spawn_blocking(move || running.join().unwrap());
    within(PATIENCE, "the call returns", ran).await.unwrap()
}

async fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> T {
    let received = tokio::task::spawn_blocking(move || receiver.recv_timeout(PATIENCE));
    received.await.unwrap().expect("it is sent in time")
}

/// How long the next contender must go on waiting while a lost guard is in scope.
const IN_SCOPE: Duration = Duration::from_secs(1);

/// Lets the lease of `guard` lapse, and shows that `next` waits until it is dropped.
async fn kept_until_dropped<G: AsRef<Hold>, N: Send + 'static>(proxy: &Proxy, guard: G, next: JoinHandle<N>) -> N {
    delay_proofs(proxy);
    let reason = within(PATIENCE, "the holder is told", guard.as_ref().lost()).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    proxy.delay(Duration::ZERO);
    tokio::time::sleep(IN_SCOPE).await;
    assert!(
        !next.is_finished(),
        "the next is granted while the lost guard is in scope"
    );
    drop(guard);
    within(PATIENCE, "the next is granted", next).await.unwrap()
}

/// What dereferences to a hold.
struct Held<G>(G);

impl<G: std::ops::Deref<Target = Hold>> AsRef<Hold> for Held<G> {
    fn as_ref(&self) -> &Hold {
        &self.0
    }
}

/// A session behind a proxy, and one that waits behind it.
async fn pair(fixture: &Fixture) -> (Proxy, Coordinator, Coordinator) {
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, TIMEOUT).await, connect(fixture).await);
    (proxy, zk, other)
}

macro_rules! keeps_its_place {
    ($name:ident, $line:expr, $in_line:expr, |$zk:ident| $take:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let fixture = Fixture::new(stringify!($name)).await;
            let (proxy, zk, other) = pair(&fixture).await;
            let take = async |$zk: Coordinator| $take;
            let guard = within(PATIENCE, "it is taken", take(zk.clone())).await;
            let next = tokio::spawn(async move {
                let $zk = other;
                $take
            });
            fixture.until_children($line, $in_line).await;
            let next = kept_until_dropped(&proxy, Held(guard), next).await;
            drop(next);
            fixture.assert_no_nodes_left(&[$line]).await;
        }
    };
}

keeps_its_place!(a_lapsed_write_guard_keeps_its_place, "/rw", 2, |zk| {
    RwLock::new(&zk, "/rw").unwrap().write().await.unwrap()
});
keeps_its_place!(a_lapsed_multi_guard_keeps_its_places, "/multi", 2, |zk| {
    MultiLock::new(&zk, ["/multi", "/multi-too"])
        .unwrap()
        .acquire()
        .await
        .unwrap()
});
keeps_its_place!(a_lapsed_permit_keeps_its_lease, "/permits/locks", 1, |zk| {
    Semaphore::new(&zk, "/permits", 1).unwrap().acquire().await.unwrap()
});
keeps_its_place!(a_lapsed_leadership_keeps_its_place, "/leader", 2, |zk| {
    LeaderElection::new(&zk, "/leader").unwrap().campaign("").await.unwrap()
});

/// A claimed item goes to no other consumer before its delivery is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lapsed_delivery_keeps_its_item() {
    let fixture = Fixture::new("lapsed delivery").await;
    let (proxy, zk, other) = pair(&fixture).await;
    let queue = |zk: &Coordinator| WorkQueue::new(zk, "/queue").unwrap();
    queue(&other).push("item").await.unwrap();
    let delivery = within(PATIENCE, "the item", queue(&zk).pop()).await.unwrap();
    let consumer = queue(&other);
    let next = tokio::spawn(async move { consumer.pop().await.unwrap() });
    fixture.until_children("/queue/consumers", 1).await;
    let next = kept_until_dropped(&proxy, Held(delivery), next).await;
    assert_eq!(next.payload(), "item");
    next.ack().await.unwrap();
    fixture.assert_no_nodes_left(&[]).await;
}

/// The ensemble cannot be told anything here: what ends soon enough after the loss ends before the session expires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_black_hole_short_work_ends_first() {
    let fixture = Fixture::new("black hole").await;
    let (proxy, zk, other) = pair(&fixture).await;
    let guard = crate::support::acquire(&lock(&zk, "/lock")).await;
    let next = Acquiring::start_at(&fixture, &lock(&other, "/lock"), 1).await;
    let granted = tokio::spawn(async move { (next.granted().await, Instant::now()) });
    proxy.black_hole();
    loss(&guard).await;
    tokio::time::sleep(TIMEOUT / 5).await;
    let ended = Instant::now();
    let (next, granted) = granted.await.unwrap();
    assert!(ended < granted, "granted {:?} before the work ended", ended - granted);
    proxy.heal();
    drop(guard);
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/lock"]).await;
}
