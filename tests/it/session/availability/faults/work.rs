//! What the recipes do: each waits without a limit, is granted, and begins again until the play is over.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{
    Barrier, Coordinator, CountDownLatch, DoubleBarrier, FairLock, Group, LeaderElection, MultiLock, Relay, RwLock,
    Semaphore, SharedCounter, SharedValue,
};

use super::{Play, Victim};

const WORK: Duration = Duration::from_millis(3);
const LATCHES: usize = 8;

type Worker = (&'static str, JoinHandle<()>);

/// Two workers a recipe, each in a session of its own, so that one waits for the other.
pub(super) fn begin(victims: &[Victim], play: &Play) -> Vec<Worker> {
    let mut sessions = victims.iter().map(|victim| victim.zk.clone());
    let mut zk = || sessions.next().expect("there is a session for each worker");
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.extend(lines(&mut zk, play));
        workers.extend(others(&mut zk, play));
        workers.extend(queues(&mut zk, play));
    }
    let pair = [zk(), zk()].map(|zk| DoubleBarrier::new(&zk, "/double", 2).unwrap());
    workers.push(("DoubleBarrier", tokio::spawn(pass_in_pairs(pair, play.clone()))));
    workers
}

/// Both go through the barrier again and again, until each has passed it after the end of the play: one that has lost
/// its place comes back, so that the other never waits for good.
async fn pass_in_pairs(pair: [DoubleBarrier; 2], play: Play) {
    let passed = [AtomicBool::new(false), AtomicBool::new(false)];
    let pass = async |barrier: &DoubleBarrier, passed: &AtomicBool| loop {
        let entered = barrier.enter().await.unwrap();
        // An operator may have deleted its node: that is a loss, and no wait.
        let _ = entered.leave().await;
        play.granted();
        passed.fetch_or(play.is_over(), Ordering::Relaxed);
    };
    let both = async {
        while !passed.iter().all(|passed| passed.load(Ordering::Relaxed)) {
            tokio::time::sleep(WORK).await;
        }
    };
    tokio::select! {
        () = pass(&pair[0], &passed[0]) => {}
        () = pass(&pair[1], &passed[1]) => {}
        () = both => {}
    }
}

fn repeat<F: Future<Output = ()> + Send>(
    what: &'static str,
    play: &Play,
    mut round: impl FnMut() -> F + Send + 'static,
) -> Worker {
    let play = play.clone();
    let worker = tokio::spawn(async move {
        while !play.is_over() {
            round().await;
            play.granted();
        }
    });
    (what, worker)
}

/// A release may come too late, and a hold be lost under work: only the wait counts.
macro_rules! held {
    ($what:literal, $play:expr, $recipe:expr, $acquire:ident ( $($argument:expr)? ), $release:ident) => {{
        let recipe = $recipe.unwrap();
        repeat($what, $play, move || {
            let recipe = recipe.clone();
            async move {
                let guard = recipe.$acquire($($argument)?).await.unwrap();
                let _ = guard.run_until_lost(tokio::time::sleep(WORK)).await;
                let _ = guard.$release().await;
            }
        })
    }};
}

fn lines(zk: &mut impl FnMut() -> Coordinator, play: &Play) -> Vec<Worker> {
    vec![
        held!("FairLock", play, FairLock::new(&zk(), "/lock"), acquire(), release),
        held!("FairLock", play, FairLock::new(&zk(), "/lock"), acquire(), release),
        held!("RwLock, writer", play, RwLock::new(&zk(), "/rw"), write(), release),
        held!("RwLock, reader", play, RwLock::new(&zk(), "/rw"), read(), release),
        held!(
            "MultiLock",
            play,
            MultiLock::new(&zk(), ["/m1", "/m2"]),
            acquire(),
            release
        ),
        held!(
            "MultiLock",
            play,
            MultiLock::new(&zk(), ["/m2", "/m3"]),
            acquire(),
            release
        ),
        held!(
            "Semaphore",
            play,
            Semaphore::new(&zk(), "/permits", 2),
            acquire(),
            release
        ),
        held!(
            "Semaphore",
            play,
            Semaphore::new(&zk(), "/permits", 2),
            acquire_many(2),
            release
        ),
        held!(
            "LeaderElection",
            play,
            LeaderElection::new(&zk(), "/leader"),
            campaign(""),
            resign
        ),
        held!("Relay", play, Relay::new(&zk(), "/relay"), join(), release),
    ]
}

