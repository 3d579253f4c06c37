//! Two Curator processes, one of kazoo and two sessions of ours on one lock, with kills of sessions at random.
//!
//! Every hold is recorded as its holder believed in it, on the clock that all processes share. Ours is believed in until
//! the guard says lost or is released, with one exception: a session that is *ended by hand* behind our back gives the
//! lock away before any lease could know. Theirs say nothing of a loss; they are believed in until their connection was
//! disturbed (their manuals tell to look at that), or their session was ended or their process killed by us.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock};
use zookeeper_testkit::{Fixture, Mode, Proxy, within};

use crate::peer::{Actor, Peer};
use crate::support::{Intervals, Nanos, PATIENCE, expire};

const PATH: &str = "/lock";

/// Of all sessions. A killed process stops the line for so long.
const SESSION: Duration = Duration::from_secs(3);

/// The longest that anybody may wait, with a few dead holders in front of it.
const STARVED: Duration = Duration::from_secs(25);

/// What each must get at least, in a run of half a minute.
const FEW: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curator_kazoo_and_we_share_a_lock_while_sessions_end_at_random() {
    let fixture = Fixture::new("soak").await;
    let seconds = std::env::var("INTEROP_SOAK_SECONDS").map_or(30, |text| text.parse().expect("seconds"));
    let soak = Arc::new(Soak {
        fixture,
        intervals: Intervals::new(),
        until: Instant::now() + Duration::from_secs(seconds),
        kills: AtomicU32::new(0),
    });
    let mut contenders = Vec::new();
    for (who, peer) in [
        ("curator 1", Peer::curator as fn() -> Peer),
        ("curator 2", Peer::curator),
        ("kazoo", Peer::kazoo),
    ] {
        contenders.push(tokio::spawn(
            Theirs::start(who, peer, Arc::clone(&soak)).await.contend(),
        ));
    }
    for who in ["ours 1", "ours 2"] {
        contenders.push(tokio::spawn(Ours::start(who, Arc::clone(&soak)).await.contend()));
    }
    let mut longest = Duration::ZERO;
    for contender in contenders {
        longest = longest.max(contender.await.expect("a contender ends well"));
    }

    let summary = soak.intervals.history().assert_sound();
    println!(
        "soak: {seconds} s, {} kills, {} holds, longest wait {longest:?}, by holder {:?}",
        soak.kills.load(Ordering::Relaxed),
        summary.grants,
        summary.grants_by_who
    );
    assert!(longest < STARVED, "somebody waited for {longest:?}");
    assert_eq!(summary.grants_by_who.len(), 5);
    assert!(
        summary.grants_by_who.values().all(|grants| *grants >= FEW),
        "{summary:?}"
    );
    soak.fixture.assert_no_nodes_left_within(PATIENCE, &[PATH]).await;
}

struct Soak {
    fixture: Fixture,
    intervals: Intervals,
    until: Instant,
    kills: AtomicU32,
}

impl Soak {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// A while before the next kill of one contender.
    async fn calm(&self) {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(3000..12_000))).await;
        self.kills.fetch_add(1, Ordering::Relaxed);
    }

    /// The token of the node of that name, unless it is gone.
    async fn token(&self, node: &str) -> Option<i64> {
        let stat = self.fixture.raw().check_stat(&format!("{PATH}/{node}")).await;
        stat.expect("the server answers").map(|stat| stat.czxid)
    }
}

/// How long the lock is held.
async fn work() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
}

/// One of ours, behind a link that can fall silent.
struct Ours {
    who: &'static str,
    soak: Arc<Soak>,
    zk: Coordinator,
    proxy: Proxy,
    ends: Ends,
}

impl Ours {
    async fn start(who: &'static str, soak: Arc<Soak>) -> Self {
        let (proxy, servers) = soak.fixture.proxied().await;
        let connecting = ConnectOptions::new().session_timeout(SESSION).connect(&servers);
        let zk = within(PATIENCE, "a session", connecting).await.expect("a session");
        Self {
            who,
            soak,
            zk,
            proxy,
            ends: Ends::default(),
        }
    }

    /// Takes the lock again and again. The longest wait.
    async fn contend(self) -> Duration {
        let mut longest = Duration::ZERO;
        let killer = async {
            loop {
                self.soak.calm().await;
                if fastrand::bool() {
                    self.ends.begin();
                    expire(&self.soak.fixture, &self.zk).await;
                    self.ends.done();
                } else {
                    self.proxy.black_hole();
                    tokio::time::sleep(SESSION * 3 / 2).await;
                    self.proxy.heal();
                }
            }
        };
        let contender = async {
            while !self.soak.is_over() {
                longest = longest.max(self.hold_once().await);
            }
        };
        tokio::select! {
            () = contender => {}
            () = killer => {}
        }
        self.proxy.heal();
        within(PATIENCE, "the session is closed", self.zk.close()).await;
        longest
    }

