//! Crowds on one path each: members, idle consumers, permits, and a line of waiters.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use rustix::time::{ClockId, clock_gettime};
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, FencingToken, Group, Semaphore};
use zookeeper_testkit::{Proxy, RealServer};

use crate::{AT_A_TIME, Failure, TIMEOUT, print_sessions, until};

const LINE: &str = "/crowd/line";

/// `members` of a group, half as many consumers of a queue, a fifth as many permits, through a cut of all connections;
/// then as many waiters in one line, and twice as many in a list.
pub(crate) async fn run(members: usize) -> Result<(), Failure> {
    let server = RealServer::options().heap_mib(2_048).start().await;
    let proxy = Proxy::start(server.addr()).await;
    let options = ConnectOptions::new().session_timeout(TIMEOUT).max_sessions(24);
    let zk = options.connect(&proxy.connect_string()).await?;
    cut(&zk, &proxy, members).await?;
    line(&zk, members).await?;
    list(&zk, 2 * members).await?;
    zk.close().await;
    Ok(())
}

async fn cut(zk: &Coordinator, proxy: &Proxy, members: usize) -> Result<(), Failure> {
    let (consumers, permits) = (members / 2, members / 5);
    println!("--- a group of {members}, {consumers} idle consumers, {permits} permits, T = {TIMEOUT:?}");
    let group = Group::new(zk, "/crowd/group")?;
    let joining = (0..members).map(|number| {
        let group = group.clone();
        async move { group.join(&format!("member-{number:06}"), "").await }
    });
    let joined = all(joining).await?;
    let mut observer = group.observe().await?;
    let mut popping = Vec::new();
    for _ in 0..consumers {
        let queue = WorkQueue::new(zk, "/crowd/queue")?;
        popping.push(tokio::spawn(async move {
            let delivery = queue.pop().await?;
            let item = delivery.payload().to_vec();
            delivery.ack().await?;
            Ok::<_, Failure>(item)
        }));
    }
    let semaphore = Semaphore::new(zk, "/crowd/semaphore", u32::try_from(permits)?)?;
    let held = all((0..permits).map(|_| {
        let semaphore = semaphore.clone();
        async move { semaphore.acquire().await }
    }))
    .await?;
    print_sessions(zk);

    let (requests, lost) = (zk.stats().requests, zk.stats().sessions_lost);
    proxy.refuse().await;
    tokio::time::sleep(TIMEOUT / 10).await;
    proxy.accept().await;
    let began = Instant::now();
    until("the sessions are back", || {
        zk.stats().sessions.iter().all(|session| session.is_connected)
    })
    .await?;
    let queue = WorkQueue::new(zk, "/crowd/queue")?;
    for item in 0..consumers {
        queue.push(item.to_string()).await?;
    }
    let mut items = HashSet::new();
    for popping in popping {
        items.insert(popping.await??);
    }
    println!(
        "cut for {:?}: {} members, {} permits and {} sessions lost; each consumer had its item {:.1?} after it, with {} requests",
        TIMEOUT / 10,
        joined.iter().filter(|member| !member.is_present()).count(),
        held.iter().filter(|permit| !permit.is_held()).count(),
        zk.stats().sessions_lost - lost,
        began.elapsed(),
        zk.stats().requests - requests,
    );
    expect("items", items.len(), consumers)?;
    expect("members observed", observer.members().len(), members)?;
    let mut joined = joined.into_iter();
    joined.next().ok_or("no member")?.leave().await;
    let left = observer.wait_for(|seen| seen.len() == members - 1);
    tokio::time::timeout(TIMEOUT, left).await?.ok_or("the observer ended")?;
    Ok(())
}

/// All wait on one path; each gives its place back at once.
async fn line(zk: &Coordinator, waiters: usize) -> Result<(), Failure> {
    println!("--- {waiters} waiters of one process on one path");
    let lock = FairLock::new(zk, LINE)?;
    let guard = lock.acquire().await?;
    let mut waiting = Vec::new();
    for _ in 0..waiters {
        let lock = lock.clone();
        waiting.push(tokio::spawn(async move {
            let guard = lock.acquire().await?;
            let seen = (guard.token(), guard.remaining());
            guard.release().await?;
            Ok::<_, Failure>(seen)
        }));
    }
    let mut least = guard.remaining();
    while zk.stats().waiters < waiters {
        least = least.min(guard.remaining());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut order: Vec<FencingToken> = vec![guard.token()];
    let began = Instant::now();
    guard.release().await?;
    let mut granted = Vec::new();
    for waiter in waiting {
        let (token, remaining) = waiter.await??;
        least = least.min(remaining);
        granted.push(token);
    }
    granted.sort_unstable();
    order.extend(granted);
    let are_distinct = order.windows(2).all(|pair| pair[0] < pair[1]);
    println!(
        "granted in {:.1?}, each with a token of its own: {are_distinct}; the least time a lease had left: {least:.1?}",
        began.elapsed()
    );
    Ok(())
}

/// What the list of a long line takes of a processor, and what it keeps the runtime from.
async fn list(zk: &Coordinator, contenders: usize) -> Result<(), Failure> {
    let lock = FairLock::new(zk, LINE)?;
    let guard = lock.acquire().await?;
    let waiting: Vec<_> = (0..contenders - 1)
        .map(|_| {
            let lock = lock.clone();
            tokio::spawn(async move { lock.acquire().await.map(drop) })
        })
        .collect();
    until("all wait", || zk.stats().waiters == contenders - 1).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ticking = tokio::spawn(async {
        let mut longest = Duration::ZERO;
        let mut before = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(before.elapsed());
            before = Instant::now();
            if LISTED.load(std::sync::atomic::Ordering::Relaxed) {
                return longest;
            }
        }
    });
    let (wall, cpu) = (Instant::now(), processor_time());
    let listed = lock.contenders().await?.len();
    let (wall, cpu) = (wall.elapsed(), processor_time() - cpu);
    LISTED.store(true, std::sync::atomic::Ordering::Relaxed);
    println!(
        "contenders() of {listed}: {wall:.1?}, of it {cpu:.1?} of this process; a timer of 1ms came after {:.1?} at worst",
        ticking.await?
    );
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    drop(guard);
    Ok(())
}

static LISTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

async fn all<T, E, F>(attempts: impl IntoIterator<Item = F>) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, E>>,
    Failure: From<E>,
{
    let done: Vec<_> = stream::iter(attempts).buffer_unordered(AT_A_TIME).collect().await;
    done.into_iter().map(|done| done.map_err(Failure::from)).collect()
}

fn expect(what: &str, seen: usize, wanted: usize) -> Result<(), Failure> {
    match seen == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {seen} in place of {wanted}").into()),
    }
}
