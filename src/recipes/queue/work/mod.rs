//! [`WorkQueue`]: work that is neither lost nor done twice.
//!
//! * `item`, `segment`, `layout` – what items are, how they are written, and where
//! * `level` – the queue's own node: what it is, and how many items a bounded one holds
//! * `shared`, `draft` – transactions, each committed exactly once
//! * `produce`, `keys` – pushing
//! * `front`, `claim`, `demand`, `consume` – what is next, taking it, who wants it, and waiting for it
//! * `delivery`, `settle` – an item that is being worked on, and what becomes of it
//! * `inspect`, `dead` – what is known of an item, and those that nobody could handle
//! * `typed` – items that are values, as JSON; with the feature `serde`
//! * `errors`, `options` – what users are told, and what they choose

mod claim;
mod consume;
mod dead;
mod delivery;
mod demand;
mod draft;
mod errors;
mod front;
mod inspect;
mod item;
mod keys;
mod layout;
mod level;
mod options;
mod produce;
mod segment;
mod settle;
mod shared;
mod stream;
#[cfg(feature = "serde")]
mod typed;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use self::consume::{CLAIM_ITEMS, take_all};
use self::demand::Demand;
use self::options::Settings;
use self::produce::{Push, check_items, push_all};
use self::settle::{Settlement, settle_all};
use self::shared::QueueInner;
use crate::error::{Error, WaitTimeoutError};
use crate::session::{CleanupToken, Coordinator};
use crate::znode::{NodePath, elapsed, with_deadline};

pub use self::dead::DeadItem;
pub use self::delivery::Delivery;
pub use self::errors::{AckError, DeadItemError, PushError, PushTimeoutError, ResultError, ResultTimeoutError};
pub use self::inspect::ItemStatus;
pub use self::item::{InvalidItemId, ItemId, NewItem, PushOptions};
#[cfg(feature = "serde")]
pub use self::typed::{TypedDelivery, TypedQueue};

/// A queue of tasks: each item is delivered to one consumer at a time, again if that one fails, until one of them
/// acknowledges it.
///
/// At least once, then; and exactly once in its effects inside the ensemble: an [`ack`](Delivery::ack), its result and
/// the next steps that it pushes are one transaction, which commits only while the item is still this consumer's. For
/// effects elsewhere, the [`id`](Delivery::id) of the item tells a repetition.
///
/// # States of an item
/// *Ready*, or *delayed* until it is due; *claimed* by a consumer; then *done*, with or without a result, or *dead* after
/// [`max_attempts`](Self::max_attempts). [`status`](Self::status) tells. An item is in one of them at every moment: each
/// step is one transaction. A consumer that dies gives its items back when its session ends, one that is stuck after
/// [`claim_timeout`](Self::claim_timeout); whoever waits first in line sees to that. What cannot be read as an item is put
/// to the dead ones, never away.
///
/// # Order and fairness
/// By priority, then by due time, then by arrival as the ensemble saw it. An item that was given back keeps its place.
/// Consumers are served in the order in which they came, process by process; those of one process, which use clones of one
/// `WorkQueue`, share a place. Who finds nobody in line takes at once and does not stand there. So whoever comes to stand
/// in line may be passed by, by each other process once at most: by a claim for which that one had looked before.
///
/// # Typed items
/// Items are bytes. With the feature `serde`, `typed()` makes a `TypedQueue` of the queue, whose items are values.
///
/// # Layout
/// Ours; see `docs/queue.md`. Items that are pushed together stand in one node, up to 128, and no request lists a backlog.
/// Curator's `DistributedQueue`, which does, cannot take part; for its simple sister see [`FifoQueue`](super::FifoQueue).
///
/// # Cost
/// Push: one transaction; what one process pushes at the same time shares it. Pop: six lists, sent together (two or more
/// others while something of that priority was given back or delayed), a read for each node with items, one transaction;
/// up to 128 items at once. A place in line, where others take as well, is a create, two watches and
/// another look more. Ack: one transaction,
/// shared like that of a push. A waiting consumer, and an idle queue, cost nothing. An arriving item wakes the first
/// consumer in line.
///
/// # When the session is lost
/// Pushes, pops and whoever waits go on in the next session. What was delivered is lost with its session, see
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
#[derive(Clone, Debug)]
pub struct WorkQueue {
    shared: Arc<QueueInner>,
    tasks: Arc<Tasks>,
}

/// The ways to the tasks of a queue, and what they are made of until they are needed.
#[derive(Debug)]
struct Tasks {
    pushes: mpsc::UnboundedSender<Push>,
    demands: mpsc::UnboundedSender<Demand>,
    settling: mpsc::UnboundedSender<Settlement>,
    idle: Mutex<Option<Receivers>>,
}

#[derive(Debug)]
struct Receivers {
    pushes: mpsc::UnboundedReceiver<Push>,
    demands: mpsc::UnboundedReceiver<Demand>,
    settlements: mpsc::UnboundedReceiver<Settlement>,
}