    async fn hold_once(&self) -> Duration {
        let lock = FairLock::new(&self.zk, PATH).expect("a path");
        let waited = Instant::now();
        let guard = within(PATIENCE, format!("{} acquires", self.who), lock.acquire())
            .await
            .expect("granted");
        let (waited, since) = (waited.elapsed(), Nanos::now());
        let _lost = guard.run_until_lost(work()).await;
        let until = Nanos::now();
        if let Some(until) = self.ends.believed_until(since, until) {
            let token = guard.token().as_i64();
            self.soak
                .intervals
                .record(PATH, self.who, Mode::Exclusive, token, since, until);
        }
        // That it is lost is no fault here.
        let _ = guard.release().await;
        waited
    }
}

/// One of theirs, in a process of its own.
struct Theirs {
    who: &'static str,
    soak: Arc<Soak>,
    start: fn() -> Peer,
    process: Mutex<(Peer, Actor)>,
    ends: Ends,
}

impl Theirs {
    async fn start(who: &'static str, start: fn() -> Peer, soak: Arc<Soak>) -> Self {
        let process = Self::process(who, start, &soak).await;
        Self {
            who,
            soak,
            start,
            process: Mutex::new(process),
            ends: Ends::default(),
        }
    }

    async fn process(who: &str, start: fn() -> Peer, soak: &Soak) -> (Peer, Actor) {
        let peer = start();
        let recipe = if who == "kazoo" { "curator-named-lock" } else { "mutex" };
        let servers = soak.fixture.connect_string();
        let actor = peer.actor_with(&servers, SESSION, recipe, PATH, &[]).await;
        (peer, actor)
    }

    /// As [`Ours::contend`].
    async fn contend(self) -> Duration {
        let mut longest = Duration::ZERO;
        let killer = async {
            loop {
                self.soak.calm().await;
                let (peer, actor) = self.process.lock().expect("no panic").clone();
                self.ends.begin();
                if fastrand::u8(..3) == 0 {
                    peer.kill();
                } else {
                    // No answer if the process is killed.
                    let _ = actor.tell("expire").answer().await;
                }
                self.ends.done();
            }
        };
        let contender = async {
            while !self.soak.is_over() {
                match self.hold_once().await {
                    Some(waited) => longest = longest.max(waited),
                    None => {
                        let another = Self::process(self.who, self.start, &self.soak).await;
                        *self.process.lock().expect("no panic") = another;
                    }
                }
            }
        };
        tokio::select! {
            () = contender => {}
            () = killer => {}
        }
        longest
    }

    /// Nothing if the process ended.
    async fn hold_once(&self) -> Option<Duration> {
        let actor = self.process.lock().expect("no panic").1.clone();
        let waited = Instant::now();
        let answer = actor.tell("acquire").answer().await?;
        let waited = waited.elapsed();
        let node = answer
            .outcome
            .unwrap_or_else(|failure| panic!("{} does not acquire: {failure}", self.who));
        let since = answer.at;
        let token = self.soak.token(&node).await;
        work().await;
        let mut until = Nanos::now();
        let released = actor.tell("release").answer().await;
        if let Some(released) = &released {
            let disturbed = released.outcome.as_deref().unwrap_or_default();
            until = until.min(disturbed.parse().map_or(until, Nanos)).max(since);
        }
        if let Some(until) = self.ends.believed_until(since, until) {
            let token = token.unwrap_or_else(|| panic!("{}: its node is gone for no reason: {node}", self.who));
            self.soak
                .intervals
                .record(PATH, self.who, Mode::Exclusive, token, since, until);
        }
        released.is_some().then_some(waited)
    }
}

/// When we have ended the sessions of a contender: from when until when.
#[derive(Default)]
struct Ends(Mutex<Vec<(Nanos, Nanos)>>);

impl Ends {
    /// How long it takes a client, at most, to say that it was granted what was granted to it.
    const GRANT_UNDER_WAY: Nanos = Nanos(500_000_000);

    fn begin(&self) {
        self.0.lock().expect("no panic").push((Nanos::now(), Nanos(i64::MAX)));
    }

    fn done(&self) {
        let done = Nanos(Nanos::now().0 + Self::GRANT_UNDER_WAY.0);
        self.0.lock().expect("no panic").last_mut().expect("begun").1 = done;
    }

    /// Until when a hold is to be believed in, or nothing if its session was being ended when it was granted.
    fn believed_until(&self, since: Nanos, until: Nanos) -> Option<Nanos> {
        let ends = self.0.lock().expect("no panic");
        let granted_too_late = ends.iter().any(|(begin, done)| (begin..=done).contains(&&since));
        let ended = ends
            .iter()
            .map(|(begin, _)| *begin)
            .find(|begin| (since..=until).contains(begin));
        (!granted_too_late).then_some(ended.unwrap_or(until))
    }
}
