//! [`FifoQueue`]: items in order, each delivered at most once, on Curator's znodes.
//!
//! * `backlog` – the items as listed last, in order
//! * `take` – the way of one item out of the queue
//! * `undelivered` – what was removed for a pop that was dropped
//! * `errors` – why an item was not pushed or popped

mod backlog;
mod errors;
mod take;
mod undelivered;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use zookeeper_client as zk;

use self::backlog::{Backlog, PREFIX, sequence};
use self::undelivered::{Kept, PoppedItem};
use crate::error::Error;
use crate::line::{ContenderNames, Line};
use crate::session::{CleanupToken, Coordinator, Health, Interrupted, Operation, Session, count, refused};
use crate::znode::{
    LedgerOutcome, Ledgers, NodePath, Parents, create, elapsed, ensure_path, list, read, retry_across_sessions, until,
};

pub use self::errors::{FifoPopError, FifoPopTimeoutError, FifoPushError};

/// A queue of bytes, first in, first out, on the znodes of Curator's `SimpleDistributedQueue`: Java and Rust push and
/// pop in one queue.
///
/// # At most once
/// An item is removed from the queue before it is handed out. **A consumer that dies in its work has lost the item**;
/// nothing delivers it again. That is what this layout can do, and what Curator's class does. In what it does we are
/// stricter: an item is pushed once and delivered once even if replies are lost (Curator's class pushes such an item
/// twice, or drops it: its `offer` and its `delete` are sent again, and the second answer is taken for the first), and
/// a dropped future loses nothing.
///
/// # Layout
/// `<path>/qn-<seq>`, persistent, is one item; its data is the item, as it is. Children of other names are ignored.
/// What only we use stands beside it, so that Curator neither warns of it nor wakes up for it:
/// `<path>-__fifo__/line/_c_<uuid>-lock-<seq>` is a consumer that waits, `<path>-__fifo__/ledgers/<uuid>` an ephemeral
/// node that each of our transactions writes, by which the fate of one whose reply was lost is told for sure. The
/// queue's own node is persistent: a directory that the server removes when it is empty would give the names of former
/// items to new ones. Other parents are containers, and so is the queue's own node where Curator has made it.
///
/// # Rights
/// All rights on `<path>`, and on `<path>-__fifo__` beside it. Where `<path>` is yours and its parent is not, let an
/// operator create `<path>-__fifo__` with the ACL of `<path>`: creating it needs CREATE on the parent.
///
/// # Order
/// Items leave in the order in which the ensemble took them in. Of the consumers that wait, the first in line gets the
/// next item, unless one that comes just then, or one that runs Curator, is faster.
///
/// # Cost
/// Push: one request. Pop: two requests, a read and a transaction; and a list for each backlog, not for each item,
/// since what was listed is remembered in the handle. The first use in a session makes a ledger, two requests. A
/// consumer that begins to wait sends five more (its place in line, and three watches or lists), and one when it
/// leaves; while the queue is idle it costs nothing, and an item wakes one of ours, which lists the queue. (Of
/// Curator's, it wakes all.) The queue's directory is listed as a whole, so that a backlog is limited by the size of a
/// reply, 1 MiB by default in Java, which is about 60,000 items.
///
/// # When the session is lost
/// Items stay. Consumers that wait go on in the next session.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::queue::FifoQueue;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let mails = FifoQueue::new(&zk, "/mails")?;
///
/// mails.push("to: accounts@example.org").await?;
/// let mail = mails.pop().await?;
/// assert_eq!(mail, "to: accounts@example.org");
/// # Ok(())
/// # }
/// ```
#[doc(alias = "SimpleDistributedQueue")]
#[doc(alias = "Queue")]
#[derive(Clone, Debug)]
pub struct FifoQueue {
    shared: Arc<FifoInner>,
}

#[derive(Debug)]
struct FifoInner {
    zk: Coordinator,
    path: NodePath,
    /// Consumers that wait.
    line: Line,
    ledgers: Ledgers,
    backlog: Arc<Backlog>,
    undelivered: Arc<Kept>,
    /// How many items are being removed.
    removing: watch::Sender<usize>,
    closed: watch::Sender<bool>,
}

