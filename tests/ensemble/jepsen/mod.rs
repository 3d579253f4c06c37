//! Jepsen's lock workloads, as its suite for etcd has them, on the ensemble under all faults at random: the mutex itself, a
//! set in memory that is changed under the lock, a set in the ensemble that is guarded by the token; and a register that
//! each leader increments, and a work queue of which each item is done once.
//!
//! First, processes are paused inside their critical sections, past their sessions: one for each way to keep something. A
//! blind write that follows undoes those of others. One after a look at the guard, or a fenced one, is refused.
//!
//! * `place` – what is contended for; `work` – what a client does there; `call` – what it writes of it
//! * `verdict` – whether that can be

mod call;
mod place;
mod verdict;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zookeeper_client as zk;
use zookeeper_recipes::Coordinator;
use zookeeper_testkit::{Fixture, History, background, eventually};

pub(crate) use self::call::Call;
use self::call::What;
use self::place::{Care, Duty, Place};
use self::verdict::{Calls, Verdict, judge};
pub(crate) use self::work::work;
use crate::audit::audit;
use crate::belief::{Entry, Log, now};
use crate::books::Books;
use crate::client::Role;
use crate::closing::close_work_queues;
use crate::crew::{Client, Crew, number};
use crate::ensemble::{Ensemble, SESSION};
use crate::faults::Struck;
use crate::workload::{Contender, Pace};

const PROCESSES: usize = 10;

/// After the last fault.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn only_blind_writers_undo_what_others_wrote() {
    let long = Duration::from_secs(number("ZK_WORKLOAD_SECONDS").unwrap_or(10));
    let seed = number("ZK_WORKLOAD_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("workloads: {PROCESSES} processes for {long:?}, seed {seed} (ZK_WORKLOAD_SEED)");
    let mut random = fastrand::Rng::with_seed(seed);
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("jepsen").await;
    prepare(&fixture).await;
    let mut crew = Crew::start(Role::Jepsen, PROCESSES, &ensemble, &fixture, &mut random).await;
    // How often it is asked depends on time, unlike the faults.
    let mut pausing = random.fork();
    let (struck, mut pauses) = (Struck::default(), 0);
    let rounds = u32::try_from(long.as_secs()).unwrap_or_default() / 120 + 1;
    for _ in 0..rounds {
        pauses += pause_inside(&crew, &mut pausing).await;
        let until = Instant::now() + long / rounds;
        crew.torment(&ensemble, &mut random, until, &struck).await;
    }
    let mut broken = crew.finish(PATIENCE).await;

    let (mut places, mut operations) = (BTreeMap::<String, Calls>::new(), 0);
    let (books, history) = (Books::default(), History::new());
    let started = now() - history.started().elapsed();
    for entry in crew.entries() {
        match entry {
            Entry::Call(call) => places.entry(call.place.clone()).or_default().note(call),
            Entry::Belief(belief) => history.record(crate::belief::since(belief, started)),
            Entry::Fact(fact) => books.note(fact),
            Entry::Operation => operations += 1,
            Entry::Broken(promise) => broken.push(promise),
        }
    }
    let last = ensemble.connect(&fixture, SESSION).await;
    let mut verdicts = Vec::new();
    for place in place::all() {
        let found = in_the_end(place, &last, &crew).await;
        let calls = places.remove(&place.to_string()).unwrap_or_default();
        add_up(&mut verdicts, place, judge(place, &calls, &found));
    }
    drop(crew);
    let emptied: Vec<String> = place::all().flat_map(Place::emptied).collect();
    let emptied: Vec<&str> = emptied.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left_within(PATIENCE, &emptied).await;
    let closing = Contender::last(&last, &Log::with_books(&history, &books), Pace::Brisk);
    close_work_queues(&closing, Pace::Brisk, &fixture).await;
    last.close().await;
    match audit(&books.facts()) {
        Ok(sum) => println!("workloads: WorkQueue: {sum}: 0 anomalies"),
        Err(violations) => broken.extend(violations),
    }

    verdicts
        .iter()
        .for_each(|(_, verdict)| println!("workloads: {verdict}"));
    println!("workloads: faults: {struck}; pauses inside: {pauses}");
    let total = struck.total() + pauses;
    println!(
        "workloads: seed {seed}, {} s: turns: {operations}, faults: {total}",
        long.as_secs()
    );
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    history.assert_sound();
    assert_as_promised(&verdicts, seed);
}

