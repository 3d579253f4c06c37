//! Locks a second: over many paths, and over one that all contend for; ours, Curator's, and what the protocol allows.

use std::time::{Duration, Instant};

use futures::future;
use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock};

use crate::etcd::Etcd;
use crate::peer::Peer;
use crate::{Failure, SESSION_TIMEOUT, aim_at_least};

const TASKS: usize = 64;
const CYCLES: usize = 150;
const SESSIONS: usize = 8;
const CONTENDED_CYCLES: usize = 20;

pub(crate) struct Throughput {
    dir: String,
    zk: Vec<Coordinator>,
    raw: Client,
    curator: Option<Peer>,
    etcd: Option<Etcd>,
}

/// Locks a second of each round.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    raw: Vec<f64>,
    many: Vec<f64>,
    contended: Vec<f64>,
    curators_many: Vec<f64>,
    curators_contended: Vec<f64>,
    etcds_many: Vec<f64>,
    one: Vec<f64>,
    etcds_one: Vec<f64>,
}

impl Throughput {
    /// Says if Curator or etcd is missing.
    pub(crate) async fn set_up(cluster: &str, dir: &str) -> Result<Self, Failure> {
        let mut zk = Vec::new();
        for _ in 0..SESSIONS {
            let options = ConnectOptions::new().session_timeout(SESSION_TIMEOUT);
            zk.push(options.connect(cluster).await?);
        }
        let connector = Client::connector().with_session_timeout(SESSION_TIMEOUT);
        let raw = connector.connect(cluster).await?;
        let curator = Peer::curator("Locks", &[cluster, &format!("{dir}/curator")]);
        let curator = curator.inspect_err(|reason| println!("without Curator: {reason}")).ok();
        let etcd = Etcd::start().await;
        let etcd = etcd.inspect_err(|reason| println!("without etcd: {reason}")).ok();
        let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
        for task in 0..TASKS {
            raw.create(&format!("{dir}/raw-{task}"), b"", &persistent).await?;
        }
        let dir = dir.to_owned();
        Ok(Self {
            dir,
            zk,
            raw,
            curator,
            etcd,
        })
    }

    pub(crate) async fn round(&mut self, rounds: &mut Rounds) -> Result<(), Failure> {
        rounds.raw.push(self.raw_cycles().await?);
        rounds.many.push(self.paths(TASKS).await?);
        rounds.contended.push(self.contended().await?);
        rounds.one.push(self.paths(1).await?);
        if let Some(curator) = &mut self.curator {
            let many = format!("1 {TASKS} {CYCLES} many");
            rounds.curators_many.push(ask(curator, &many, TASKS * CYCLES)?);
            let contended = format!("{SESSIONS} {} {CONTENDED_CYCLES} one", TASKS / SESSIONS);
            rounds
                .curators_contended
                .push(ask(curator, &contended, TASKS * CONTENDED_CYCLES)?);
        }
        if let Some(etcd) = &self.etcd {
            rounds.etcds_many.push(etcds(etcd, TASKS).await?);
            rounds.etcds_one.push(etcds(etcd, 1).await?);
        }
        Ok(())
    }

    /// One session, so many tasks, a path for each.
    async fn paths(&self, tasks: usize) -> Result<f64, Failure> {
        let paths = (0..tasks).map(|task| {
            let lock = FairLock::new(&self.zk[0], &format!("{}/own-{task}", self.dir));
            tokio::spawn(async move { cycle(lock?, CYCLES).await })
        });
        rate(paths.collect(), tasks * CYCLES).await
    }

    /// Eight sessions of eight tasks, one path.
    async fn contended(&self) -> Result<f64, Failure> {
        let tasks = (0..TASKS).map(|task| {
            let lock = FairLock::new(&self.zk[task % SESSIONS], &format!("{}/one", self.dir));
            tokio::spawn(async move { cycle(lock?, CONTENDED_CYCLES).await })
        });
        rate(tasks.collect(), TASKS * CONTENDED_CYCLES).await
    }

