//! `WorkQueue`, by several sessions or by one, with many items at a time or one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{TryFutureExt, future};
use tokio::sync::watch;
use zookeeper_recipes::queue::{Delivery, Job, Order, WorkQueue};
use zookeeper_recipes::{ConnectOptions, Coordinator};

use crate::table::Rates;
use crate::{Failure, PAYLOAD};

pub(crate) const SESSIONS: usize = 8;
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
/// Pushes that are under way at once, of each session.
const PUSHES: usize = 1_000;
/// Items that a consumer has at once.
const PREFETCH: usize = 512;
/// Items that a consumer has ahead which takes one after the other.
const AHEAD: usize = 16;
/// What a worker of each session does at once, has ahead, and takes for an item.
const WORKERS: usize = 16;
const WORKER_PREFETCH: usize = 64;
const EFFORT: Duration = Duration::from_millis(1);
/// Items that are popped at once, and such batches that are acknowledged at once.
const BATCH: usize = 128;
const BATCHES: usize = 4;

pub(crate) async fn connect(cluster: &str) -> Result<Coordinator, Failure> {
    Ok(ConnectOptions::new()
        .session_timeout(SESSION_TIMEOUT)
        .connect(cluster)
        .await?)
}

pub(crate) struct Ours {
    sessions: Vec<Coordinator>,
}

impl Ours {
    pub(crate) async fn connect(cluster: &str, dir: &str) -> Result<Self, Failure> {
        let cluster = format!("{cluster}{dir}");
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(connect(&cluster).await?);
        }
        Ok(Self { sessions })
    }

    /// Pushes items one by one, many at a time, and then consumes them, by so many sessions.
    pub(crate) async fn run(&self, items: usize, sessions: usize) -> Result<Rates, Failure> {
        let queues: Vec<WorkQueue> = self.sessions[..sessions]
            .iter()
            .map(|zk| WorkQueue::new(zk, &format!("/work-{sessions}")))
            .collect::<Result<_, _>>()?;
        let started = Instant::now();
        future::try_join_all(queues.iter().map(|queue| push(queue, items / sessions))).await?;
        let pushed = Instant::now();
        consume(&queues, items / sessions * sessions).await?;
        Ok(Rates::of(items, pushed - started, pushed.elapsed()))
    }

    /// The same by workers: each session with a concurrency of 16, a prefetch of 64 and handlers that take a millisecond.
    pub(crate) async fn work(&self, items: usize, sessions: usize, order: Order) -> Result<Rates, Failure> {
        let path = format!("/worked-{sessions}-{order:?}").replace(['(', ')'], "-");
        let queues: Vec<WorkQueue> = self.sessions[..sessions]
            .iter()
            .map(|zk| WorkQueue::builder(zk, &path).order(order).build())
            .collect::<Result<_, _>>()?;
        let started = Instant::now();
        future::try_join_all(queues.iter().map(|queue| push(queue, items / sessions))).await?;
        let pushed = Instant::now();
        let (done, all) = (Arc::new(AtomicUsize::new(0)), watch::channel(false).0);
        let items = items / sessions * sessions;
        future::try_join_all(queues.iter().map(|queue| {
            let (done, all, mut over) = (Arc::clone(&done), all.clone(), all.subscribe());
            let worker = queue.worker().concurrency(WORKERS).prefetch(WORKER_PREFETCH);
            let worker = worker.shutdown(async move { drop(over.wait_for(|over| *over).await) });
            worker.run(move |_: Job| {
                let (done, all) = (Arc::clone(&done), all.clone());
                async move {
                    tokio::time::sleep(EFFORT).await;
                    if done.fetch_add(1, Ordering::Relaxed) + 1 == items {
                        all.send_replace(true);
                    }
                    Ok::<_, String>(())
                }
            })
        }))
        .await?;
        Ok(Rates::of(items, pushed - started, pushed.elapsed()))
    }

    /// Pushes items one after the other, and then consumes them one after the other.
    pub(crate) async fn one_by_one(&self, items: usize) -> Result<Rates, Failure> {
        let queue = WorkQueue::new(&self.sessions[0], "/one-by-one")?;
        let started = Instant::now();
        for _ in 0..items {
            queue.push(&PAYLOAD[..]).await?;
        }
        let pushed = Instant::now();
        for _ in 0..items {
            queue.pop().await?.ack().await?;
        }
        Ok(Rates::of(items, pushed - started, pushed.elapsed()))
    }

    /// The same, with items that are fetched ahead.
    pub(crate) async fn one_by_one_ahead(&self, items: usize) -> Result<Rates, Failure> {
        let queue = WorkQueue::new(&self.sessions[0], "/one-by-one-ahead")?;
        let started = Instant::now();
        for _ in 0..items {
            queue.push(&PAYLOAD[..]).await?;
        }
        let pushed = Instant::now();
        let mut deliveries = queue.deliveries(AHEAD);
        for _ in 0..items {
            let delivery = deliveries.try_next().await?.ok_or("the queue is closed")?;
            delivery.ack().await?;
        }
        Ok(Rates::of(items, pushed - started, pushed.elapsed()))
    }

    pub(crate) async fn close(self) {
        for zk in self.sessions {
            zk.close().await;
        }
    }
}

/// Pushes items one by one, many at a time.
pub(crate) async fn push(queue: &WorkQueue, items: usize) -> Result<(), Failure> {
    stream::iter((0..items).map(|_| queue.push(&PAYLOAD[..])))
        .buffer_unordered(PUSHES)
        .try_for_each(|_| future::ok(()))
        .await?;
    Ok(())
}

/// Consumes so many items, each of which is acknowledged on its own.
pub(crate) async fn consume(queues: &[WorkQueue], items: usize) -> Result<(), Failure> {
    let acknowledged = AtomicUsize::new(0);
    let (all, _) = watch::channel(false);
    let ack = |delivery: Delivery| async {
        delivery.ack().await?;
        if acknowledged.fetch_add(1, Ordering::Relaxed) + 1 == items {
            all.send_replace(true);
        }
        Ok::<_, Failure>(())
    };
    let consumers = queues.iter().map(|queue| async {
        let mut over = all.subscribe();
        let deliveries = queue.deliveries(PREFETCH).map_err(Failure::from);
        tokio::select! {
            consumed = deliveries.try_for_each_concurrent(PREFETCH, &ack) => consumed,
            over = over.wait_for(|over| *over).map_ok(drop).map_err(Failure::from) => over,
        }
    });
    future::try_join_all(consumers).await?;
    Ok(())
}

/// Consumes so many items of a queue that has more, and fetches none ahead: what is given back would stand elsewhere.
pub(crate) async fn consume_exactly(queue: &WorkQueue, items: usize) -> Result<(), Failure> {
    let batches = stream::try_unfold(items, |left| async move {
        if left == 0 {
            return Ok::<_, Failure>(None);
        }
        let batch = queue.pop_batch(left.min(BATCH)).await?;
        let left = left - batch.len();
        Ok(Some((batch, left)))
    });
    let ack_all = |batch: Vec<Delivery>| async {
        future::try_join_all(batch.into_iter().map(Delivery::ack)).await?;
        Ok(())
    };
    batches.try_for_each_concurrent(BATCHES, ack_all).await
}
