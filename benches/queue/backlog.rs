//! What an item costs when there are many before it.

use std::time::{Duration, Instant};

use zookeeper_client::Client;
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_testkit::{Op, Proxy};

use crate::ours::{connect, consume, consume_exactly, push};
use crate::server::BenchServer;
use crate::table::{median, micros};
use crate::{Failure, PAYLOAD};

const SMALL: usize = 1_000;
const LARGE: usize = 100_000;
/// Items of one `push_all`.
const BATCH: usize = 512;
/// Items that are pushed and consumed in one round.
const ROUND: usize = 5_000;
/// Claims whose times are taken, one after the other.
const CLAIMS: usize = 200;

/// A queue that is never empty.
struct Backlog {
    items: usize,
    queue: WorkQueue,
    /// Per item, in each round.
    push: Vec<f64>,
    consume: Vec<f64>,
}

impl Backlog {
    async fn fill(zk: &Coordinator, items: usize) -> Result<Self, Failure> {
        let queue = WorkQueue::new(zk, &format!("/backlog-{items}"))?;
        fill(&queue, items).await?;
        Ok(Self {
            items,
            queue,
            push: Vec::new(),
            consume: Vec::new(),
        })
    }

    /// Pushes some, and consumes as many.
    async fn round(&mut self, items: usize) -> Result<(), Failure> {
        let per_item = |time: Duration| time.as_secs_f64() / items as f64;
        let started = Instant::now();
        push(&self.queue, items).await?;
        let pushed = Instant::now();
        consume_exactly(&self.queue, items).await?;
        self.push.push(per_item(pushed - started));
        self.consume.push(per_item(pushed.elapsed()));
        Ok(())
    }

    fn print(&self, base: &Self) {
        let median = |times: &[f64]| median(times.iter().copied());
        let (push, consume) = (median(&self.push), median(&self.consume));
        println!(
            "{:<44} {:>10} {:>8.2} {:>12} {:>8.2}",
            format!("{} items ahead", self.items),
            micros(push),
            push / median(&base.push),
            micros(consume),
            consume / median(&base.consume)
        );
    }

    fn total(&self) -> f64 {
        median(self.push.iter().copied()) + median(self.consume.iter().copied())
    }
}

/// Compares a backlog of 1,000 items with one of 100,000, and returns how much more an item costs at the larger.
pub(crate) async fn compare(cluster: &str, dir: &str, scale: usize, rounds: usize) -> Result<f64, Failure> {
    let zk = connect(&format!("{cluster}{dir}")).await?;
    let mut small = Backlog::fill(&zk, SMALL / scale).await?;
    let mut large = Backlog::fill(&zk, LARGE / scale).await?;
    for _ in 0..rounds {
        small.round(ROUND / scale).await?;
        large.round(ROUND / scale).await?;
    }
    println!(
        "{:<44} {:>10} {:>8} {:>12} {:>8}",
        "WorkQueue, time per item", "push", "/ small", "pop + ack", "/ small"
    );
    small.print(&small);
    large.print(&small);
    zk.close().await;
    Ok(large.total() / small.total())
}

/// Shows a backlog of so many items: how fast it comes and goes, what it takes, and what a claim costs before it.
pub(crate) async fn show(server: &BenchServer, dir: &str, items: usize) -> Result<(), Failure> {
    let cluster = format!("{}{dir}", server.cluster());
    let zk = connect(&cluster).await?;
    let queue = WorkQueue::new(&zk, "/backlog")?;
    fill(&queue, SMALL).await?;
    claims("warm-up", &queue).await?;
    claims(&format!("at {SMALL} items"), &queue).await?;
    print_sizes(server).await;

    dead_consumer(server, &cluster, &queue).await?;

    let started = Instant::now();
    fill(&queue, items - SMALL).await?;
    rate("pushed, in push_all of 512", items - SMALL, started);
    println!("len: {}", queue.len().await?);
    print_sizes(server).await;

    claims(&format!("at {items} items"), &queue).await?;
    let fresh = connect(&cluster).await?;
    let first = WorkQueue::new(&fresh, "/backlog")?;
    let started = Instant::now();
    let delivery = first.pop().await?;
    println!(
        "first pop of a new session: {}",
        micros(started.elapsed().as_secs_f64())
    );
    delivery.ack().await?;

    let started = Instant::now();
    consume(std::slice::from_ref(&first), items - 1).await?;
    rate("popped and acknowledged, by one consumer", items - 1, started);
    println!("len: {}", queue.len().await?);
    print_sizes(server).await;
    fresh.close().await;
    zk.close().await;
    Ok(())
}