    /// What every lock has to ask for, pipelined: create and list, then delete.
    async fn raw_cycles(&self) -> Result<f64, Failure> {
        let tasks = (0..TASKS).map(|task| {
            let (client, dir) = (self.raw.clone(), format!("{}/raw-{task}", self.dir));
            tokio::spawn(async move {
                let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
                for _ in 0..CYCLES {
                    let prefix = format!("{dir}/_c_{}-lock-", Uuid::new_v4());
                    let both = future::join(
                        client.create(&prefix, b"host:1234", &options),
                        client.list_children(&dir),
                    );
                    let (created, listed) = both.await;
                    let ((_, sequence), _) = (created?, listed?);
                    client.delete(&format!("{prefix}{sequence}"), None).await?;
                }
                Ok(())
            })
        });
        rate(tasks.collect(), TASKS * CYCLES).await
    }

    pub(crate) async fn close(self) {
        for zk in self.zk {
            zk.close().await;
        }
    }
}

/// One connection and one lease, so many tasks, a name for each.
async fn etcds(etcd: &Etcd, tasks: usize) -> Result<f64, Failure> {
    let names = (0..tasks).map(|task| {
        let (locker, name) = (etcd.locker(), format!("own-{task}"));
        tokio::spawn(async move {
            for _ in 0..CYCLES {
                locker.cycle(&name).await?;
            }
            Ok(())
        })
    });
    rate(names.collect(), tasks * CYCLES).await
}

async fn cycle(lock: FairLock, cycles: usize) -> Result<(), Failure> {
    for _ in 0..cycles {
        lock.acquire().await?.release().await?;
    }
    Ok(())
}

type Task = tokio::task::JoinHandle<Result<(), Failure>>;

async fn rate(tasks: Vec<Task>, cycles: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    for task in tasks {
        task.await??;
    }
    Ok(per_second(cycles, started.elapsed()))
}

fn ask(curator: &mut Peer, order: &str, cycles: usize) -> Result<f64, Failure> {
    let answer = curator.ask(order)?;
    let nanos = answer.parse().map_err(|_| format!("{order}: {answer}"))?;
    Ok(per_second(cycles, Duration::from_nanos(nanos)))
}

fn per_second(cycles: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(cycles).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

impl Rounds {
    pub(crate) fn report(self) {
        println!("{:<44} {:>10}", "locks a second", "median");
        let show = |what: &str, rates: Vec<f64>| {
            let median = median(rates);
            if let Some(median) = median {
                println!("{what:<44} {median:>10.0}");
            }
            median
        };
        let raw = show("raw create + list, delete: 64 tasks", self.raw);
        let many = show("FairLock: 64 tasks, 64 paths, a session", self.many);
        let theirs = show("Curator: the same", self.curators_many);
        let etcds = show("etcd: the same, one lease", self.etcds_many);
        let one = show("FairLock: one after the other", self.one);
        let etcds_one = show("etcd: the same", self.etcds_one);
        let contended = show("FairLock: 8 sessions of 8 tasks, one path", self.contended);
        let their_contended = show("Curator: the same", self.curators_contended);
        let both = |what, ours: Option<f64>, other: Option<f64>, limit| {
            if let (Some(ours), Some(other)) = (ours, other) {
                aim_at_least(what, ours / other, limit);
            }
        };
        both("many paths, FairLock / raw", many, raw, 0.6);
        both("many paths, FairLock / Curator", many, theirs, 5.0);
        both("many paths, FairLock / etcd", many, etcds, 1.3);
        both("one after the other, FairLock / etcd", one, etcds_one, 1.0);
        both("one path, FairLock / Curator", contended, their_contended, 3.0);
    }
}

fn median(mut rates: Vec<f64>) -> Option<f64> {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}
