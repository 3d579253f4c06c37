//! [`WorkQueueBuilder`]: the options of a queue, before there is a handle.

use std::time::Duration;

use super::store::{Asked, Order, RetryPolicy};
use super::{Inner, WorkQueue};
use crate::error::Error;
use crate::session::Coordinator;
use crate::znode::NodePath;

/// The options of a [`WorkQueue`].
///
/// All users of a queue share its options: they stand in the queue's node, and the first user writes them. What a
/// handle does not ask for it takes from there; what it asks for otherwise is an error that shows both
/// ([`Error::OptionMismatch`]), with its first request.
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use zookeeper_recipes::queue::{Order, RetryPolicy, WorkQueue};
///
/// let recharges = WorkQueue::builder(&zk, "/recharges")
///     .order(Order::Window(16))
///     .max_attempts(5)
///     .retry(RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(60)))
///     .capacity(10_000)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "build makes the handle"]
pub struct WorkQueueBuilder {
    zk: Coordinator,
    path: String,
    asked: Asked,
}

impl WorkQueueBuilder {
    pub(super) fn new(zk: &Coordinator, path: &str) -> Self {
        Self {
            zk: zk.clone(),
            path: path.to_owned(),
            asked: Asked::default(),
        }
    }

    /// Sets in which order items are delivered: strictly, unless set.
    pub fn order(mut self, order: Order) -> Self {
        self.asked.order = Some(order);
        self
    }

    /// Sets how often an item is delivered before it becomes a dead letter: 5 times unless set, at least once, and at most 65,535 times.
    ///
    /// An item that was lost with a consumer before is given its last attempt alone: its handle hands it out when nothing
    /// else of it is open. So an item that kills its consumers takes no others with it.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.asked.max_attempts = Some(attempts.clamp(1, u32::from(u16::MAX)));
        self
    }

    /// Sets how long an item waits after a [`nack`](super::Delivery::nack): not at all, unless set.
    #[doc(alias = "backoff")]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.asked.retry = Some(policy);
        self
    }

    /// Sets how long a consumer may hold an item before another one may have it: without limit unless set, while the
    /// session lives. [`extend`](super::Delivery::extend) puts the end off.
    #[doc(alias = "visibility timeout")]
    pub fn claim_timeout(mut self, timeout: Duration) -> Self {
        self.asked.claim_timeout = Some(Some(timeout));
        self
    }

    /// Sets how many items the queue may hold: ready, delayed and claimed ones. Unbounded unless set.
    ///
    /// Whatever changes the number of items of a bounded queue takes turns, which makes it slower for many processes.
    pub fn capacity(mut self, items: u64) -> Self {
        self.asked.capacity = Some(Some(items));
        self
    }

    /// Sets how long outcomes are kept after the end of their items: a day unless set.
    pub fn result_retention(mut self, retention: Duration) -> Self {
        self.asked.retention = Some(retention);
        self
    }

    /// Sets how long idempotency keys are kept after the end of their items: as long as outcomes unless set.
    pub fn dedupe(mut self, time: Duration) -> Self {
        self.asked.dedupe = Some(time);
        self
    }

    /// Makes waiting items more urgent: by one step of priority in each such time. Not at all unless set.
    pub fn aging(mut self, step: Duration) -> Self {
        self.asked.aging = Some(Some(step));
        self
    }

    /// Keeps the outcome of every item, and not only of those that ask for it.
    pub fn keep_all_outcomes(mut self) -> Self {
        self.asked.all_outcomes = Some(true);
        self
    }

    /// Makes the handle. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn build(self) -> Result<WorkQueue, Error> {
        let path = NodePath::new(&self.path)?;
        Ok(WorkQueue::of(Inner::new(self.zk, path, self.asked)))
    }
}