/// The copies of a place count together.
fn add_up(verdicts: &mut Vec<(Place, Verdict)>, place: Place, more: Vec<Verdict>) {
    for verdict in more {
        match verdicts.iter_mut().find(|(_, known)| known.subject == verdict.subject) {
            Some((_, known)) => *known += verdict,
            None => verdicts.push((place, verdict)),
        }
    }
}

fn assert_as_promised(verdicts: &[(Place, Verdict)], seed: u64) {
    for (place, verdict) in verdicts {
        assert!(verdict.operations > 0, "nothing was tested: {verdict}");
        assert!(
            is_blind(place, verdict) || verdict.anomalies == 0,
            "seed {seed}: {verdict}"
        );
    }
    for kind in kinds() {
        let shows = |(place, verdict): &(Place, Verdict)| {
            let seen = if is_blind(place, verdict) {
                verdict.anomalies
            } else {
                verdict.refused
            };
            place.duty == kind && seen > 0
        };
        assert!(verdicts.iter().any(shows), "no pause inside {kind:?} was seen");
    }
}

fn is_blind(place: &Place, verdict: &Verdict) -> bool {
    place.care() == Care::Blind || verdict.subject.ends_with("-Blind")
}

/// A process is paused in each.
fn kinds() -> [Duty; 7] {
    [
        Duty::Mutex,
        Duty::SetInMemory(Care::Blind),
        Duty::SetInMemory(Care::Looked),
        Duty::SetInEnsemble(Care::Blind),
        Duty::SetInEnsemble(Care::Fenced),
        Duty::Register(Care::Blind),
        Duty::Register(Care::Fenced),
    ]
}

async fn prepare(fixture: &Fixture) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    for place in place::all() {
        let made = fixture.raw().mkdir(&place.node(), &options).await;
        made.expect("a fresh chroot takes nodes");
    }
}

/// What is kept at `place`.
async fn in_the_end(place: Place, zk: &Coordinator, crew: &Crew) -> String {
    match place.duty {
        Duty::Mutex => String::new(),
        Duty::SetInMemory(_) => std::fs::read_to_string(crew.directory().join(place.to_string())).unwrap_or_default(),
        Duty::SetInEnsemble(_) | Duty::Register(_) => {
            let client = zk.client().await.expect("healed");
            client.sync("/").await.expect("healed");
            let (found, _) = client.get_data(&place.node()).await.expect("healed");
            String::from_utf8_lossy(&found).into_owned()
        }
    }
}

/// Pauses a process inside its critical section at a place of each kind, until others have been there.
async fn pause_inside(crew: &Crew, random: &mut fastrand::Rng) -> usize {
    let mut stopped: Vec<(usize, Call)> = Vec::new();
    for kind in kinds() {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "no process comes to {kind:?}");
            let index = random.usize(..crew.clients.len());
            let client = &crew.clients[index];
            if stopped.iter().any(|(known, _)| *known == index) || inside(client, kind).is_none() {
                background::sleep(Duration::from_millis(1)).await;
                continue;
            }
            client.process.stop();
            if let Some(call) = inside(client, kind) {
                stopped.push((index, call));
                break;
            }
            client.process.resume();
        }
    }
    let since = now();
    eventually(PATIENCE, "others do what the paused ones had begun", || async {
        let done = |other: &Call, begun: &Call| {
            (other.place == begun.place && other.what == begun.what && other.turn != begun.turn)
                && other.returned.is_some_and(|returned| returned > since)
        };
        let others: Vec<Call> = crew.entries().into_iter().filter_map(into_call).collect();
        stopped
            .iter()
            .all(|(_, begun)| others.iter().any(|other| done(other, begun)))
    })
    .await;
    stopped
        .iter()
        .for_each(|(index, _)| crew.clients[*index].process.resume());
    stopped.len()
}

/// What a process has begun of this kind and not ended, if it has.
fn inside(client: &Client, kind: Duty) -> Option<Call> {
    let places: Vec<String> = place::all()
        .filter(|place| place.duty == kind)
        .map(|place| place.to_string())
        .collect();
    let begun = match kind {
        Duty::Mutex => What::Release,
        _ => What::Change,
    };
    let mut open = BTreeMap::new();
    for call in client.latest_entries().into_iter().filter_map(into_call) {
        open.insert(call.turn.clone(), call);
    }
    let is_open = |call: &Call| call.what == begun && call.returned.is_none() && places.contains(&call.place);
    open.into_values().find(is_open)
}

fn into_call(entry: Entry) -> Option<Call> {
    match entry {
        Entry::Call(call) => Some(call),
        _ => None,
    }
}