impl Tasks {
    fn new() -> Self {
        let (pushes, push_receiver) = mpsc::unbounded_channel();
        let (demands, demand_receiver) = mpsc::unbounded_channel();
        let (settling, settlement_receiver) = mpsc::unbounded_channel();
        let receivers = Receivers {
            pushes: push_receiver,
            demands: demand_receiver,
            settlements: settlement_receiver,
        };
        Self {
            pushes,
            demands,
            settling,
            idle: Mutex::new(Some(receivers)),
        }
    }
}

impl WorkQueue {
    /// The queue at `path`, below the chroot. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        let shared = QueueInner::new(zk.clone(), NodePath::new(path)?, Settings::default());
        Ok(Self {
            shared: Arc::new(shared),
            tasks: Arc::new(Tasks::new()),
        })
    }

    fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings;
        change(&mut settings);
        let shared = QueueInner::new(self.shared.zk.clone(), self.shared.layout.root().clone(), settings);
        Self {
            shared: Arc::new(shared),
            tasks: Arc::new(Tasks::new()),
        }
    }

    /// How often an item is delivered before it is put to the dead ones: 5 times unless set. At least once.
    ///
    /// Items that are claimed together are lost together with their consumer. So that one that kills its consumers takes
    /// no other with it, each is claimed alone for its last attempt; with a single attempt that is always.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Self {
        self.with(|settings| settings.max_attempts = attempts.max(1))
    }

    /// How many items the queue may hold: ready, delayed and claimed ones. Unbounded unless set. All users of a queue that
    /// set it have to set the same; those who do not keep to what the first one set.
    ///
    /// A bounded queue is slower for many processes: whatever changes the number of its items takes turns.
    #[must_use]
    pub fn capacity(self, items: u64) -> Self {
        self.with(|settings| settings.capacity = Some(items))
    }

    /// How long this consumer may hold an item: after that it is taken away and delivered again, as soon as another
    /// consumer waits or takes something. Without limit unless set: a consumer holds its items while its session lives.
    #[must_use]
    pub fn claim_timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.claim_timeout = Some(timeout))
    }

    /// How long results and idempotency keys are kept after their items are done: a day unless set. They are removed
    /// when a consumer waits or takes something after that time.
    #[must_use]
    pub fn result_retention(self, retention: Duration) -> Self {
        self.with(|settings| settings.result_retention = retention)
    }

    /// The queue as one of values, which are written as JSON.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn typed<T>(self) -> TypedQueue<T> {
        TypedQueue::of(self)
    }

    /// The path of the queue, from the chroot.
    pub fn path(&self) -> &str {
        self.shared.path()
    }

    /// Adds an item, and returns its id once the ensemble has it. Waits while a bounded queue is full.
    ///
    /// # Errors
    /// * [`PushError::Indeterminate`]: the session ended before the answer came; with a [key](PushOptions::key) only if
    ///   the coordinator has ended as well.
    /// * [`Error::TooLarge`] for more than 1,000,000 bytes.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is pushed, unless it was waiting for room.
    pub async fn push(&self, item: impl Into<NewItem>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), true).await
    }

    /// Adds an item with options.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::InvalidKey`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_with(&self, payload: impl Into<Bytes>, options: PushOptions) -> Result<ItemId, PushError> {
        self.push_one(NewItem::new(payload).with(options), true).await
    }

    /// Adds an item unless a bounded queue is full.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::QueueFull`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn try_push(&self, item: impl Into<NewItem>) -> Result<ItemId, PushError> {
        self.push_one(item.into(), false).await
    }

    /// Adds an item, waiting for room in a bounded queue for at most `limit`, requests to the ensemble included.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushTimeoutError::Elapsed`].
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_timeout(&self, item: impl Into<NewItem>, limit: Duration) -> Result<ItemId, PushTimeoutError> {
        let pushed = self.shared.zk.timeout(limit, self.push(item)).await;
        pushed.map_or_else(
            || Err(elapsed(&self.shared.zk, self.path(), limit)),
            |pushed| Ok(pushed?),
        )
    }

    /// Adds items in one transaction: all of them, but for those whose keys were pushed before, or none. Returns their
    /// ids, in their order. All of them together have to fit into one request, of 1 MiB. Waits while a bounded queue has
    /// no room for all.
    ///
    /// # Errors
    /// As [`push`](Self::push), [`Error::TooLarge`] also if they do not fit into one request, and
    /// [`PushError::NeverFits`] if they are more than a bounded queue may hold.
    ///
    /// # Cancel safety
    /// As [`push`](Self::push).
    pub async fn push_all(
        &self,
        items: impl IntoIterator<Item = impl Into<NewItem>>,
    ) -> Result<Vec<ItemId>, PushError> {
        self.push_many(items.into_iter().map(Into::into).collect(), true).await
    }

    async fn push_one(&self, item: NewItem, waits: bool) -> Result<ItemId, PushError> {
        let mut ids = self.push_many(vec![item], waits).await?;
        ids.pop().ok_or(PushError::Error(Error::Closed))
    }

    async fn push_many(&self, items: Vec<NewItem>, waits: bool) -> Result<Vec<ItemId>, PushError> {
        check_items(self.path(), &items)?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.start().await?;
        let (reply, pushed) = oneshot::channel();
        let push = Push {
            items,
            waits,
            doubtful: None,
            needed: 0,
            reply,
        };
        // Errors mean that the task is gone with its runtime, maybe while this was on its way.
        if self.tasks.pushes.send(push).is_err() {
            return Err(Error::Closed.into());
        }
        pushed
            .await
            .unwrap_or_else(|_| Err(PushError::Indeterminate { ids: Vec::new() }))
    }

    /// Waits for an item, however long it takes: lost connections, expired sessions and servers that are away are waited
    /// out.
    ///
    /// # Errors
    /// [`Error`] for what retrying would not help.
    ///
    /// # Fairness
    /// It stands in line behind those who wait already, if there are any; otherwise it takes at once. Who comes to stand in
    /// line is passed by once at most by this process, and by each other one.
    ///
    /// # Cancel safety
    /// Dropping the future loses the place in line; an item that was on its way goes to somebody else, and this does not
    /// count as an attempt.
    ///
    /// # Cost
    /// Where nobody else waits or takes, three round trips: six lists, a read, a transaction. Else a place in line comes
    /// before that, and whoever is ahead. Waiting for an item costs nothing.
    pub async fn pop(&self) -> Result<Delivery, Error> {
        loop {
            if let Some(delivery) = self.take(1, true).await?.pop() {
                return Ok(delivery);
            }
        }
    }

    /// Takes an item if there is one that nobody else takes. While there is one and others wait, it waits for its turn.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn try_pop(&self) -> Result<Option<Delivery>, Error> {
        Ok(self.take(1, false).await?.pop())
    }

    /// Waits for an item for at most `limit`, requests to the ensemble included.
    ///
    /// On a timeout the place in line is removed before this returns, which may take another half second, unless
    /// others of this process wait in it.
    ///
    /// # Errors
    /// [`WaitTimeoutError::Elapsed`] when the time is up, else as [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_timeout(&self, limit: Duration) -> Result<Delivery, WaitTimeoutError> {
        let popped = with_deadline(&self.shared.zk, limit, |cleanup| async move {
            loop {
                let taken = self.demand(1, true, Some(cleanup.clone())).await?.await;
                let taken = taken.unwrap_or(Err(Error::Closed))?;
                if let Some(delivery) = taken.into_iter().next() {
                    return Ok::<_, Error>(delivery.delivered());
                }
            }
        });
        popped
            .await?
            .ok_or_else(|| elapsed(&self.shared.zk, self.path(), limit))
    }

    /// Waits for one item, and takes up to `most` of those that are there then: at most 128, and 256 KiB of them unless
    /// it is a single one. At least one is returned, unless `most` is 0. All of them together cost what a
    /// [`pop`](Self::pop) costs, but for a read for each node with items.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Fairness
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_batch(&self, most: usize) -> Result<Vec<Delivery>, Error> {
        if most == 0 {
            return Ok(Vec::new());
        }
        loop {
            let taken = self.take(most.min(CLAIM_ITEMS), true).await?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    async fn take(&self, items: usize, waits: bool) -> Result<Vec<Delivery>, Error> {
        let taken = self.demand(items, waits, None).await?.await;
        let taken = taken.unwrap_or(Err(Error::Closed))?;
        Ok(taken.into_iter().map(Delivery::delivered).collect())
    }

    /// Asks for items, which are on their way from then on.
    async fn demand(
        &self,
        items: usize,
        waits: bool,
        cleanup: Option<CleanupToken>,
    ) -> Result<oneshot::Receiver<Result<Vec<Delivery>, Error>>, Error> {
        self.start().await?;
        let (reply, taken) = oneshot::channel();
        let demand = Demand {
            items,
            waits,
            cleanup,
            reply,
        };
        match self.tasks.demands.send(demand) {
            Ok(()) => Ok(taken),
            // The task is gone with its runtime.
            Err(_) => Err(Error::Closed),
        }
    }

    /// Starts the tasks, if that has not been done, on the runtime of the coordinator.
    async fn start(&self) -> Result<(), Error> {
        let is_idle = self.tasks.idle.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_idle {
            return Ok(());
        }
        let session = self.shared.zk.session().await?;
        let receivers = self.tasks.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(receivers) = receivers {
            let runtime = session.runtime();
            let shared = || Arc::clone(&self.shared);
            runtime.spawn(push_all(shared(), receivers.pushes));
            runtime.spawn(take_all(shared(), receivers.demands, self.tasks.settling.clone()));
            runtime.spawn(settle_all(shared(), receivers.settlements));
        }
        Ok(())
    }
}
