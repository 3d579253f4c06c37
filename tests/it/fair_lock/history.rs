//! Exclusion, growing tokens and fair order under contention, cancellation and the loss of sessions, checked over the
//! recorded history of what every guard said.
//!
//! Two ways to lose a session are not alike. One that falls silent ends the beliefs of its holders before the ensemble
//! gives their places away, and the checker holds them to it. One that somebody closes by force (`Fixture::expire`)
//! ends without a warning, which no lease can foresee: there the history counts up to the blow.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zookeeper_recipes::{Coordinator, FairLock, FairLockGuard, Layout, SessionState};
use zookeeper_testkit::{Fixture, Grant, History, Mode, Proxy, ServerTruth, eventually, within};

use crate::support::sessions::expire;
use crate::support::{PATIENCE, acquire, connect, connect_to, lock, session_id, start};

const LOCK: &str = "/lock";
const CONTENDERS: usize = 8;
const GRANTS: usize = 25;
const FORCED_ENDS: usize = 6;
const SILENCES: usize = 2;
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_sessions_exclude_each_other_in_order() {
    contend("exclusion-sessions", CONTENDERS, |_| Layout::Curator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contenders_of_both_layouts_stand_in_one_line() {
    let layout = |contender: usize| [Layout::Curator, Layout::Kazoo][contender % 2];
    contend("exclusion-layouts", CONTENDERS, layout).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contenders_that_share_a_session_exclude_each_other() {
    contend("exclusion-shared", 1, |_| Layout::Curator).await;
}

#[tokio::test]
async fn curator_180_vanishing_directories_keep_tokens_growing() {
    let fixture = Fixture::new("exclusion-directory").await;
    let contended = lock(&connect(&fixture).await, "/deep/down/lock");
    let others = lock(&connect(&fixture).await, "/deep/down/lock");
    let vanishing = async {
        // Deleting fails while somebody stands in line, as the reaping of containers does.
        loop {
            for path in [contended.path(), "/deep/down", "/deep"] {
                let _ = fixture.raw().delete(path, None).await;
            }
        }
    };
    let acquiring = async {
        let mut tokens = Vec::new();
        for _ in 0..100 {
            for lock in [&contended, &others] {
                let guard = acquire(lock).await;
                tokens.push(guard.token());
                guard.release().await.unwrap();
            }
        }
        tokens
    };
    let tokens = tokio::select! {
        tokens = acquiring => tokens,
        () = vanishing => unreachable!("it goes on for ever"),
    };
    assert!(tokens.is_sorted_by(|one, next| one < next));
    fixture.assert_no_nodes_left(&["/deep/down/lock"]).await;
}

#[test]
fn curator_347_another_thread_may_release() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let (fixture, zk, guard) = first.block_on(async {
        let (fixture, zk) = start("exclusion-thread").await;
        let guard = acquire(&lock(&zk, LOCK)).await;
        (fixture, zk, guard)
    });
    let released = std::thread::spawn(move || runtime().block_on(guard.release()));
    assert_eq!(released.join().unwrap(), Ok(()));
    first.block_on(async {
        acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
        fixture.assert_no_nodes_left(&[LOCK]).await;
    });
}

/// [`CONTENDERS`] contenders in `sessions` sessions get [`GRANTS`] grants each, with random holds, cancelled acquires
/// and ends of sessions in between.
async fn contend(name: &str, sessions: usize, layout: impl Fn(usize) -> Layout) {
    let seed = seed();
    println!("{name}: again with ZK_TEST_SEED={seed}");
    let fixture = Arc::new(Fixture::new(name).await);
    let history = History::new();
    // The directory stays, so that its removals can be watched from the beginning.
    let keeper = acquire(&lock(&connect(&fixture).await, LOCK)).await;
    let _truth = ServerTruth::record(fixture.raw(), LOCK, &history).await;

    let mut victims = Vec::new();
    for _ in 0..sessions {
        victims.push(Arc::new(Victim::open(&fixture).await));
    }
    let contenders: Vec<_> = (0..CONTENDERS)
        .map(|index| {
            let victim = Arc::clone(&victims[index % sessions]);
            let contender = Contender {
                name: format!("contender {index}"),
                lock: FairLock::builder(&victim.zk, LOCK)
                    .layout(layout(index))
                    .build()
                    .unwrap(),
                victim,
                history: history.clone(),
                random: Random::new(seed, index),
            };
            tokio::spawn(contender.run())
        })
        .collect();
    fixture.until_children(LOCK, 1 + CONTENDERS).await;
    keeper.release().await.expect("nobody disturbs the keeper");

    let ending = tokio::spawn(end_sessions(
        Arc::clone(&fixture),
        victims,
        Random::new(seed, CONTENDERS),
    ));
    let bound = Duration::from_secs(180);
    let mut believed = 0;
    for contender in contenders {
        believed += within(bound, "everybody is granted", contender)
            .await
            .expect("no contender panics");
    }
    within(bound, "the sessions are ended", ending)
        .await
        .expect("sessions can be ended");
    fixture.assert_no_nodes_left(&[LOCK]).await;
    let summary = history.assert_sound();
    println!("{summary}");
    assert_eq!(summary.grants, believed);
    assert!(
        believed > CONTENDERS * GRANTS / 2,
        "most grants are on record: {summary}"
    );
}

/// A session that will be lost.
struct Victim {
    zk: Coordinator,
    proxy: Proxy,
    blows: Mutex<Vec<Blow>>,
    is_silent: AtomicBool,
}

/// The session is being taken away by force.
struct Blow {
    from: Instant,
    until: Option<Instant>,
}

impl Victim {
    async fn open(fixture: &Fixture) -> Self {
        let (proxy, cluster) = fixture.proxied().await;
        Self {
            zk: connect_to(&cluster, SESSION_TIMEOUT).await,
            proxy,
            blows: Mutex::default(),
            is_silent: AtomicBool::new(false),
        }
    }

    async fn end_by_force(&self, fixture: &Fixture) {
        let from = Instant::now();
        self.blows().push(Blow { from, until: None });
        let old = expire(fixture, &self.zk).await;
        self.until_replaced(old).await;
        if let Some(blow) = self.blows().last_mut() {
            blow.until = Some(Instant::now());
        }
    }

    async fn end_by_silence(&self) {
        let old = session_id(&self.zk).await;
        let mut states = self.zk.states();
        self.is_silent.store(true, Ordering::Release);
        self.proxy.black_hole();
        let lost = states.wait_for(|state| *state == SessionState::Lost);
        within(PATIENCE, "the session is given up", lost).await;
        self.is_silent.store(false, Ordering::Release);
        self.proxy.heal();
        self.until_replaced(old).await;
    }

    async fn until_replaced(&self, old: i64) {
        eventually(PATIENCE, "the next session", || async {
            session_id(&self.zk).await != old
        })
        .await;
    }

    /// The end of what counts of a belief; `None` if it began under a blow.
    fn credible_end(&self, from: Instant, until: Instant) -> Option<Instant> {
        let blows = self.blows();
        let began_under = |blow: &Blow| blow.from <= from && blow.until.is_none_or(|until| from <= until);
        if blows.iter().any(began_under) {
            return None;
        }
        let ends = blows.iter().map(|blow| blow.from).filter(|end| *end >= from);
        Some(ends.fold(until, Instant::min))
    }

    fn blows(&self) -> MutexGuard<'_, Vec<Blow>> {
        self.blows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end_sessions(fixture: Arc<Fixture>, victims: Vec<Arc<Victim>>, mut random: Random) {
    let mut ends = [vec![false; FORCED_ENDS], vec![true; SILENCES]].concat();
    while !ends.is_empty() {
        tokio::time::sleep(random.millis(300)).await;
        let silently = ends.swap_remove(random.below(ends.len()));
        let victim = &victims[random.below(victims.len())];
        if silently {
            victim.end_by_silence().await;
        } else {
            victim.end_by_force(&fixture).await;
        }
    }
}

struct Contender {
    name: String,
    lock: FairLock,
    victim: Arc<Victim>,
    history: History,
    random: Random,
}

impl Contender {
    /// Returns how many grants are on record.
    async fn run(mut self) -> usize {
        let mut believed = 0;
        for _ in 0..GRANTS {
            if self.random.below(3) == 0 {
                believed += self.cancel().await;
            }
            let guard = self.lock.acquire().await.expect("trouble is waited out");
            believed += self.hold(guard).await;
        }
        believed
    }

    /// Gives up after a short time, in one of three ways; unless it is granted before.
    async fn cancel(&mut self) -> usize {
        let limit = self.random.millis(12);
        let granted = match self.random.below(3) {
            0 => tokio::time::timeout(limit, self.lock.acquire())
                .await
                .ok()
                .map(Result::unwrap),
            1 => self.lock.acquire_timeout(limit).await.ok(),
            _ => self.lock.try_acquire().await.ok(),
        };
        match granted {
            Some(guard) => self.hold(guard).await,
            None => 0,
        }
    }

    /// Holds for a random time, or, on a silent link, for as long as the guard says so. Puts on record from when to
    /// when the guard said that it held; returns how many such records there are.
    async fn hold(&mut self, guard: FairLockGuard) -> usize {
        let granted = Instant::now();
        let until = granted + self.random.millis(20);
        let mut last_held = None;
        loop {
            let now = Instant::now();
            if !guard.is_held() {
                break;
            }
            last_held = Some(now);
            if now >= until && !self.victim.is_silent.load(Ordering::Acquire) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let credible_end = last_held.and_then(|last_held| self.victim.credible_end(granted, last_held));
        if let Some(end) = credible_end {
            self.history.record(Grant {
                path: LOCK.to_owned(),
                who: self.name.clone(),
                mode: Mode::Exclusive,
                token: guard.token().as_i64(),
                granted_at: granted - self.history.started(),
                ended_at: Some(end - self.history.started()),
            });
        }
        if self.random.below(4) == 0 {
            drop(guard);
        } else {
            // An error is a loss, which is what these tests are about.
            let _ = guard.release().await;
        }
        usize::from(credible_end.is_some())
    }
}

/// A small generator of numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: usize) -> Self {
        Self(seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(stream as u64 + 1)))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_micros(self.next() % (bound * 1_000))
    }
}

fn seed() -> u64 {
    match std::env::var("ZK_TEST_SEED") {
        Ok(seed) => seed
            .parse()
            .unwrap_or_else(|_| panic!("ZK_TEST_SEED={seed} is no number")),
        Err(_) => RandomState::new().hash_one("seed"),
    }
}