impl FifoQueue {
    /// A queue at `path`, below the chroot. Nothing is sent; the node at `path` is made by the first push.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        let beside = |name: &str| NodePath::new(&format!("{path}-__fifo__/{name}"));
        Ok(Self {
            shared: Arc::new(FifoInner {
                zk: zk.clone(),
                line: Line::new(zk.clone(), beside("line")?, ContenderNames::CURATOR_LOCK),
                ledgers: Ledgers::new(beside("ledgers")?),
                backlog: Arc::default(),
                undelivered: Arc::new(Kept::new(path.as_str())),
                removing: watch::Sender::new(0),
                closed: watch::Sender::new(false),
                path,
            }),
        })
    }

    /// The path of the queue, from the chroot.
    pub fn path(&self) -> &str {
        self.shared.path.as_str()
    }

    /// Puts an item at the end of the queue, once.
    ///
    /// # Errors
    /// * [`FifoPushError::Indeterminate`]: the session ended before an answer came.
    /// * [`FifoPushError::Error`]: what retrying would not help, among others [`Error::TooLarge`] with the limit.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the item is in the queue.
    pub async fn push(&self, item: impl Into<Bytes>) -> Result<(), FifoPushError> {
        let (queue, item) = (&self.shared, &item.into());
        queue.check_open()?;
        queue.zk.check_transaction_size(self.path(), item.len())?;
        retry_across_sessions(&queue.zk, |session| async move { queue.push_in(&session, item).await }).await?
    }

    /// Takes the first item, and waits for one if there is none, however long it takes.
    ///
    /// # Errors
    /// * [`FifoPopError::Indeterminate`]: the session ended while an item was being removed, for this pop or for one of
    ///   this handle that was dropped, and the item is gone.
    /// * [`FifoPopError::Error`]: what retrying would not help: [`Error::Denied`] or [`Error::Layout`] for an item that
    ///   cannot be read or removed, which stays.
    ///
    /// # Cancel safety
    /// Dropping the future loses no item: one that is being removed at that moment goes to the next pop of this handle
    /// or a clone of it, and so does the error if it cannot be known whether it was removed. If there is none any more,
    /// it is lost with the last of them.
    ///
    /// A future that is kept and not polled keeps its place in line, and at the head it stops all consumers behind it,
    /// in other processes too: poll it or drop it. (`&mut pop` in a `select!` whose other branch works for long is such
    /// a one.)
    ///
    /// # When the session is lost
    /// The future goes on waiting in the next session.
    pub async fn pop(&self) -> Result<Bytes, FifoPopError> {
        let zk = &self.shared.zk;
        let popped = until(zk, zk.shutting_down(), |cleanup| async move {
            self.pop_witnessed(Some(&cleanup)).await
        });
        match popped.await? {
            Some(item) => Ok(item),
            None => self.removed_late().unwrap_or_else(|| Err(self.closed().into())),
        }
    }

    /// Takes the first item if there is one, as seen by the server that we are connected to. An empty queue costs one
    /// list.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn try_pop(&self) -> Result<Option<Bytes>, FifoPopError> {
        let (queue, zk) = (&self.shared, &self.shared.zk);
        queue.check_open()?;
        if let Some(outcome) = queue.undelivered.pop() {
            return outcome.map(Some);
        }
        let taken = until(zk, zk.shutting_down(), |cleanup| async move {
            let cleanup = &cleanup;
            retry_across_sessions(zk, |session| async move { queue.take(&session, Some(cleanup)).await }).await
        });
        match taken.await? {
            Some(taken) => taken.map(PoppedItem::deliver).transpose(),
            None => self
                .removed_late()
                .unwrap_or_else(|| Err(self.closed().into()))
                .map(Some),
        }
    }

    /// [`pop`](Self::pop) for at most `limit`, requests to the ensemble included; after that it may take another half
    /// second to leave the line, or to see what became of an item that was being removed.
    ///
    /// # Errors
    /// [`FifoPopTimeoutError::Elapsed`] if the time is up. An item that was being removed then, by a request that has
    /// no answer yet, goes to the next pop of this handle.
    ///
    /// # Cancel safety
    /// As [`pop`](Self::pop).
    pub async fn pop_timeout(&self, limit: Duration) -> Result<Bytes, FifoPopTimeoutError> {
        let zk = &self.shared.zk;
        let end = async {
            let _ = zk.timeout(limit, zk.shutting_down()).await;
        };
        let popped = until(
            zk,
            end,
            |cleanup| async move { self.pop_witnessed(Some(&cleanup)).await },
        );
        if let Some(item) = popped.await? {
            return Ok(item);
        }
        match self.removed_late() {
            Some(outcome) => Ok(outcome?),
            None if zk.draining().has_begun() => Err(FifoPopError::from(self.closed()).into()),
            None => Err(elapsed(zk, self.path(), limit)),
        }
    }

    /// Returns whether this process can push and pop: live unless the queue or the coordinator is closed, ready while
    /// a server is connected. A consumer that waits for items is ready. It costs no request.
    ///
    /// ```no_run
    /// # fn example(queue: &zookeeper_recipes::queue::FifoQueue) {
    /// // queue /orders: ready; 0 popped items to be handed out
    /// println!("{}", queue.health());
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let queue = &self.shared;
        let kept = count(queue.undelivered.len(), "popped item");
        let message = format!("{kept} to be handed out");
        match *queue.closed.borrow() {
            true => Health::closed("queue", self.path(), &message),
            false => queue.zk.health_of("queue", self.path(), || (true, message)),
        }
    }

    /// The first item, which stays in the queue. Another consumer may have it before you.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn peek(&self) -> Result<Option<Bytes>, Error> {
        let queue = &self.shared;
        if let Some(item) = queue.undelivered.peek() {
            return Ok(Some(item));
        }
        retry_across_sessions(&queue.zk, |session| async move { queue.peek_in(&session).await }).await
    }

    /// How many items are in the queue: one list.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn len(&self) -> Result<usize, Error> {
        let queue = &self.shared;
        let children =
            retry_across_sessions(&queue.zk, |session| async move { list(&session, &queue.path).await }).await?;
        Ok(children.iter().filter(|name| sequence(name).is_some()).count())
    }

    /// Whether the queue is empty: one list.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// Closes the queue for this handle and its clones: their pops end with [`Error::Closed`], and nothing more is pushed
    /// or popped. Returns what had been removed for pops that were dropped, or may have: it stands in the queue no more,
    /// and would be lost with the last handle.
    ///
    /// **Close before you exit** where pops are dropped, for example in a `select!`. It waits for removals that are on their
    /// way; bound it with [`tokio::time::timeout`] where the link may be dead.
    ///
    /// ```no_run
    /// # async fn example(mails: zookeeper_recipes::queue::FifoQueue) {
    /// for mail in mails.close().await.into_iter().flatten() {
    ///     println!("removed, and not sent: {mail:?}");
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future leaves the queue closed. Another call returns what this one would have returned.
    pub async fn close(&self) -> Vec<Result<Bytes, FifoPopError>> {
        let queue = &self.shared;
        queue.closed.send_replace(true);
        // It does not fail while this sender is there.
        let _ = queue.removing.subscribe().wait_for(|removing| *removing == 0).await;
        std::iter::from_fn(|| queue.undelivered.pop()).collect()
    }

    /// What was being removed for a pop when its time was up or the shutdown began.
    fn removed_late(&self) -> Option<Result<Bytes, FifoPopError>> {
        self.shared.undelivered.pop()
    }

    fn closed(&self) -> Error {
        self.shared.zk.ended().unwrap_or(Error::Closed)
    }

    async fn pop_witnessed(&self, cleanup: Option<&CleanupToken>) -> Result<Bytes, FifoPopError> {
        let queue = &self.shared;
        let waiting = retry_across_sessions(&queue.zk, |session| async move {
            queue.wait_and_take(&session, cleanup).await
        });
        let mut closed = queue.closed.subscribe();
        tokio::select! {
            biased;
            outcome = queue.undelivered.next() => outcome,
            // Before the close: what was removed for this pop is not to come after it.
            taken = waiting => taken?.deliver(),
            _ = closed.wait_for(|closed| *closed) => Err(Error::Closed.into()),
        }
    }
}

