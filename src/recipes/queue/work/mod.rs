//! [`WorkQueue`]: work that is neither lost nor done twice.
//!
//! Three floors, of which none names a higher one:
//! * `store` – what stands in ZooKeeper
//! * `tasks` – what runs in this process
//! * what users see: `builder`, `push`, `pop`, `peek`, `item`, `delivery`, `stream`, `worker`, `status`, `info`, `dead`,
//!   `stats`, `claims`, `control`, `health`; `shared` is what their handles have in common
//!
//! `errors` is beside them.

mod builder;
mod claims;
mod control;
mod dead;
mod delivery;
mod errors;
mod health;
mod info;
mod item;
mod peek;
mod pop;
mod push;
mod shared;
mod stats;
mod status;
mod store;
mod stream;
mod tasks;
mod worker;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use self::shared::Inner;
use crate::error::Error;
use crate::session::Coordinator;
use crate::znode::Payload;

pub use self::builder::WorkQueueBuilder;
pub use self::claims::QueueClaims;
pub use self::dead::{DeadItem, PastAttempt};
pub use self::delivery::Delivery;
pub use self::errors::{
    AckError, CancelError, DeadItemError, PushError, PushTimeoutError, ResultError, ResultTimeoutError,
};
pub use self::info::ItemInfo;
pub use self::item::{NewItem, PushOptions};
pub use self::peek::ReadyItem;
pub use self::stats::{ClaimInfo, QueueStats, Turnover};
pub use self::status::ItemStatus;
#[cfg(feature = "_model")]
pub(crate) use self::store::PARSERS;
pub use self::store::{InvalidItemId, ItemId, Order, RetryPolicy};
#[cfg(feature = "_model")]
pub(crate) use self::tasks::model;
pub use self::worker::{Completion, Job, Summary, Worker};

/// A queue of tasks: each item is delivered to one consumer at a time, again if that one fails, until one acknowledges
/// it.
///
/// Items are delivered **at least once**. Their effects inside the ensemble happen exactly once: an
/// [`ack`](Delivery::ack), its result and the next steps that it pushes are one transaction, which commits only while
/// the item is still this consumer's. For effects elsewhere, the [`id`](Delivery::id) of the item tells a repetition.
///
/// # States of an item
/// *Ready*, or *delayed* until it is due; *claimed* by a consumer; then *done*, or a *dead letter* after
/// [`max_attempts`](WorkQueueBuilder::max_attempts). [`status`](Self::status) tells. Each step is one transaction. The
/// claims of a consumer vanish with its session; those that are stuck can be taken over after
/// [`claim_timeout`](WorkQueueBuilder::claim_timeout). A node that cannot be read as an item becomes a dead letter.
///
/// # Order and fairness
/// By priority, then by time. An item that is given back keeps its place. Items of one [group](PushOptions::group) are
/// delivered in order and one at a time. With [`Order::Window`], consumers work side by side, and throughput grows with
/// their number. Consumers wait in line, process by process; a process can overtake a waiting one once.
///
/// # Values
/// Items are bytes. [`typed`](Self::typed) makes a handle whose items are values, for example `Json<T>` with the
/// feature `serde`.
///
/// # Layout
/// Ours; see `docs/queue.md`. No request lists a backlog. Curator's `DistributedQueue` cannot take part; for its simple
/// sister see [`FifoQueue`](super::FifoQueue).
///
/// # Cost
/// Push: one transaction, shared by what one process pushes at the same time. Pop: one transaction and reads in the
/// same round trip, while there is a backlog. Ack: one transaction of some 50 bytes, shared as that of a push. A
/// waiting consumer and an idle queue cost nothing.
///
/// # When the session is lost
/// Pushes, pops and waiting consumers go on in the next session. What was delivered is lost with its session, see
/// [`Delivery`].
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::queue::{PushOptions, WorkQueue};
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let recharges = WorkQueue::new(&zk, "/recharges")?;
/// recharges.push_with("+491701234567 10.00", PushOptions::new().key("order 4711")).await?;
///
/// let recharge = recharges.pop().await?;
/// match recharge.run_until_lost(top_up(recharge.id().as_str(), recharge.payload())).await? {
///     Ok(()) => recharge.ack().await?,
///     Err(_) => recharge.nack_after(std::time::Duration::from_secs(5)).await?,
/// }
/// # async fn top_up(id: &str, order: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "DistributedQueue")]
#[doc(alias = "LockingQueue")]
#[doc(alias = "task queue")]
pub struct WorkQueue<T = Bytes> {
    inner: Arc<Inner>,
    values: PhantomData<fn() -> T>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            values: PhantomData,
        }
    }
}

impl<T> fmt::Debug for WorkQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkQueue")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

impl WorkQueue {
    /// Makes a handle of the queue at `path`, below the chroot, with the options that stand in the queue. Nothing is
    /// sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Self::builder(zk, path).build()
    }

    /// Begins a handle with options.
    ///
    /// ```no_run
    /// # fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), zookeeper_recipes::Error> {
    /// use std::time::Duration;
    /// use zookeeper_recipes::queue::{Order, RetryPolicy, WorkQueue};
    ///
    /// let mails = WorkQueue::builder(&zk, "/mails")
    ///     .order(Order::Window(16))
    ///     .retry(RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(600)))
    ///     .max_attempts(10)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(zk: &Coordinator, path: &str) -> WorkQueueBuilder {
        WorkQueueBuilder::new(zk, path)
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
            values: PhantomData,
        }
    }
}

impl<T> WorkQueue<T> {
    /// Returns the path of the queue, from the chroot.
    pub fn path(&self) -> &str {
        self.inner.store.path()
    }

    /// Returns a handle of the same queue whose items are values.
    ///
    /// An item that cannot be read as a value becomes a dead letter, and the next one is delivered.
    pub fn typed<U: Payload>(self) -> WorkQueue<U> {
        WorkQueue {
            inner: self.inner,
            values: PhantomData,
        }
    }

    /// Closes the queue for this process: ends pops with [`Error::Closed`], gives items back that were fetched and not
    /// handed out, untried, and waits until all that was acknowledged or given back has been written.
    ///
    /// **Close before you exit.** Deliveries that are still held can be settled, and are given back when they are dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue closed, and the rest to the background.
    pub async fn close(&self) {
        self.inner.closing.send_replace(true);
        // Without it, there is no task to wait for.
        self.inner.never_start();
        // The task that takes items ends, and gives back what it has.
        self.inner.demands.closed().await;
        self.inner.settling.flushed().await;
    }
}
