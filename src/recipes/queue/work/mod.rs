//! [`WorkQueue`]: work that is neither lost nor done twice.
//!
//! Three floors, of which none names a higher one:
//! * `store` – what stands in ZooKeeper
//! * `tasks` – what runs in this process
//! * what users see: `builder`, `item`, `payload`, `delivery`, `stream`, `worker`, `status`, `dead`, `stats`, `control`
//!
//! `errors` is beside them.

mod builder;
mod control;
mod dead;
mod delivery;
mod errors;
mod item;
mod payload;
mod stats;
mod status;
mod store;
mod stream;
mod tasks;
mod worker;

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use self::store::{Asked, Store};
use self::tasks::{
    Assignment, CLAIM_ITEMS, Demand, Popper, Push, Settlement, Settler, Settling, check_entries, push_all, settle_all,
    take_all, tidy_all,
};
use crate::error::{Error, WaitTimeoutError};
use crate::line::{ContenderNames, Line};
use crate::session::{CleanupToken, Coordinator};
use crate::znode::{NodePath, elapsed, with_deadline};

pub use self::builder::WorkQueueBuilder;
pub use self::dead::{DeadItem, PastAttempt};
pub use self::delivery::Delivery;
pub use self::errors::{
    AckError, CancelError, DeadItemError, PushError, PushTimeoutError, ResultError, ResultTimeoutError,
};
pub use self::item::{NewItem, PushOptions};
#[cfg(feature = "serde")]
pub use self::payload::Json;
pub use self::payload::Payload;
pub use self::stats::{ClaimInfo, QueueStats};
pub use self::status::ItemStatus;
pub use self::store::{InvalidItemId, ItemId, Order, RetryPolicy};
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
/// # QueueLayout
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
#[doc(alias = "task queue")]
pub struct WorkQueue<T = Bytes> {
    inner: Arc<Inner>,
    values: PhantomData<fn() -> T>,
}

/// What all handles of one queue in this process share.
#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    pushes: mpsc::UnboundedSender<Push>,
    demands: mpsc::UnboundedSender<Demand>,
    settling: Settling,
    closing: watch::Sender<bool>,
    idle: Mutex<Option<Receivers>>,
}

/// What the tasks are made of until they are needed.
#[derive(Debug)]
struct Receivers {
    pushes: mpsc::UnboundedReceiver<Push>,
    demands: mpsc::UnboundedReceiver<Demand>,
    settlements: mpsc::UnboundedReceiver<Vec<Settlement>>,
}

impl Inner {
    fn new(zk: Coordinator, path: NodePath, asked: Asked) -> Self {
        let (pushes, push_receiver) = mpsc::unbounded_channel();
        let (demands, demand_receiver) = mpsc::unbounded_channel();
        let (settlements, settlement_receiver) = mpsc::unbounded_channel();
        let receivers = Receivers {
            pushes: push_receiver,
            demands: demand_receiver,
            settlements: settlement_receiver,
        };
        Self {
            store: Arc::new(Store::new(zk, path, asked)),
            pushes,
            demands,
            settling: Settling::new(settlements),
            closing: watch::Sender::new(false),
            idle: Mutex::new(Some(receivers)),
        }
    }

    /// Starts the tasks, if that has not been done, on the runtime of the coordinator.
    async fn start(&self) -> Result<(), Error> {
        if *self.closing.borrow() {
            return Err(Error::Closed);
        }
        let is_idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_idle {
            return Ok(());
        }
        let session = self.store.zk.session().await?;
        let receivers = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receivers) = receivers else { return Ok(()) };
        let runtime = session.runtime();
        let (untidy, untidy_receiver) = mpsc::unbounded_channel();
        let given_back = Arc::new(AtomicBool::new(false));
        let consumers = self.store.layout.directory("consumers");
        let popper = Popper {
            store: Arc::clone(&self.store),
            line: Line::new(self.store.zk.clone(), consumers, ContenderNames::CURATOR_LOCK),
            settling: self.settling.clone(),
            given_back: Arc::clone(&given_back),
            untidy: untidy.clone(),
            closing: self.closing.subscribe(),
        };
        let settler = Settler {
            store: Arc::clone(&self.store),
            given_back,
            pending: self.settling.pending.clone(),
            untidy,
        };
        runtime.spawn(push_all(Arc::clone(&self.store), receivers.pushes));
        runtime.spawn(take_all(popper, receivers.demands));
        runtime.spawn(settle_all(settler, receivers.settlements));
        runtime.spawn(tidy_all(Arc::clone(&self.store), untidy_receiver));
        Ok(())
    }
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
        // The task that takes items ends, and gives back what it has.
        self.inner.demands.closed().await;
        self.inner.settling.flushed().await;
    }
}

