//! Client processes with random recipes, under all faults at random, for as long as one likes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use zookeeper_testkit::{Fixture, History, Proxy, ServerTruth, background};

use crate::audit::audit;
use crate::belief::{Entry, Log, now};
use crate::books::Books;
use crate::client::Process;
use crate::closing::close;
use crate::ensemble::{Ensemble, SESSION};
use crate::faults::{ClientFault, ServerFault, Struck, between};
use crate::workload::{self, Contender, Pace};

const PROCESSES: usize = 20;

/// How many of them are under attack at a time, at most.
const TORMENTORS: usize = 5;

/// After the last fault: elections, expiries, and a line of all processes at each place.
const PATIENCE: Duration = Duration::from_secs(120);

/// One client with its links, through many processes if it is killed.
struct Client {
    who: String,
    servers: String,
    links: Vec<Proxy>,
    process: Process,
    logs: Vec<PathBuf>,
}

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
    let directory = Directory::new();
    let history = History::new();
    let started = now() - history.started().elapsed();
    let truth = ServerTruth::record(fixture.raw(), "/", &history).await;
    let mut clients = Vec::new();
    for index in 0..PROCESSES {
        clients.push(Client::start(index, &ensemble, &fixture, &directory.0, &mut random).await);
    }

    let struck = Struck::default();
    let until = Instant::now() + long;
    let (links, mut processes): (Vec<&[Proxy]>, Vec<Victim<'_>>) = clients.iter_mut().map(Client::split).unzip();
    let servers = torment_servers(&ensemble, &links, random.fork(), until, &struck);
    let torments = processes.chunks_mut(PROCESSES / TORMENTORS).map(|victims| {
        let random = random.fork();
        torment_clients(victims, random, until, &struck)
    });
    tokio::join!(join_all(torments), servers);

    ensemble.heal().await;
    let finished = join_all(clients.iter_mut().map(|client| client.process.finish(PATIENCE))).await;
    let mut records = Records::default();
    for (client, finished) in clients.iter().zip(finished) {
        records.read(client, &history, started);
        if let Err(problem) = finished {
            records.broken.push(format!("{} {problem}", client.who));
        }
    }
    drop(clients);
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
    let (_, stopped) = tokio::sync::watch::channel(true);
    let last = |pace| {
        Contender::new(
            zk.clone(),
            "last".to_owned(),
            log.clone(),
            (pace, &[]),
            0,
            stopped.clone(),
        )
    };
    for pace in Pace::ALL {
        close(&last(pace), pace, Vec::new(), fixture).await;
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

/// Strikes at the servers, one fault after the other.
async fn torment_servers(
    ensemble: &Ensemble,
    links: &[&[Proxy]],
    mut random: fastrand::Rng,
    until: Instant,
    struck: &Struck,
) {
    while Instant::now() < until {
        background::sleep(between(Duration::from_secs(2), Duration::from_secs(5), &mut random)).await;
        let fault = ServerFault::ALL[random.usize(..ServerFault::ALL.len())];
        fault.strike(ensemble, links, &mut random).await;
        struck.count(fault);
    }
}

/// Strikes at one of `victims` after the other.
async fn torment_clients(victims: &mut [Victim<'_>], mut random: fastrand::Rng, until: Instant, struck: &Struck) {
    while Instant::now() < until {
        background::sleep(between(Duration::from_millis(200), Duration::from_secs(3), &mut random)).await;
        let victim = &mut victims[random.usize(..victims.len())];
        let fault = ClientFault::ALL[random.usize(..ClientFault::ALL.len())];
        fault.strike(victim.process, victim.links, &mut random).await;
        if matches!(fault, ClientFault::Killed) {
            victim.replace(&mut random);
        }
        struck.count(fault);
    }
}

/// A client under attack.
struct Victim<'a> {
    who: &'a str,
    servers: &'a str,
    links: &'a [Proxy],
    process: &'a mut Process,
    logs: &'a mut Vec<PathBuf>,
}

impl Victim<'_> {
    fn replace(&mut self, random: &mut fastrand::Rng) {
        let log = self.logs[0].with_extension(self.logs.len().to_string());
        *self.process = Process::contender(self.servers, self.who, &log, random.u64(..));
        self.logs.push(log);
    }
}

impl Client {
    async fn start(
        index: usize,
        ensemble: &Ensemble,
        fixture: &Fixture,
        dir: &Path,
        random: &mut fastrand::Rng,
    ) -> Self {
        let who = format!("client-{index}");
        let log = dir.join(&who);
        let (links, servers) = ensemble.proxied(fixture).await;
        Self {
            process: Process::contender(&servers, &who, &log, random.u64(..)),
            logs: vec![log],
            who,
            servers,
            links,
        }
    }

    fn split(&mut self) -> (&[Proxy], Victim<'_>) {
        let victim = Victim {
            who: &self.who,
            servers: &self.servers,
            links: &self.links,
            process: &mut self.process,
            logs: &mut self.logs,
        };
        (&self.links, victim)
    }
}

impl Records {
    fn read(&mut self, client: &Client, history: &History, started: Duration) {
        for log in &client.logs {
            // A process that was killed at its start has written none.
            let text = std::fs::read_to_string(log).unwrap_or_default();
            for entry in text.lines().filter_map(Entry::parse) {
                match entry {
                    Entry::Belief(belief) => history.record(crate::belief::since(belief, started)),
                    Entry::Fact(fact) => self.books.note(fact),
                    Entry::Operation => self.operations += 1,
                    Entry::Broken(promise) => self.broken.push(promise),
                }
            }
        }
    }
}

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("zookeeper-recipes-soak-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|err| panic!("cannot make {}: {err}", path.display()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value} is no number")),
    )
}
