//! What the fair lock costs, beside what it is made of, beside `zookeeper-client`'s own lock, and beside Curator's, in one
//! run against one server, and beside etcd's: `cargo bench --bench lock`.
//!
//! The server is the one that `ZOOKEEPER_CONNECT` names, or a real one of its own whose transactions wait for the disk as
//! in production. All variants are measured in turns, so that noise of the machine hits them alike. `LINES=10,1000` chooses
//! how many wait in the hand-offs, `ROUNDS=10` how often everything is measured.

mod etcd;
#[path = "../common/peer.rs"]
mod peer;
#[path = "../common/quantiles.rs"]
mod quantiles;
#[path = "../common/server.rs"]
mod server;
mod throughput;

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode, LockPrefix};
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, FairLockGuard};
use zookeeper_testkit::RealServer;

use self::quantiles::Quantiles;
use self::server::BenchServer;
use self::throughput::{Rounds, Throughput};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 30;
const THROUGHPUT_ROUNDS: usize = 5;
const CYCLES_PER_ROUND: usize = 20;
const HAND_OFFS_PER_ROUND: usize = 5;
const WAITERS: [usize; 4] = [1, 10, 1_000, 10_000];
const WAITING_SESSIONS: usize = 4;
const SETTLING: Duration = Duration::from_millis(20);
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Anything but `cargo bench` only wants to see that it runs.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        let given = std::env::var("ROUNDS").ok();
        given.and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
    } else {
        1
    };
    let server = BenchServer::find_or_start(RealServer::options().heap_mib(512)).await;

    let bench = Bench::set_up(server.cluster()).await?;
    let mut throughput = Throughput::set_up(server.cluster(), &bench.dir).await?;
    let mut rates = Rounds::default();
    for _ in 0..rounds.min(THROUGHPUT_ROUNDS) {
        throughput.round(&mut rates).await?;
    }
    throughput.close().await;
    rates.report();
    let mut cycles = [const { Vec::new() }; 3];
    let mut hand_offs = vec![Vec::new(); waiters().len()];
    let mut lists = hand_offs.clone();
    let mut lines = Vec::new();
    for waiters in waiters() {
        lines.push(Queue::form(&bench, waiters).await?);
    }
    for _ in 0..rounds {
        for _ in 0..CYCLES_PER_ROUND {
            cycles[0].push(timed(bench.raw_cycle()).await?);
            cycles[1].push(timed(bench.fair_lock_cycle()).await?);
            cycles[2].push(timed(bench.client_lock_cycle()).await?);
        }
        for (index, line) in lines.iter_mut().enumerate() {
            for _ in 0..HAND_OFFS_PER_ROUND {
                hand_offs[index].push(line.hand_off(&bench).await?);
                lists[index].push(timed(bench.list(&line.path)).await?);
            }
        }
    }
    report(cycles, hand_offs, lists);
    drop(lines);
    bench.clean_up().await
}

/// Where only a look is wanted, or little memory is there, the longest line is left out.
fn waiters() -> Vec<usize> {
    let given = std::env::var("LINES").ok();
    let given = given.map(|lines| lines.split(',').filter_map(|waiters| waiters.parse().ok()).collect());
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    given.unwrap_or_else(|| WAITERS[..if is_bench { WAITERS.len() } else { 3 }].to_vec())
}

/// The times of each line.
type ByWaiters = Vec<Vec<Duration>>;

fn report(cycles: [Vec<Duration>; 3], hand_offs: ByWaiters, lists: ByWaiters) {
    println!("{:<28} {:>10} {:>10} {:>8}", "cycle", "median", "p95", "/ raw");
    let [raw, fair, client] = cycles.map(Quantiles::of);
    raw.print("raw create + delete", &raw);
    fair.print("FairLock acquire + release", &raw);
    client.print("Client::lock + delete", &raw);
    let hand_offs = print_lines("hand-off", hand_offs);
    print_lines("one list", lists);
    aim("FairLock cycle / raw cycle", fair.ratio(&raw), 1.6);
    aim("FairLock cycle / Client::lock cycle", fair.ratio(&client), 1.0);
    let waiters = waiters();
    let at = |size| {
        waiters
            .iter()
            .position(|waiters| *waiters == size)
            .map(|at| &hand_offs[at])
    };
    for size in [1_000, 10_000] {
        if let (Some(many), Some(ten)) = (at(size), at(10)) {
            aim(&format!("hand-off at {size} / at 10"), many.ratio(ten), 1.2);
        }
    }
}

/// With the line of ten for a base, or the first.
fn print_lines(what: &str, times: ByWaiters) -> Vec<Quantiles> {
    println!("{what:<28} {:>10} {:>10} {:>8}", "median", "p95", "/ at 10");
    let lines: Vec<_> = times.into_iter().map(Quantiles::of).collect();
    let waiters = waiters();
    let base = waiters.iter().position(|waiters| *waiters == 10).unwrap_or_default();
    for (waiters, quantiles) in waiters.iter().zip(&lines) {
        quantiles.print(&format!("{waiters} waiting"), &lines[base]);
    }
    lines
}

fn aim(what: &str, ratio: f64, limit: f64) {
    let verdict = if ratio <= limit { "met" } else { "MISSED" };
    println!("{what}: {ratio:.2}, aim at most {limit:.1}: {verdict}");
}

pub(crate) fn aim_at_least(what: &str, ratio: f64, limit: f64) {
    let verdict = if ratio >= limit { "met" } else { "MISSED" };
    println!("{what}: {ratio:.2}, aim at least {limit:.1}: {verdict}");
}

