//! [`Worker`]: a loop that works on the items of a queue.

use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::errors::AckError;
use super::store::{AttemptEnd, Outcome};
use super::stream::Prefetch;
use super::tasks::Verdict;
use super::{Delivery, WorkQueue};
use crate::error::Error;
use crate::metrics::observe_handler;
use crate::znode::Payload;

/// A loop that works on the items of a queue: made by [`WorkQueue::worker`].
///
/// # Examples
/// ```no_run
/// # async fn example(mails: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::queue::Job;
///
/// let summary = mails
///     .worker()
///     .concurrency(16)
///     .shutdown(async { drop(tokio::signal::ctrl_c().await) })
///     .run(|mail: Job| async move { send(mail.payload()).await })
///     .await?;
/// println!("{summary:?}");
/// # async fn send(mail: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # Ok(())
/// # }
/// ```
#[must_use = "run starts the work"]
pub struct Worker<T = Bytes> {
    queue: WorkQueue<T>,
    concurrency: usize,
    prefetch: Option<usize>,
    rate: Option<f64>,
    drain: Duration,
    /// In a mutex, so that the worker can be shared though the future cannot.
    shutdown: Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T> std::fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.queue)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

/// An item that a handler works on; it dereferences to its [`Delivery`].
///
/// The worker settles it when the handler is done.
#[derive(Debug)]
pub struct Job<T = Bytes> {
    delivery: Arc<Delivery<T>>,
}

impl<T> Clone for Job<T> {
    fn clone(&self) -> Self {
        Self {
            delivery: Arc::clone(&self.delivery),
        }
    }
}

impl<T> Deref for Job<T> {
    type Target = Delivery<T>;

    fn deref(&self) -> &Delivery<T> {
        &self.delivery
    }
}

/// What becomes of an item whose handler returned no error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Completion {
    /// It is acknowledged.
    Done,
    /// It is acknowledged with a result.
    Result(Bytes),
    /// It is given back, to be delivered again after this time.
    RetryAfter(Duration),
    /// It becomes a dead letter, for this reason.
    Reject(String),
}

impl From<()> for Completion {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Items that were acknowledged.
    pub done: usize,
    /// Items whose handler returned an error, or asked for another attempt.
    pub failed: usize,
    /// Items whose handler panicked.
    pub panicked: usize,
    /// Items that their handler rejected.
    pub rejected: usize,
    /// Items that were lost, which other consumers have, and items whose end the ensemble did not confirm in time.
    pub lost: usize,
    /// Items whose handler was not done when the time to drain was over; they were given back.
    pub aborted: usize,
}

/// How a handler ended.
enum Ended {
    Completed(Completion),
    Failed(String),
    Panicked,
    Lost,
}

impl<T: Payload> WorkQueue<T> {
    /// Begins a worker loop.
    #[doc(alias = "consumer")]
    pub fn worker(&self) -> Worker<T> {
        Worker {
            queue: self.clone(),
            concurrency: 1,
            prefetch: None,
            rate: None,
            drain: Duration::from_secs(30),
            shutdown: Mutex::new(Box::pin(std::future::pending())),
        }
    }
}

impl<T: Payload> Worker<T> {
    /// Sets how many items are worked on at once: one unless set.
    pub fn concurrency(mut self, items: usize) -> Self {
        self.concurrency = items.max(1);
        self
    }

    /// Sets how many items are held ahead of those that are worked on: as many as are worked on at once unless set.
    pub fn prefetch(mut self, items: usize) -> Self {
        self.prefetch = Some(items);
        self
    }

    /// Sets how many items are begun in a second at most.
    #[doc(alias = "rate limit")]
    pub fn rate(mut self, items_per_second: f64) -> Self {
        self.rate = Some(items_per_second).filter(|rate| rate.is_finite() && *rate > 0.0);
        self
    }

    /// Sets how long handlers may go on after the shutdown began: 30 seconds unless set. What they did is written then:
    /// behind a silent link, the worker waits for that as long again at most.
    pub fn drain(mut self, time: Duration) -> Self {
        self.drain = time;
        self
    }

    /// Sets what ends the worker: it begins nothing more, gives back what it had fetched ahead, waits for its handlers and
    /// writes what they did.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Mutex::new(Box::pin(shutdown));
        self
    }

    /// Works until the shutdown, or until the queue is closed.
    ///
    /// An item whose handler returns an error, or panics, is given back as the queue's
    /// [`RetryPolicy`](super::RetryPolicy) says. A handler is dropped when its item is lost.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help, once the handlers are done.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handlers, and gives their items back.
    pub async fn run<H, F, R, E>(self, handler: H) -> Result<Summary, Error>
    where
        H: Fn(Job<T>) -> F,
        F: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Completion> + Send + 'static,
        E: Display + Send + 'static,
    {
        let Self {
            queue,
            concurrency,
            prefetch,
            rate,
            drain,
            shutdown,
        } = self;
        let mut shutdown = shutdown.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut source = Prefetch::new(queue.clone(), prefetch.unwrap_or(concurrency));
        let mut jobs: JoinSet<Ending> = JoinSet::new();
        let unsettled = Arc::new(AtomicUsize::new(0));
        let mut summary = Summary::default();
        let mut begin_at = Instant::now();
        let failure = loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break None,
                Some(ended) = jobs.join_next() => summary.add(ended),
                next = next_at(begin_at, &mut source), if jobs.len() < concurrency => match next {
                    Ok(delivery) => {
                        if let Some(rate) = rate {
                            begin_at = begin_at.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
                        }
                        let job = Job { delivery: Arc::new(delivery) };
                        let work = catch_unwind(AssertUnwindSafe(|| handler(job.clone())));
                        jobs.spawn(work_on(job, work.ok(), Arc::clone(&unsettled)));
                    }
                    Err(Error::Closed) => break None,
                    Err(error) => break Some(error),
                },
            }
        };
        drop(source);
        summary.drain(&mut jobs, drain, &unsettled).await;
        // What is not written by then goes with the session.
        if tokio::time::timeout(drain, queue.inner.settling.flushed())
            .await
            .is_err()
        {
            warn!(
                queue = queue.path(),
                "not all that was settled could be written in time"
            );
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }
}

