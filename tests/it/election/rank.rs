//! Candidates of higher rank lead, and the order of the line stays.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zookeeper_recipes::{Coordinator, Error, FencingToken, LeaderElection, Leadership};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{LEADER, MARKS, lead};
use crate::support::sessions::session_of;
use crate::support::{PATIENCE, connect};

const GRACE: Duration = Duration::from_secs(1);

/// Who led, from when to when, and with which token.
#[derive(Clone, Default)]
struct Terms(Arc<Mutex<Vec<Term>>>);

#[derive(Clone, Debug)]
struct Term {
    who: String,
    began: Instant,
    ended: Option<Instant>,
    token: FencingToken,
}

struct Ends(Terms, FencingToken);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut terms = self.0.0.lock().unwrap();
        let term = terms.iter_mut().find(|term| term.token == self.1);
        term.unwrap().ended = Some(Instant::now());
    }
}

impl Terms {
    fn run(&self, election: LeaderElection, who: &str) -> JoinHandle<Result<(), Error>> {
        let (terms, who) = (self.clone(), who.to_owned());
        tokio::spawn(async move {
            let work = |leadership: Arc<Leadership>| {
                let token = leadership.token();
                let (who, began, ended) = (who.clone(), Instant::now(), None);
                let term = Term {
                    who,
                    began,
                    ended,
                    token,
                };
                terms.0.lock().unwrap().push(term);
                let ends = Ends(terms.clone(), token);
                async move {
                    let _ends = ends;
                    pending::<ControlFlow<()>>().await
                }
            };
            election.run(who.clone(), work).await
        })
    }

    fn all(&self) -> Vec<Term> {
        self.0.lock().unwrap().clone()
    }

    async fn leads(&self, who: &str) {
        let leads = || async {
            self.all()
                .last()
                .is_some_and(|term| term.who == who && term.ended.is_none())
        };
        eventually(PATIENCE, format!("{who} leads"), leads).await;
    }

    /// Tokens grow. Returns the changes of leader.
    fn check(&self) -> usize {
        let terms = self.all();
        assert!(terms.is_sorted_by(|one, next| one.token < next.token), "{terms:#?}");
        terms.len() - 1
    }

    /// No two lead at a time.
    fn check_hand_overs(&self) {
        for pair in self.all().windows(2) {
            assert!(pair[0].ended.is_some_and(|ended| ended <= pair[1].began), "{pair:#?}");
        }
        self.check();
    }
}

fn ranked(zk: &Coordinator, rank: u32, hold_down: Duration) -> LeaderElection {
    let builder = LeaderElection::builder(zk, LEADER)
        .rank(rank)
        .hold_down(hold_down)
        .rank_grace(GRACE);
    builder.build().unwrap()
}

#[tokio::test]
async fn the_preferred_candidate_leads_soon_after_its_start() {
    let fixture = Fixture::new("preferred").await;
    let (terms, minute) = (Terms::default(), Duration::from_secs(60));
    let mut running = Vec::new();
    // Two of lower rank stand in front of it.
    for (index, who) in ["low", "middle"].into_iter().enumerate() {
        running.push(terms.run(ranked(&connect(&fixture).await, 1, minute), who));
        fixture.until_children(LEADER, index + 1).await;
        terms.leads("low").await;
    }
    let zk = connect(&fixture).await;
    let began = Instant::now();
    running.push(terms.run(ranked(&zk, 2, minute), "preferred"));
    terms.leads("preferred").await;
    let all = terms.all();
    let took = all.last().unwrap().began - began;
    let gap = all.last().unwrap().began - all[0].ended.unwrap();
    println!(
        "the preferred candidate leads {took:?} after its start, with a grace of {GRACE:?}; nobody led for {gap:?}"
    );
    assert_eq!(all.len(), 2, "one hand-over, straight to it: {all:#?}");
    assert!(took < GRACE + Duration::from_secs(1), "{took:?}");
    terms.check_hand_overs();
    running.iter().for_each(JoinHandle::abort);
    fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
}

#[tokio::test]
async fn equal_and_lower_ranks_ask_nobody() {
    let fixture = Fixture::new("equal ranks").await;
    let first = lead(&ranked(&connect(&fixture).await, 3, GRACE), "first").await;
    let terms = Terms::default();
    let equal = terms.run(ranked(&connect(&fixture).await, 3, GRACE), "equal");
    let lower = terms.run(ranked(&connect(&fixture).await, 0, GRACE), "lower");
    fixture.until_children(LEADER, 3).await;
    let asked = tokio::time::timeout(Duration::from_millis(500), first.outranked()).await;
    assert!(asked.is_err(), "{asked:?}");
    // A campaign by hand is told, and decides itself.
    let higher = terms.run(ranked(&connect(&fixture).await, 4, GRACE), "higher");
    within(PATIENCE, "asked", first.outranked()).await.unwrap();
    tokio::time::sleep(2 * GRACE).await;
    assert!(first.is_held());
    first.resign().await.unwrap();
    terms.leads("higher").await;
    terms.check_hand_overs();
    [equal, lower, higher].iter().for_each(JoinHandle::abort);
    fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
}

/// By how much two minutes, five seconds and the hold-down are shortened. `ELECTION_FULL_LENGTH=1` takes them as they are.
fn scale() -> u32 {
    match std::env::var("ELECTION_FULL_LENGTH") {
        Ok(_) => 1,
        Err(_) => 10,
    }
}

#[tokio::test]
async fn a_crashing_preferred_process_causes_few_changes() {
    let fixture = Fixture::new("flapping").await;
    let scale = scale();
    let (period, hold_down) = (Duration::from_secs(5) / scale, Duration::from_secs(20) / scale);
    let terms = Terms::default();
    let began = Instant::now();
    let mut others = Vec::new();
    let mut preferred = None;
    while began.elapsed() < Duration::from_secs(120) / scale {
        let zk = connect(&fixture).await;
        let session = session_of(&zk).await;
        let election = LeaderElection::builder(&zk, LEADER)
            .rank(9)
            .hold_down(hold_down)
            .rank_grace(GRACE / scale);
        preferred = Some(terms.run(election.build().unwrap(), "preferred"));
        if others.is_empty() {
            terms.leads("preferred").await;
            for who in ["low", "lower"] {
                let zk = connect(&fixture).await;
                let election = LeaderElection::builder(&zk, LEADER).rank(1).hold_down(hold_down);
                others.push(terms.run(election.rank_grace(GRACE / scale).build().unwrap(), who));
            }
        }
        tokio::time::sleep(period).await;
        // A crash, as the ensemble sees it.
        fixture.expire(&session).await;
        preferred.take().unwrap().abort();
    }
    let changes = terms.check();
    let who: Vec<_> = terms.all().into_iter().map(|term| term.who).collect();
    println!(
        "a preferred process that crashes every {period:?} for {:?}, hold-down {hold_down:?}: {changes} changes, {who:?}",
        began.elapsed()
    );
    assert!((1..=7).contains(&changes), "{changes} changes: {:#?}", terms.all());
    others.iter().chain(&preferred).for_each(JoinHandle::abort);
    fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
}
