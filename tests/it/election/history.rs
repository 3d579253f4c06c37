//! Ten candidates and random kills: links that go silent until the session expires, candidates that stop running (as
//! under SIGSTOP), a server that is restarted, and leaders who resign.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time;
use zookeeper_recipes::{ElectionLayout, LeaderElection, Leadership};
use zookeeper_testkit::{Fixture, Held, History, Mode, Proxy, ServerTruth, within};

use crate::support::{PATIENCE, connect, connect_here};

const LEADER: &str = "/leader";
const CANDIDATES: usize = 10;
const KILLS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(4);

/// Longer than a session lasts.
const OUTAGE: Duration = Duration::from_secs(6);

/// What a leader is told by the test.
#[derive(Debug)]
enum Order {
    /// Not to run for so long: neither its work nor its session is served.
    Stop(Duration),
    Resign,
}

/// Who leads, by its own belief.
#[derive(Clone, Debug)]
struct Leader {
    who: usize,
    term: i64,
    since: Instant,
}

struct Stage {
    layout: ElectionLayout,
    history: History,
    leader: watch::Sender<Option<Leader>>,
    over: watch::Sender<bool>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_candidates_survive_random_kills_as_leader_latch() {
    survive(ElectionLayout::LeaderLatch, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_candidates_survive_random_kills_as_leader_selector() {
    survive(ElectionLayout::LeaderSelector, 2).await;
}

async fn survive(layout: ElectionLayout, seed: u64) {
    let fixture = Fixture::with_own_server("random kills").await;
    let stage = Arc::new(Stage {
        layout,
        history: History::new(),
        leader: watch::Sender::new(None),
        over: watch::Sender::new(false),
    });
    let _truth = ServerTruth::record(fixture.raw(), LEADER, &stage.history).await;
    let (mut proxies, mut orders, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for who in 0..CANDIDATES {
        let (proxy, servers) = fixture.proxied().await;
        let (order, candidate) = candidate(who, servers, Arc::clone(&stage));
        proxies.push(proxy);
        orders.push(order);
        candidates.push(candidate);
    }
    let bystander = connect(&fixture).await;
    let election = LeaderElection::builder(&bystander, LEADER)
        .layout(layout)
        .build()
        .unwrap();
    let mut observer = election.observe().await.unwrap();
    let mut leaders = stage.leader.subscribe();
    let mut random = Random(seed);
    let mut kinds = [0, 1, 2, 3];
    let mut silent: Vec<(Instant, usize)> = Vec::new();
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS {
        if kill % 4 == 0 {
            (0..3).for_each(|index| kinds.swap(index, random.within(index as u64..4) as usize));
        }
        silent.retain(|(until, who)| {
            let over = *until <= Instant::now();
            if over {
                proxies[*who].heal();
            }
            !over
        });
        let leader = within(PATIENCE, "somebody leads", leaders.wait_for(Option::is_some)).await;
        let leader = leader.unwrap().clone().unwrap();
        // A bystander knows it as well.
        let known = observer.wait_for(|seen| seen.as_ref().is_some_and(|seen| seen.term.as_i64() == leader.term));
        within(PATIENCE, "the bystander sees the leader", known).await.unwrap();
        time::sleep(Duration::from_millis(random.within(0..300))).await;
        let mut killed = Instant::now();
        match kinds[kill % 4] {
            0 => {
                proxies[leader.who].black_hole();
                silent.push((Instant::now() + OUTAGE, leader.who));
            }
            1 => orders[leader.who].send(Order::Stop(OUTAGE)).unwrap(),
            2 => orders[leader.who].send(Order::Resign).unwrap(),
            _ => {
                fixture.server().restart().await;
                killed = Instant::now();
                let again = leaders.wait_for(Option::is_some);
                within(TIMEOUT + Duration::from_secs(1), "led after a restart", again)
                    .await
                    .unwrap();
                continue;
            }
        }
        let next = leaders.wait_for(|now| now.as_ref().is_some_and(|now| now.term > leader.term));
        let bound = TIMEOUT + Duration::from_secs(1);
        let next = within(bound, format!("a leader after kill {kill} of {leader:?}"), next)
            .await
            .unwrap()
            .clone()
            .unwrap();
        slowest = slowest.max(next.since.saturating_duration_since(killed));
    }
    proxies.iter().for_each(Proxy::heal);
    // The end: the bystander is at the truth.
    let truth = within(PATIENCE, "asked", election.leader()).await.unwrap();
    let truth_seen = observer.wait_for(|seen| *seen == truth);
    within(PATIENCE, "the bystander ends at the truth", truth_seen)
        .await
        .unwrap();
    stage.over.send_replace(true);
    for candidate in candidates {
        within(
            PATIENCE,
            "the candidate ends",
            tokio::task::spawn_blocking(move || candidate.join().unwrap()),
        )
        .await
        .unwrap();
    }
    within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
        .await
        .unwrap();
    let summary = stage.history.assert_sound();
    println!("{layout:?}: {summary}; slowest take-over {slowest:?}");
    assert!(summary.grants > KILLS / 2);
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

/// A candidate in a thread of its own, on a runtime of its own: when the thread stops, so does its session's client.
fn candidate(who: usize, servers: String, stage: Arc<Stage>) -> (mpsc::UnboundedSender<Order>, thread::JoinHandle<()>) {
    let (orders, receiver) = mpsc::unbounded_channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(stand(who, &servers, &stage, receiver));
    });
    (orders, thread)
}

async fn stand(who: usize, servers: &str, stage: &Stage, mut orders: mpsc::UnboundedReceiver<Order>) {
    let zk = connect_here(servers, TIMEOUT).await;
    let election = LeaderElection::builder(&zk, LEADER)
        .layout(stage.layout)
        .build()
        .unwrap();
    let mut over = stage.over.subscribe();
    loop {
        let leadership = tokio::select! {
            leadership = election.campaign(who.to_string()) => leadership.unwrap(),
            _ = over.wait_for(|over| *over) => break,
        };
        let held = stage
            .history
            .record_grant(LEADER, who, Mode::Exclusive, leadership.token().as_i64());
        while orders.try_recv().is_ok() {}
        let leader = Leader {
            who,
            term: leadership.token().as_i64(),
            since: Instant::now(),
        };
        stage.leader.send_if_modified(|now| {
            let newer = now.as_ref().is_none_or(|now| now.term < leader.term);
            newer.then(|| *now = Some(leader));
            newer
        });
        let term = leadership.token().as_i64();
        tokio::select! {
            biased;
            () = lead(leadership, held, &mut orders) => {}
            _ = over.wait_for(|over| *over) => break,
        }
        stage.leader.send_if_modified(|now| {
            let mine = now.as_ref().is_some_and(|now| now.term == term);
            mine.then(|| *now = None);
            mine
        });
    }
    zk.close().await;
}

/// Leads until it is lost or told to end. The belief recorded is the guard's own: what it said when it was looked at, and
/// for how long it said it would last.
async fn lead(leadership: Leadership, held: Held, orders: &mut mpsc::UnboundedReceiver<Order>) {
    let mut until = Instant::now() + leadership.remaining();
    let mut look = time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            biased;
            _ = leadership.lost() => return held.end_at(until.min(Instant::now())),
            order = orders.recv() => match order {
                Some(Order::Stop(duration)) => {
                    thread::sleep(duration);
                    if !leadership.is_held() {
                        return held.end_at(until.min(Instant::now()));
                    }
                }
                Some(Order::Resign) => {
                    held.end();
                    let _ = leadership.resign().await;
                    return;
                }
                None => return,
            },
            _ = look.tick() => {
                if leadership.is_held() {
                    until = Instant::now() + leadership.remaining();
                }
            }
        }
    }
}

/// The same kills for the same seed.
struct Random(u64);

impl Random {
    fn within(&mut self, range: Range<u64>) -> u64 {
        self.0 = self
            .0
            .wrapping_add(0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.0 ^= self.0 >> 29;
        range.start + self.0 % (range.end - range.start)
    }
}