impl<T: Payload> WorkQueue<T> {
    /// Pushes an item, and returns its id once the ensemble has it. Waits while a bounded queue is full.
    ///
    /// # Errors
    /// * [`PushError::Indeterminate`]: the session ended before the reply arrived; with a [key](PushOptions::key) only if
    ///   the coordinator has ended as well.
    /// * [`Error::TooLarge`] for more than 1,000,000 bytes.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is pushed, unless it was waiting for room.
    #[doc(alias = "enqueue")]
    #[doc(alias = "put")]
    pub async fn push(&self, item: impl Into<NewItem<T>>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), true).await
    }

    /// Pushes an item with options.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::InvalidKey`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_with(&self, item: impl Into<NewItem<T>>, options: PushOptions) -> Result<ItemId, PushError> {
        self.push_one(item.into().with(options), true).await
    }

    /// Pushes an item unless a bounded queue is full.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::QueueFull`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn try_push(&self, item: impl Into<NewItem<T>>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), false).await
    }

    /// Pushes an item, waiting for room in a bounded queue for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`TimeoutError::Elapsed`](crate::TimeoutError::Elapsed).
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_timeout(&self, item: impl Into<NewItem<T>>, limit: Duration) -> Result<ItemId, PushTimeoutError> {
        let zk = &self.inner.store.zk;
        let pushed = zk.timeout(limit, self.push(item)).await;
        pushed.map_or_else(|| Err(elapsed(zk, self.path(), limit)), |pushed| Ok(pushed?))
    }

    /// Pushes items in one transaction: all of them, but for those whose keys were pushed before, or none. Returns
    /// their ids, in their order. Waits while a bounded queue has no room for all.
    ///
    /// # Errors
    /// As [`push`](Self::push); [`Error::TooLarge`] if they do not fit into one request, of 1 MiB;
    /// [`PushError::NeverFits`] if they are more than a bounded queue may hold.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_all(
        &self,
        items: impl IntoIterator<Item = impl Into<NewItem<T>>>,
    ) -> Result<Vec<ItemId>, PushError> {
        self.push_many(items.into_iter().map(Into::into).collect(), true).await
    }

    async fn push_one(&self, item: NewItem<T>, waits: bool) -> Result<ItemId, PushError> {
        let mut ids = self.push_many(vec![item], waits).await?;
        ids.pop().ok_or(PushError::Error(Error::Closed))
    }

    async fn push_many(&self, items: Vec<NewItem<T>>, waits: bool) -> Result<Vec<ItemId>, PushError> {
        let entries = items.into_iter().map(NewItem::encode).collect::<Result<Vec<_>, _>>()?;
        check_entries(self.path(), &entries)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.start().await?;
        let (reply, pushed) = oneshot::channel();
        let push = Push {
            entries,
            waits,
            doubtful: None,
            needed: 0,
            reply,
        };
        // Errors mean that the task is gone with its runtime, maybe while this was on its way.
        if self.inner.pushes.send(push).is_err() {
            return Err(Error::Closed.into());
        }
        pushed
            .await
            .unwrap_or_else(|_| Err(PushError::Indeterminate { ids: Vec::new() }))
    }

    /// Waits for an item, however long it takes: lost connections, expired sessions and servers that are away are
    /// waited out.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Fairness
    /// While others wait in line, it joins the line; else it takes an item at once. Each other process can overtake it
    /// once.
    ///
    /// # Cancel safety
    /// Dropping the future loses the place in line. An item that was on its way goes to the next pop of this handle, or
    /// back after a moment; this does not count as an attempt.
    ///
    /// # Cost
    /// One round trip while there is a backlog, three for the first pop of a handle. Waiting costs nothing.
    #[doc(alias = "dequeue")]
    #[doc(alias = "take")]
    pub async fn pop(&self) -> Result<Delivery<T>, Error> {
        loop {
            if let Some(delivery) = self.take(1, true, None).await?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// Takes an item if there is one that no other consumer takes. While there is one and others wait, it waits for its
    /// turn.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn try_pop(&self) -> Result<Option<Delivery<T>>, Error> {
        loop {
            let demanded = self.demand(1, 1, false, None).await?.await;
            let taken = demanded.unwrap_or(Err(Error::Closed))?;
            if taken.is_empty() {
                return Ok(None);
            }
            if let Some(delivery) = taken.into_iter().find_map(Delivery::of) {
                return Ok(Some(delivery));
            }
        }
    }

    /// Waits for an item for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the place in line is removed before this returns, which may take another half second, unless other
    /// pops of this process wait in it.
    ///
    /// # Errors
    /// [`TimeoutError::Elapsed`](crate::TimeoutError::Elapsed) when the time is up, else as [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_timeout(&self, limit: Duration) -> Result<Delivery<T>, WaitTimeoutError> {
        let zk = &self.inner.store.zk;
        let popped = with_deadline(zk, limit, |cleanup| async move {
            loop {
                if let Some(delivery) = self.take(1, true, Some(cleanup.clone())).await?.pop() {
                    return Ok::<_, Error>(delivery);
                }
            }
        });
        popped.await?.ok_or_else(|| elapsed(zk, self.path(), limit))
    }

    /// Waits for one item, and takes up to `most` of those that are there then, 512 at most. At least one is returned,
    /// unless `most` is 0.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_batch(&self, most: usize) -> Result<Vec<Delivery<T>>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        loop {
            let taken = self.take(most.min(CLAIM_ITEMS), true, None).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    async fn take(&self, items: usize, waits: bool, cleanup: Option<CleanupToken>) -> Result<Vec<Delivery<T>>, Error> {
        let taken = self.demand(items, items, waits, cleanup).await?.await;
        let taken = taken.unwrap_or(Err(Error::Closed))?;
        Ok(taken.into_iter().filter_map(Delivery::of).collect())
    }

    /// Asks for items, which are on their way from then on.
    async fn demand(
        &self,
        items: usize,
        noted: usize,
        waits: bool,
        cleanup: Option<CleanupToken>,
    ) -> Result<oneshot::Receiver<Result<Vec<Assignment>, Error>>, Error> {
        self.inner.start().await?;
        let (reply, taken) = oneshot::channel();
        let demand = Demand {
            items,
            noted,
            waits,
            cleanup,
            reply,
        };
        match self.inner.demands.send(demand) {
            Ok(()) => Ok(taken),
            // The task is gone with its runtime, or the queue is closed.
            Err(_) => Err(self.inner.store.zk.ended().unwrap_or(Error::Closed)),
        }
    }
}