async fn next_at<T: Payload>(begin_at: Instant, source: &mut Prefetch<T>) -> Result<Delivery<T>, Error> {
    tokio::time::sleep_until(begin_at).await;
    source.next().await
}

/// Works on one item, and settles it; `unsettled` counts those whose handlers are done. A handler that panicked before it returned a future has no work.
async fn work_on<T, F, R, E>(job: Job<T>, work: Option<F>, unsettled: Arc<AtomicUsize>) -> Ending
where
    F: Future<Output = Result<R, E>>,
    R: Into<Completion>,
    E: Display,
{
    let began = Instant::now();
    let ended = match work {
        None => Ended::Panicked,
        Some(work) => match job.run_until_lost(AssertUnwindSafe(work).catch_unwind()).await {
            Err(_) => Ended::Lost,
            Ok(Err(_)) => Ended::Panicked,
            Ok(Ok(Ok(completion))) => Ended::Completed(completion.into()),
            Ok(Ok(Err(error))) => Ended::Failed(error.to_string()),
        },
    };
    let error = match &ended {
        Ended::Completed(_) => None,
        Ended::Failed(_) => Some("failed"),
        Ended::Panicked => Some("panicked"),
        Ended::Lost => Some("lost"),
    };
    observe_handler(job.delivery.assignment.user(), began.elapsed(), error);
    let failed = |delay, how, reason: &str| Verdict::Failed {
        delay,
        how,
        reason: reason.to_owned(),
    };
    let verdict = match &ended {
        Ended::Completed(Completion::Done) => Verdict::Done {
            outcome: Outcome::DoneWithoutResult,
            next: Vec::new(),
        },
        Ended::Completed(Completion::Result(result)) => Verdict::Done {
            outcome: Outcome::Result(result.clone()),
            next: Vec::new(),
        },
        Ended::Completed(Completion::RetryAfter(delay)) => failed(Some(*delay), AttemptEnd::GivenBack, ""),
        Ended::Completed(Completion::Reject(reason)) => Verdict::Rejected { reason: reason.clone() },
        Ended::Failed(reason) => failed(None, AttemptEnd::GivenBack, reason),
        Ended::Panicked => failed(None, AttemptEnd::Panicked, "its handler panicked"),
        Ended::Lost => return Ending { ended, settled: Ok(()) },
    };
    unsettled.fetch_add(1, Ordering::Relaxed);
    let settled = job.delivery.assignment.settle(verdict).await.map(drop);
    unsettled.fetch_sub(1, Ordering::Relaxed);
    Ending { ended, settled }
}

/// What became of an item.
struct Ending {
    ended: Ended,
    settled: Result<(), AckError>,
}

impl Summary {
    /// Waits for the handlers that still work. Drops them after `time`, which gives their items back.
    async fn drain(&mut self, jobs: &mut JoinSet<Ending>, time: Duration, unsettled: &AtomicUsize) {
        let drained = async {
            while let Some(ended) = jobs.join_next().await {
                self.add(ended);
            }
        };
        if tokio::time::timeout(time, drained).await.is_ok() {
            return;
        }
        jobs.abort_all();
        let mut dropped = 0;
        while let Some(ended) = jobs.join_next().await {
            match ended {
                Err(error) if error.is_cancelled() => dropped += 1,
                ended => self.add(ended),
            }
        }
        // The handlers of these were done, and the answer of the ensemble did not come in time.
        let unknown = unsettled.load(Ordering::Relaxed).min(dropped);
        self.lost += unknown;
        self.aborted += dropped - unknown;
    }

    fn add(&mut self, ended: Result<Ending, tokio::task::JoinError>) {
        let Ok(Ending { ended, settled }) = ended else {
            self.panicked += 1;
            return;
        };
        if let Err(error) = settled {
            debug!(%error, "an item was lost before it was settled");
            self.lost += 1;
            return;
        }
        match ended {
            Ended::Completed(Completion::Done | Completion::Result(_)) => self.done += 1,
            Ended::Completed(Completion::RetryAfter(_)) | Ended::Failed(_) => self.failed += 1,
            Ended::Completed(Completion::Reject(_)) => self.rejected += 1,
            Ended::Panicked => self.panicked += 1,
            Ended::Lost => self.lost += 1,
        }
    }
}