/// Shows what the claims of a dead consumer cost: when others have its items after the end of its session, and how many
/// transactions they send for that.
async fn dead_consumer(server: &BenchServer, cluster: &str, queue: &WorkQueue) -> Result<(), Failure> {
    let Some(own) = server.own() else { return Ok(()) };
    let dead = connect(cluster).await?;
    let consumer = WorkQueue::new(&dead, queue.path())?;
    let mut held = Vec::new();
    for _ in 0..SMALL {
        held.push(consumer.pop().await?);
    }
    let (_, chroot) = cluster.split_at(cluster.find('/').unwrap_or(cluster.len()));
    let proxy = Proxy::start_with_chroot(own.addr(), chroot).await;
    let living = connect(&format!("{}{chroot}", proxy.addr())).await?;
    let others = WorkQueue::new(&living, queue.path())?;
    // It knows the queue, and waits.
    let waiting = tokio::spawn({
        let others = others.clone();
        async move { others.pop_batch(SMALL).await }
    });
    while proxy.requests().total() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.reset_counts();
    end_session(cluster, &dead).await?;
    let ended = Instant::now();
    let mut taken = waiting.await??;
    let first = ended.elapsed();
    while taken.len() < SMALL {
        taken.extend(others.pop_batch(SMALL - taken.len()).await?);
    }
    println!(
        "{SMALL} claims of a dead consumer: the first are another's {} after the end of its session, all after {}, with {} transactions",
        micros(first.as_secs_f64()),
        micros(ended.elapsed().as_secs_f64()),
        proxy.requests().of(Op::Multi),
    );
    drop(held);
    for delivery in taken {
        delivery.nack_after(Duration::ZERO).await?;
    }
    living.close().await;
    Ok(())
}

/// Ends a session behind the back of its client: another client takes it over and closes it.
async fn end_session(cluster: &str, zk: &Coordinator) -> Result<(), Failure> {
    let session = zk.client().await?.into_session();
    loop {
        let connector = Client::connector().with_session(session.clone()).with_fail_eagerly();
        match connector.connect(cluster).await {
            Ok(client) => drop(client),
            Err(zookeeper_client::Error::SessionExpired) => return Ok(()),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn fill(queue: &WorkQueue, items: usize) -> Result<(), Failure> {
    let mut left = items;
    while left > 0 {
        let batch = left.min(BATCH);
        queue.push_all(std::iter::repeat_n(&PAYLOAD[..], batch)).await?;
        left -= batch;
    }
    Ok(())
}

/// The times of single pops and acks, one after the other, each of which is followed by a push in its place.
async fn claims(what: &str, queue: &WorkQueue) -> Result<(), Failure> {
    let (mut pops, mut acks) = (Vec::new(), Vec::new());
    for _ in 0..CLAIMS {
        let started = Instant::now();
        let delivery = queue.pop().await?;
        let popped = Instant::now();
        delivery.ack().await?;
        pops.push((popped - started).as_secs_f64());
        acks.push(popped.elapsed().as_secs_f64());
        queue.push(&PAYLOAD[..]).await?;
    }
    let (pop, ack) = (median(pops.into_iter()), median(acks.into_iter()));
    println!("{what}: one pop {}, its ack {}", micros(pop), micros(ack));
    Ok(())
}

/// What the server says of itself, if it is one of ours.
async fn print_sizes(server: &BenchServer) {
    let Some(own) = server.own() else { return };
    let said = own.mntr().await;
    let number = |key: &str| {
        said.get(key)
            .and_then(|value| value.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let memory = own.resident_memory().await.map_or(f64::NAN, |bytes| bytes as f64);
    println!(
        "  server: {:.0} znodes, {:.0} MiB of data, {:.0} MiB of memory, {:.0} bytes in its largest reply",
        number("zk_znode_count"),
        mib(number("zk_approximate_data_size")),
        mib(memory),
        number("zk_max_client_response_size"),
    );
}

fn rate(what: &str, items: usize, started: Instant) {
    let elapsed = started.elapsed();
    let rate = items as f64 / elapsed.as_secs_f64();
    println!("{what}: {items} items in {:.1} s, {rate:.0}/s", elapsed.as_secs_f64());
}
