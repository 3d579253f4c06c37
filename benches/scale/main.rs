//! Very many places of one process: memory, time and requests of a hold and of a waiter, and what a cut of all
//! connections costs.
//!
//!   cargo bench --bench scale                  100, 1,000, 10,000 and 100,000 holds; some minutes
//!   cargo bench --bench scale -- 10000 1000    so many holds and waiters
//!   cargo bench --bench scale -- default 80000 so many in the sessions that are allowed by default
//!   cargo bench --bench scale -- crowds 10000  so many members of a group, waiters in a line, and others
//!
//! Paths have 60 bytes. The server is a real one of its own, behind a proxy that cuts the connections.

mod crowds;

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tokio::task::JoinHandle;
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, FairLockGuard, SessionKind};
use zookeeper_testkit::{Proxy, RealServer};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TIMEOUT: Duration = Duration::from_secs(30);
const AT_A_TIME: usize = 256;
/// How many waiters stand on one path.
const LINE: usize = 10;
/// How long the recovery may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if std::env::args().any(|argument| argument == "crowds") {
        return crowds::run(numbers.first().copied().unwrap_or(10_000)).await;
    }
    let by_default = std::env::args().any(|argument| argument == "default");
    let mut options = ConnectOptions::new().session_timeout(TIMEOUT);
    if !by_default {
        options = options.max_sessions(24);
    }
    match numbers[..] {
        [] if by_default => run(&options, 80_000, 0).await?,
        [holds, waiters] => run(&options, holds, waiters).await?,
        [holds] => run(&options, holds, 0).await?,
        // Anything but `cargo bench` only wants to see that it runs.
        _ if !std::env::args().any(|argument| argument == "--bench") => run(&options, 100, 20).await?,
        _ => {
            for (holds, waiters) in [(100, 10), (1_000, 100), (10_000, 1_000), (100_000, 10_000)] {
                run(&options, holds, waiters).await?;
            }
        }
    }
    Ok(())
}

async fn run(options: &ConnectOptions, holds: usize, waiters: usize) -> Result<(), Failure> {
    let server = RealServer::options().heap_mib(2_048).start().await;
    let proxy = Proxy::start(server.addr()).await;
    // Its memory is this process's.
    proxy.forget_requests();
    let zk = options.clone().connect(&proxy.connect_string()).await?;
    println!("--- {holds} holds, {waiters} waiters, T = {TIMEOUT:?}");

    let before = Usage::now(&zk);
    let guards = hold(&zk, "hold", holds).await?;
    Usage::now(&zk).print_since(&before, "hold", holds);
    let contended = hold(&zk, "line", waiters.div_ceil(LINE)).await?;
    let before = Usage::now(&zk);
    let waiting = wait(&zk, waiters).await?;
    Usage::now(&zk).print_since(&before, "waiter", waiters);
    settled(&zk).await?;
    print_sessions(&zk);

    for cut in [Duration::from_secs(1), TIMEOUT / 10] {
        recover(&zk, &proxy, cut).await?;
        let lost = guards.iter().chain(&contended).filter(|guard| !guard.is_held()).count();
        println!(
            "cut for {cut:?}: {lost} holds lost, {} sessions lost",
            zk.stats().sessions_lost
        );
    }
    let began = Instant::now();
    drop(contended);
    for waiter in waiting {
        waiter.await??;
    }
    println!(
        "every waiter was granted, {:.1?} after the holders went",
        began.elapsed()
    );
    let began = Instant::now();
    drop(guards);
    zk.close().await;
    println!("closed after {:.1?}", began.elapsed());
    Ok(())
}

/// A path of 60 bytes.
fn path(name: &str, number: usize) -> String {
    format!("/scale/{}/{name}-{number:07}", "p".repeat(40))
}

async fn hold(zk: &Coordinator, name: &str, count: usize) -> Result<Vec<FairLockGuard>, Failure> {
    let locks = stream::iter(0..count).map(|number| {
        let lock = FairLock::new(zk, &path(name, number));
        async move { Ok::<_, Failure>(lock?.acquire().await?) }
    });
    let mut locks = locks.buffer_unordered(AT_A_TIME);
    let mut taken = Vec::with_capacity(count);
    while let Some(guard) = locks.next().await {
        taken.push(guard?);
    }
    Ok(taken)
}

/// Waiters that stand in line when this returns; each gives its place back at once.
async fn wait(
    zk: &Coordinator,
    count: usize,
) -> Result<Vec<JoinHandle<Result<(), zookeeper_recipes::Error>>>, Failure> {
    let mut waiting = Vec::with_capacity(count);
    for number in 0..count {
        let lock = FairLock::new(zk, &path("line", number / LINE))?;
        waiting.push(tokio::spawn(async move { lock.acquire().await.map(drop) }));
    }
    until("all wait", || zk.stats().waiters == count).await?;
    Ok(waiting)
}

/// Waits until every node is watched, and so is the node ahead of every waiter.
async fn settled(zk: &Coordinator) -> Result<(), Failure> {
    let (mut seen, mut since) = (0, Instant::now());
    until("all is watched", || {
        let watched = watched(zk);
        if watched != seen {
            (seen, since) = (watched, Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    })
    .await
}

fn watched(zk: &Coordinator) -> usize {
    zk.stats().sessions.iter().map(|session| session.watched).sum()
}

/// Cuts all connections, and waits until all is as before.
async fn recover(zk: &Coordinator, proxy: &Proxy, cut: Duration) -> Result<(), Failure> {
    let (before, requests) = (watched(zk), zk.stats().requests);
    let watching = |zk: &Coordinator| {
        let sessions = zk.stats().sessions;
        sessions
            .into_iter()
            .find(|session| session.kind == SessionKind::Watching)
    };
    let old = watching(zk).map(|session| session.id);
    proxy.refuse().await;
    tokio::time::sleep(cut).await;
    proxy.accept().await;
    let began = Instant::now();
    until("all is watched again", || {
        let is_back = zk.stats().sessions.iter().all(|session| session.is_connected);
        let is_new = old.is_none() || watching(zk).is_some_and(|session| Some(session.id) != old);
        is_back && is_new && watched(zk) >= before
    })
    .await?;
    println!(
        "cut for {cut:?}: watched again after {:.1?}, with {} requests",
        began.elapsed(),
        zk.stats().requests - requests
    );
    Ok(())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn print_sessions(zk: &Coordinator) {
    let sessions = zk.stats().sessions;
    let owned: usize = sessions.iter().map(|session| session.bytes).sum();
    let of_watching = sessions.iter().find(|session| session.kind == SessionKind::Watching);
    println!(
        "{} sessions; {owned} bytes of paths owned, {} watched, {} of them by the watching session",
        sessions.len(),
        watched(zk),
        of_watching.map_or(0, |session| session.watched)
    );
}

struct Usage {
    at: Instant,
    resident: usize,
    requests: u64,
}

impl Usage {
    fn now(zk: &Coordinator) -> Self {
        Self {
            at: Instant::now(),
            resident: resident(),
            requests: zk.stats().requests,
        }
    }

    fn print_since(&self, before: &Self, what: &str, count: usize) {
        if count == 0 {
            return;
        }
        let each = |sum: f64| sum / count as f64;
        println!(
            "{what}: {:.0} us, {:.2} requests, {:.1} KiB each",
            each((self.at - before.at).as_secs_f64() * 1e6),
            each((self.requests - before.requests) as f64),
            each(self.resident.saturating_sub(before.resident) as f64 / 1_024.0)
        );
    }
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or_default() * 1_024
}