struct Bench {
    root: Client,
    dir: String,
    zk: Coordinator,
    lock: FairLock,
    raw: Client,
    waiting: Vec<Coordinator>,
}

impl Bench {
    async fn set_up(cluster: &str) -> Result<Self, Failure> {
        let root = Client::connect(cluster).await?;
        let dir = format!("/bench-{}", Uuid::new_v4());
        let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
        root.create(&dir, b"", &persistent).await?;
        // Persistent directories: none of the variants shall pay for making its own.
        for name in ["raw", "fair", "client"] {
            root.create(&format!("{dir}/{name}"), b"", &persistent).await?;
        }
        let connect = || {
            let options = ConnectOptions::new().session_timeout(SESSION_TIMEOUT);
            let cluster = format!("{cluster}{dir}");
            async move { options.connect(&cluster).await }
        };
        let zk = connect().await?;
        let mut waiting = Vec::new();
        for _ in 0..WAITING_SESSIONS {
            waiting.push(connect().await?);
        }
        let connector = Client::connector().with_session_timeout(SESSION_TIMEOUT);
        let raw = connector.connect(&format!("{cluster}{dir}")).await?;
        Ok(Self {
            lock: FairLock::new(&zk, "/fair")?,
            root,
            dir,
            zk,
            raw,
            waiting,
        })
    }

    /// What every lock on ZooKeeper has to do at least.
    async fn raw_cycle(&self) -> Result<(), Failure> {
        let prefix = format!("/raw/_c_{}-lock-", Uuid::new_v4());
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let (_, sequence) = self.raw.create(&prefix, b"", &options).await?;
        Ok(self.raw.delete(&format!("{prefix}{sequence}"), None).await?)
    }

    async fn fair_lock_cycle(&self) -> Result<(), Failure> {
        let guard = self.lock.acquire().await?;
        Ok(guard.release().await?)
    }

    async fn client_lock_cycle(&self) -> Result<(), Failure> {
        let prefix = LockPrefix::new_curator("/client", "lock-")?;
        let lock = self.raw.lock(prefix, b"", Acls::anyone_all()).await?;
        let path = lock.lock_path().to_owned();
        // Its drop would delete the node in the background, beside the next cycle.
        std::mem::forget(lock);
        Ok(self.raw.delete(&path, None).await?)
    }

    /// The part of a hand-off that grows with the line.
    async fn list(&self, path: &str) -> Result<(), Failure> {
        self.raw.list_children(path).await?;
        Ok(())
    }

    async fn clean_up(self) -> Result<(), Failure> {
        self.zk.close().await;
        for zk in self.waiting {
            zk.close().await;
        }
        for name in self.root.list_children(&self.dir).await? {
            let path = format!("{}/{name}", self.dir);
            // Containers may be reaped first.
            for child in self.root.list_children(&path).await.unwrap_or_default() {
                let _ = self.root.delete(&format!("{path}/{child}"), None).await;
            }
            let _ = self.root.delete(&path, None).await;
        }
        Ok(self.root.delete(&self.dir, None).await?)
    }
}

async fn timed(cycle: impl Future<Output = Result<(), Failure>>) -> Result<Duration, Failure> {
    let started = Instant::now();
    cycle.await?;
    Ok(started.elapsed())
}

/// A holder, and waiters of several sessions behind it.
struct Queue {
    path: String,
    waiters: usize,
    holder: Option<FairLockGuard>,
    granted: mpsc::UnboundedReceiver<(FairLockGuard, Instant)>,
    sender: mpsc::UnboundedSender<(FairLockGuard, Instant)>,
    enrolled: usize,
}

impl Queue {
    async fn form(bench: &Bench, waiters: usize) -> Result<Self, Failure> {
        let path = format!("/line-{waiters}");
        let holder = FairLock::new(&bench.zk, &path)?.acquire().await?;
        let (sender, granted) = mpsc::unbounded_channel();
        let mut queue = Self {
            path,
            waiters,
            holder: Some(holder),
            granted,
            sender,
            enrolled: 0,
        };
        for _ in 0..waiters {
            queue.enrol(bench)?;
        }
        queue.until_formed(bench).await?;
        Ok(queue)
    }

    /// From just before the holder's delete to the return of the next acquire.
    async fn hand_off(&mut self, bench: &Bench) -> Result<Duration, Failure> {
        let holder = self.holder.take().ok_or("nobody holds")?;
        let released = Instant::now();
        let release = tokio::spawn(holder.release());
        let (guard, granted) = self.granted.recv().await.ok_or("no waiter is left")?;
        release.await??;
        self.holder = Some(guard);
        self.enrol(bench)?;
        self.until_formed(bench).await?;
        Ok(granted - released)
    }

    fn enrol(&mut self, bench: &Bench) -> Result<(), Failure> {
        let lock = FairLock::new(&bench.waiting[self.enrolled % WAITING_SESSIONS], &self.path)?;
        let sender = self.sender.clone();
        self.enrolled += 1;
        tokio::spawn(async move {
            if let Ok(guard) = lock.acquire().await {
                // The receiver is gone when the bench is over.
                let _ = sender.send((guard, Instant::now()));
            }
        });
        Ok(())
    }

    async fn until_formed(&self, bench: &Bench) -> Result<(), Failure> {
        loop {
            let stat = bench.raw.check_stat(&self.path).await?;
            if stat.is_some_and(|stat| stat.num_children as usize == self.waiters + 1) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The last one has its node; leave it the time to list and to set its watch.
        tokio::time::sleep(SETTLING).await;
        Ok(())
    }
}