impl FifoInner {
    fn check_open(&self) -> Result<(), Error> {
        match *self.closed.borrow() {
            true => Err(self.zk.ended().unwrap_or(Error::Closed)),
            false => Ok(()),
        }
    }

    async fn push_in(&self, session: &Arc<Session>, item: &Bytes) -> Result<Result<(), FifoPushError>, Interrupted> {
        let path = self.path.as_str();
        let create = [Operation::create(
            self.path.child(PREFIX),
            item.clone(),
            zk::CreateMode::PersistentSequential,
        )];
        loop {
            match self.ledgers.commit(session, path, &create).await? {
                LedgerOutcome::Committed(_) => return Ok(Ok(())),
                LedgerOutcome::Indeterminate { .. } => return Ok(Err(FifoPushError::Indeterminate)),
                LedgerOutcome::Refused(_, zk::Error::NoNode) => self.make_directory(session).await?,
                LedgerOutcome::Refused(_, zk::Error::NodeExists) => {
                    let reason = "its sequence numbers are used up; remove the node once the queue is empty";
                    let path = path.to_owned();
                    return Err(Error::Layout { path, reason }.into());
                }
                LedgerOutcome::Refused(_, source) => return Err(Error::from_answer(path, source).into()),
            }
        }
    }

    /// A directory that the server removes when it is empty is made again with the same names for other items: a
    /// consumer that has read one just before removes the other. Hence no container.
    async fn make_directory(&self, session: &Arc<Session>) -> Result<(), Interrupted> {
        let created = create(session, self.path.as_str(), &[], zk::CreateMode::Persistent).await?;
        match (created, self.path.parent()) {
            (Ok(()) | Err(zk::Error::NodeExists), _) => Ok(()),
            (Err(zk::Error::NoNode), Some(parent)) => {
                ensure_path(session, &parent, Parents::Containers).await?;
                ensure_path(session, &self.path, Parents::Persistent).await
            }
            (Err(source), _) => Err(refused(self.path.as_str(), source)),
        }
    }

    async fn peek_in(&self, session: &Arc<Session>) -> Result<Option<Bytes>, Interrupted> {
        while let Some(first) = self.backlog.first(session, &self.path).await? {
            match read(session, &self.path.child(&first.name)).await? {
                Some((item, stat)) if first.is(&stat) => return Ok(Some(item.into())),
                Some(_) => self.backlog.outdated(&first),
                None => self.backlog.forget(&first),
            }
        }
        Ok(None)
    }
}
