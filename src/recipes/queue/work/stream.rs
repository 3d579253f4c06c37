//! Items as a stream.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, stream};
use tokio::sync::oneshot;

use super::tasks::{Assignment, CLAIM_ITEMS};
use super::{Delivery, WorkQueue};
use crate::error::Error;
use crate::znode::Payload;

type Coming = oneshot::Receiver<Result<Vec<Assignment>, Error>>;

/// So many items are noted ahead at most.
const AHEAD: usize = 64;

/// A consumer that takes longer for an item needs fewer of them noted ahead.
const PACE: Duration = Duration::from_millis(50);

/// Items that were fetched ahead, and those that are being fetched.
pub(super) struct Prefetch<T> {
    queue: WorkQueue<T>,
    most: usize,
    fetched: VecDeque<Assignment>,
    coming: Option<Coming>,
    /// How many items are noted ahead of those that were yielded.
    ahead: usize,
    last: Instant,
}

impl<T: Payload> WorkQueue<T> {
    /// Returns the items as they come, without end.
    ///
    /// Up to `prefetch` of them, at least one, are held ahead of those that were yielded, so that work need not wait for
    /// requests; they belong to this consumer already. Dropping the stream gives back what was not yielded, which does not
    /// count as an attempt.
    ///
    /// # Errors
    /// As [`pop`](Self::pop). After one that [`is_closed`](Error::is_closed) the stream ends; after another it goes on.
    ///
    /// # Cancel safety
    /// Dropping what waits for the next item loses nothing: what was fetched stays in the stream.
    ///
    /// # When the session is lost
    /// What was fetched and not yielded is lost with it, and not yielded; the stream goes on in the next session.
    #[doc(alias = "consume")]
    pub fn deliveries(
        &self,
        prefetch: usize,
    ) -> impl Stream<Item = Result<Delivery<T>, Error>> + Send + Unpin + use<T> {
        let prefetch = Some(Prefetch::new(self.clone(), prefetch));
        Box::pin(stream::unfold(prefetch, |prefetch| async move {
            let mut prefetch = prefetch?;
            match prefetch.next().await {
                Err(error) if error.is_closed() => Some((Err(error), None)),
                next => Some((next, Some(prefetch))),
            }
        }))
    }
}

impl<T: Payload> Prefetch<T> {
    pub(super) fn new(queue: WorkQueue<T>, prefetch: usize) -> Self {
        Self {
            queue,
            most: prefetch.clamp(1, 2 * CLAIM_ITEMS),
            fetched: VecDeque::new(),
            coming: None,
            ahead: 1,
            last: Instant::now(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Delivery<T>, Error> {
        if self.last.elapsed() > PACE {
            self.ahead = (self.ahead / 2).max(1);
        }
        loop {
            if *self.queue.inner.closing.borrow() {
                Assignment::give_back(self.fetched.drain(..));
                return Err(self.queue.inner.store.zk.ended().unwrap_or(Error::Closed));
            }
            self.fetch().await?;
            if self.fetched.is_empty() {
                self.wait().await?;
                continue;
            }
            if !self.fetched.front().is_some_and(Assignment::is_noted) {
                self.ahead = (self.ahead * 2).min(AHEAD);
                Assignment::note(self.fetched.iter().take(self.ahead)).await;
                if !self.fetched.front().is_some_and(Assignment::is_noted) {
                    // It was lost meanwhile, and goes back.
                    self.fetched.pop_front();
                    continue;
                }
            }
            if *self.queue.inner.closing.borrow() {
                continue;
            }
            let Some(assignment) = self.fetched.pop_front() else {
                continue;
            };
            assignment.claim.open().ahead = self.ahead;
            if let Some(delivery) = Delivery::of(assignment) {
                self.last = Instant::now();
                return Ok(delivery);
            }
        }
    }

    /// Takes what has come, and asks for more if half of it is gone, so that not every item is fetched on its own.
    async fn fetch(&mut self) -> Result<(), Error> {
        if let Some(arrived) = self.coming.as_mut().and_then(FutureExt::now_or_never) {
            self.coming = None;
            self.fetched.extend(arrived.unwrap_or(Err(Error::Closed))?);
        }
        // What was lost in the meantime is another's.
        self.fetched
            .retain(|assignment| !assignment.claim.remaining().is_zero());
        if self.coming.is_none() && self.fetched.len() <= self.most / 2 {
            let missing = (self.most - self.fetched.len()).clamp(1, CLAIM_ITEMS);
            self.coming = Some(self.queue.demand(missing, self.ahead.min(missing), true, None).await?);
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Error> {
        if let Some(coming) = self.coming.as_mut() {
            let arrived = coming.await;
            self.coming = None;
            self.fetched.extend(arrived.unwrap_or(Err(Error::Closed))?);
        }
        Ok(())
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        Assignment::give_back(self.fetched.drain(..));
    }
}
