//! Client processes, each with links of its own to the servers, and random faults at them and at the servers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use zookeeper_testkit::{Fixture, Proxy, background};

use crate::belief::Entry;
use crate::client::{Process, Role};
use crate::ensemble::Ensemble;
use crate::faults::{ClientFault, ServerFault, Struck, between};

/// How many clients are under attack at a time, at most.
const TORMENTORS: usize = 5;

/// Client processes, and the directory of what they write.
pub(crate) struct Crew {
    pub(crate) clients: Vec<Client>,
    directory: Directory,
}

/// One client with its links, through many processes if it is killed.
pub(crate) struct Client {
    role: Role,
    who: String,
    servers: String,
    links: Vec<Proxy>,
    pub(crate) process: Process,
    logs: Vec<PathBuf>,
}

impl Crew {
    pub(crate) async fn start(
        role: Role,
        count: usize,
        ensemble: &Ensemble,
        fixture: &Fixture,
        random: &mut fastrand::Rng,
    ) -> Self {
        let directory = Directory::new();
        let mut clients = Vec::new();
        for index in 0..count {
            let who = format!("client-{index}");
            let log = directory.0.join(&who);
            let (links, servers) = ensemble.proxied(fixture).await;
            clients.push(Client {
                role,
                process: Process::contender(role, &servers, &who, &log, random.u64(..)),
                logs: vec![log],
                who,
                servers,
                links,
            });
        }
        Self { clients, directory }
    }

    /// Where the clients may keep files.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory.0
    }

    /// Strikes at clients and servers until a moment, and heals all.
    pub(crate) async fn torment(
        &mut self,
        ensemble: &Ensemble,
        random: &mut fastrand::Rng,
        until: Instant,
        struck: &Struck,
    ) {
        let (links, mut victims): (Vec<&[Proxy]>, Vec<Victim<'_>>) = self.clients.iter_mut().map(Client::split).unzip();
        let servers = torment_servers(ensemble, &links, random.fork(), until, struck);
        let each = victims.len().div_ceil(TORMENTORS);
        let torments = victims.chunks_mut(each).map(|victims| {
            let random = random.fork();
            torment_clients(victims, random, until, struck)
        });
        tokio::join!(join_all(torments), servers);
        ensemble.heal().await;
    }

    /// Has all clients be granted once more and end. Returns what became of those that did not.
    pub(crate) async fn finish(&mut self, patience: Duration) -> Vec<String> {
        let finished = self.clients.iter_mut().map(|client| async {
            let finished = client.process.finish(patience).await;
            finished.err().map(|problem| format!("{} {problem}", client.who))
        });
        join_all(finished).await.into_iter().flatten().collect()
    }

    /// All that the clients wrote.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.clients.iter().flat_map(Client::entries).collect()
    }
}

impl Client {
    /// What its processes wrote so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.logs.iter().flat_map(read).collect()
    }

    /// What the process wrote that runs now.
    pub(crate) fn latest_entries(&self) -> Vec<Entry> {
        self.logs.last().map(read).unwrap_or_default()
    }

    fn split(&mut self) -> (&[Proxy], Victim<'_>) {
        let victim = Victim {
            role: self.role,
            who: &self.who,
            servers: &self.servers,
            links: &self.links,
            process: &mut self.process,
            logs: &mut self.logs,
        };
        (&self.links, victim)
    }
}

fn read(log: &PathBuf) -> Vec<Entry> {
    // A process that was killed at its start has written none.
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(Entry::parse).collect()
}

/// A client under attack.
struct Victim<'a> {
    role: Role,
    who: &'a str,
    servers: &'a str,
    links: &'a [Proxy],
    process: &'a mut Process,
    logs: &'a mut Vec<PathBuf>,
}

impl Victim<'_> {
    fn replace(&mut self, random: &mut fastrand::Rng) {
        let log = self.logs[0].with_extension(self.logs.len().to_string());
        *self.process = Process::contender(self.role, self.servers, self.who, &log, random.u64(..));
        self.logs.push(log);
    }
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

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("zookeeper-recipes-crew-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|err| panic!("cannot make {}: {err}", path.display()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The number that a variable of the environment has.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}
