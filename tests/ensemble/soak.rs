//! Client processes with random recipes, under all faults at random, for as long as one likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zookeeper_testkit::{Fixture, History, ServerTruth};

use crate::audit::audit;
use crate::belief::{Entry, Log, now};
use crate::books::Books;
use crate::client::Role;
use crate::closing::close;
use crate::crew::{Crew, number};
use crate::ensemble::{Ensemble, SESSION};
use crate::faults::Struck;
use crate::workload::{self, Contender, Pace};

const PROCESSES: usize = 20;

/// After the last fault: elections, expiries, and a line of all processes at each place.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the processes wrote.
#[derive(Default)]
struct Records {
    operations: usize,
    broken: Vec<String>,
    books: Books,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_at_servers_and_clients_break_no_promise() {
    let long = Duration::from_secs(number("ZK_SOAK_SECONDS").unwrap_or(40));
    let seed = number("ZK_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("soak: {PROCESSES} processes for {long:?}, seed {seed} (ZK_SOAK_SEED)");
    let mut random = fastrand::Rng::with_seed(seed);
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("soak").await;
    workload::prepare(&fixture).await;
    let history = History::new();
    let started = now() - history.started().elapsed();
    let truth = ServerTruth::record(fixture.raw(), "/", &history).await;
    let mut crew = Crew::start(Role::Contend, PROCESSES, &ensemble, &fixture, &mut random).await;

    let struck = Struck::default();
    let until = Instant::now() + long;
    crew.torment(&ensemble, &mut random, until, &struck).await;
    let mut records = Records {
        broken: crew.finish(PATIENCE).await,
        ..Records::default()
    };
    records.read(&crew, &history, started);
    drop(crew);
    close_books(&ensemble, &fixture, &history, &records.books).await;
    workload::assert_nothing_left(&fixture, PATIENCE).await;
    drop(truth);
    let (checked, audited) = (history.check(), audit(&records.books.facts()));
    println!("soak: faults: {struck}");
    if let Ok(summary) = &checked {
        println!("soak: {summary}");
        println!("soak: grants: {}", by_recipe(&history));
    }
    match audited {
        Ok(sum) => println!("soak: {sum}"),
        Err(mut violations) => records.broken.append(&mut violations),
    }
    let violations = records.broken.len() + checked.as_ref().err().map_or(0, Vec::len);
    println!(
        "soak: {PROCESSES} processes, {} s: operations: {}, faults: {}, violations: {violations}",
        long.as_secs(),
        records.operations,
        struck.total(),
    );
    assert!(records.broken.is_empty(), "seed {seed}: {:#?}", records.broken);
    history.assert_sound();
    assert!(records.operations > PROCESSES, "nothing was tested");
}

/// Empties the queues and looks what became of all items, when everybody is gone.
async fn close_books(ensemble: &Ensemble, fixture: &Fixture, history: &History, books: &Books) {
    let zk = ensemble.connect(fixture, SESSION).await;
    let log = Log::with_books(history, books);
    for pace in Pace::ALL {
        close(&Contender::last(&zk, &log, pace), pace, Vec::new(), fixture).await;
    }
    zk.close().await;
}

/// How many grants there were in each directory.
fn by_recipe(history: &History) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for grant in history.grants() {
        let directory = grant.path.split('/').nth(1).unwrap_or_default();
        *counts.entry(directory.to_owned()).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(recipe, count)| format!("{recipe} {count}"))
        .collect();
    counts.join(", ")
}

impl Records {
    fn read(&mut self, crew: &Crew, history: &History, started: Duration) {
        for entry in crew.entries() {
            match entry {
                Entry::Belief(belief) => history.record(crate::belief::since(belief, started)),
                Entry::Fact(fact) => self.books.note(fact),
                Entry::Operation => self.operations += 1,
                Entry::Broken(promise) => self.broken.push(promise),
                Entry::Call(_) => {}
            }
        }
    }
}