fn others(zk: &mut impl FnMut() -> Coordinator, play: &Play) -> Vec<Worker> {
    let barrier = Barrier::new(&zk(), "/barrier").unwrap();
    let value = SharedValue::new(&zk(), "/value").unwrap();
    let counter = SharedCounter::new(&zk(), "/counter").unwrap();
    let latches = latches(&zk());
    let group = Group::new(&zk(), "/group").unwrap();
    let mut rounds = 0;
    vec![
        repeat("Barrier", play, move || {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await.unwrap();
                tokio::time::sleep(WORK).await;
            }
        }),
        repeat("CountDownLatch", play, move || {
            rounds += 1;
            let latch = latches[rounds % LATCHES].clone();
            async move {
                latch.wait().await.unwrap();
                tokio::time::sleep(WORK).await;
            }
        }),
        repeat("Group", play, move || {
            let group = group.clone();
            async move {
                let id = format!("member-{}", fastrand::u64(..));
                let member = group.join(&id, "").await.unwrap();
                tokio::time::sleep(WORK).await;
                member.leave().await;
            }
        }),
        // A write whose fate is open is an answer as well.
        repeat("SharedValue", play, move || {
            let value = value.clone();
            async move {
                let _ = value.set("one").await;
                tokio::time::sleep(WORK).await;
            }
        }),
        repeat("SharedCounter", play, move || {
            let counter = counter.clone();
            async move {
                let _ = counter.fetch_add(1).await;
                tokio::time::sleep(WORK).await;
            }
        }),
    ]
}

fn latches(zk: &Coordinator) -> Vec<CountDownLatch> {
    let latch = |number| CountDownLatch::new(zk, &format!("/latches/{number}"), 1).unwrap();
    (0..LATCHES).map(latch).collect()
}

fn queues(zk: &mut impl FnMut() -> Coordinator, play: &Play) -> Vec<Worker> {
    let fifo = FifoQueue::new(&zk(), "/fifo").unwrap();
    let work = WorkQueue::builder(&zk(), "/work")
        .max_attempts(u32::MAX)
        .build()
        .unwrap();
    vec![
        repeat("FifoQueue", play, move || {
            let fifo = fifo.clone();
            async move {
                // An item whose fate is open is an answer as well.
                let _ = fifo.pop().await;
            }
        }),
        repeat("WorkQueue", play, move || {
            let work = work.clone();
            async move {
                let delivery = work.pop().await.unwrap();
                let _ = delivery.ack().await;
            }
        }),
    ]
}

/// Gives the workers what they wait for, from a session that no fault strikes, until it is aborted.
pub(super) fn help(calm: &Coordinator) -> Vec<JoinHandle<()>> {
    let barrier = Barrier::new(calm, "/barrier").unwrap();
    let latches = latches(calm);
    let fifo = FifoQueue::new(calm, "/fifo").unwrap();
    let work = WorkQueue::builder(calm, "/work")
        .max_attempts(u32::MAX)
        .build()
        .unwrap();
    vec![
        tokio::spawn(async move {
            loop {
                barrier.set().await.unwrap();
                tokio::time::sleep(10 * WORK).await;
                barrier.lift().await.unwrap();
                tokio::time::sleep(WORK).await;
            }
        }),
        tokio::spawn(async move {
            for latch in latches.iter().cycle() {
                // Counted down already in an earlier round.
                let _ = latch.count_down_as("calm").await;
                tokio::time::sleep(10 * WORK).await;
            }
        }),
        tokio::spawn(async move {
            loop {
                if fifo.len().await.unwrap() < 8 {
                    let _ = fifo.push("item").await;
                }
                if work.len().await.unwrap() < 8 {
                    let _ = work.push("item").await;
                }
                tokio::time::sleep(2 * WORK).await;
            }
        }),
    ]
}
