//! Items as a stream.

use std::collections::VecDeque;

use futures::{FutureExt, Stream, stream};
use tokio::sync::oneshot;

use super::{CLAIM_ITEMS, Delivery, WorkQueue};
use crate::error::Error;

type Coming = oneshot::Receiver<Result<Vec<Delivery>, Error>>;

/// Items that were fetched ahead, and those that are being fetched.
struct Prefetch {
    queue: WorkQueue,
    most: usize,
    fetched: VecDeque<Delivery>,
    coming: Option<Coming>,
}

impl WorkQueue {
    /// The items as they come, without end. Up to `prefetch` of them, at least one, are held ahead of those that were
    /// yielded, so that work need not wait for requests; they belong to this consumer already. Dropping the stream gives
    /// back what was not yielded, which does not count as an attempt.
    ///
    /// # Errors
    /// As [`pop`](Self::pop). After an error, which is one that retrying would not help, the next item is tried for again.
    ///
    /// # Cancel safety
    /// Dropping what waits for the next item loses nothing: what was fetched stays in the stream.
    ///
    /// # When the session is lost
    /// What was fetched and not yielded is lost with it, and not yielded; the stream goes on in the next session.
    pub fn deliveries(&self, prefetch: usize) -> impl Stream<Item = Result<Delivery, Error>> + Send + Unpin + use<> {
        let prefetch = Prefetch {
            queue: self.clone(),
            most: prefetch.clamp(1, 8 * CLAIM_ITEMS),
            fetched: VecDeque::new(),
            coming: None,
        };
        Box::pin(stream::unfold(prefetch, |mut prefetch| async move {
            let next = prefetch.next().await;
            Some((next.map(Delivery::delivered), prefetch))
        }))
    }
}

impl Prefetch {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            if let Some(arrived) = self.coming.as_mut().and_then(FutureExt::now_or_never) {
                self.coming = None;
                self.fetched.extend(arrived.unwrap_or(Err(Error::Closed))?);
            }
            // What was lost in the meantime is somebody else's.
            self.fetched.retain(|delivery| delivery.is_held());
            // Half of it at a time, so that not every item is fetched on its own.
            if self.coming.is_none() && self.fetched.len() <= self.most / 2 {
                let missing = (self.most - self.fetched.len()).min(CLAIM_ITEMS);
                self.coming = Some(self.queue.demand(missing.max(1), true, None).await?);
            }
            if let Some(delivery) = self.fetched.pop_front() {
                return Ok(delivery);
            }
            if let Some(coming) = self.coming.as_mut() {
                let arrived = coming.await;
                self.coming = None;
                self.fetched.extend(arrived.unwrap_or(Err(Error::Closed))?);
            }
        }
    }
}
