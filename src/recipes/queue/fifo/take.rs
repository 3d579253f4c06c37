//! The way of one item out of the queue.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::backlog::LeasedItem;
use super::undelivered::PoppedItem;
use super::{FifoInner, FifoPopError};
use crate::error::Error;
use crate::session::{CleanupToken, Interrupted, Lost, Operation, Session};
use crate::znode::{
    AfterLoss, LedgerOutcome, children_and_watch, delete_if_exists, read, retry_across_sessions, stat, stat_and_watch,
    sync,
};

/// An item that was read, on its way out.
struct Removing {
    lease: LeasedItem,
    path: String,
    item: Bytes,
    stat: zk::Stat,
}

/// Counts an item that is being removed.
struct RemovalCount(Arc<FifoInner>);

impl RemovalCount {
    fn new(queue: &Arc<FifoInner>) -> Self {
        queue.removing.send_modify(|removing| *removing += 1);
        Self(Arc::clone(queue))
    }
}

impl Drop for RemovalCount {
    fn drop(&mut self) {
        self.0
            .removing
            .send_modify(|removing| *removing = removing.saturating_sub(1));
    }
}

impl FifoInner {
    /// Takes the first item; `None` if there is none.
    pub(super) async fn take(
        self: &Arc<Self>,
        session: &Arc<Session>,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Option<PoppedItem>, Interrupted> {
        while let Some(lease) = self.backlog.lease(session, &self.path).await? {
            let path = self.path.child(&lease.item().name);
            let Some((item, stat)) = read(session, &path).await? else {
                lease.gone();
                continue;
            };
            if !lease.item().is(&stat) {
                self.backlog.outdated(lease.item());
                continue;
            }
            let item = Bytes::from(item);
            let leaving = Removing {
                lease,
                path: path.clone(),
                item: item.clone(),
                stat,
            };
            // In a task, which goes on if we are dropped: an item that is removed is not lost by that.
            let (reply, removed) = oneshot::channel();
            let (queue, session, cleanup) = (Arc::clone(self), Arc::clone(session), cleanup.cloned());
            let under_way = RemovalCount::new(self);
            session.runtime().clone().spawn(async move {
                // What nothing takes is kept before it counts as removed.
                let _ = reply.send(queue.remove(&session, leaving).await);
                drop((under_way, cleanup));
            });
            match removed.await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(taken))) => return Ok(Some(taken)),
                Ok(Err(interrupted)) => return Err(interrupted),
                // The runtime of the session is being shut down.
                Err(_) => {
                    let doubtful = FifoPopError::Indeterminate { path, item };
                    return Ok(Some(PoppedItem::new(&self.undelivered, Err(doubtful))));
                }
            }
        }
        Ok(None)
    }

    /// Waits for the first item, in this session. Of all consumers that wait, one watches the queue.
    pub(super) async fn wait_and_take(
        self: &Arc<Self>,
        session: &Arc<Session>,
        cleanup: Option<&CleanupToken>,
    ) -> Result<PoppedItem, Interrupted> {
        if let Some(taken) = self.take(session, cleanup).await? {
            return Ok(taken);
        }
        let mut place = self.line.enter_turnstile(session, cleanup).await?.node;
        loop {
            let mut watch = match children_and_watch(session, &self.path).await? {
                Some((names, stat, watch)) => {
                    let some = self.backlog.fill(session, &self.path, (names, stat)).await?;
                    // What is taken, by whomever, uses the watch up.
                    let taken = if some { self.take(session, cleanup).await? } else { None };
                    if let Some(taken) = taken {
                        return Ok(taken);
                    }
                    watch
                }
                None => match stat_and_watch(session, self.path.as_str()).await? {
                    (Some(_), _) => continue,
                    (None, watch) => watch,
                },
            };
            place.watch();
            debug!(path = %self.path, place = place.path(), "waiting for an item");
            tokio::select! {
                () = watch.changed() => {}
                reason = place.end().reached() => return Err(Lost { reason }.into()),
            }
        }
    }

    /// Removes an item; `None` if it is not, or no longer, the one that was read.
    async fn remove(&self, session: &Arc<Session>, leaving: Removing) -> Result<Option<PoppedItem>, Interrupted> {
        let Removing {
            lease,
            path,
            item,
            stat,
        } = leaving;
        let delete = [Operation::delete(&path, stat.version)];
        // Not sent again when its reply is lost: in a directory that was removed and made again meanwhile, another item
        // can have this name and version.
        let Some(entry) = self
            .ledgers
            .try_commit(session, &path, &delete, AfterLoss::Revoke)
            .await?
        else {
            return Ok(None);
        };
        match entry {
            LedgerOutcome::Committed(_) => {
                lease.gone();
                Ok(Some(PoppedItem::new(&self.undelivered, Ok(item))))
            }
            LedgerOutcome::Refused(_, zk::Error::NoNode) => {
                lease.gone();
                Ok(None)
            }
            // Another client has written into it: it is read again.
            LedgerOutcome::Refused(_, zk::Error::BadVersion) => Ok(None),
            LedgerOutcome::Refused(_, zk::Error::NotEmpty) => {
                let reason = "an item has no children; remove the nodes below it";
                Err(Error::Layout { path, reason }.into())
            }
            LedgerOutcome::Refused(_, source) => Err(Error::from_answer(&path, source).into()),
            LedgerOutcome::Indeterminate { ledger } => {
                match self.is_still_there(&ledger, &path, stat.czxid).await {
                    Ok(true) => return Ok(None),
                    Ok(false) => {}
                    Err(error) => warn!(
                        path,
                        error = &error as &dyn std::error::Error,
                        "cannot find out what became of an item"
                    ),
                }
                lease.gone();
                let doubtful = FifoPopError::Indeterminate { path, item };
                Ok(Some(PoppedItem::new(&self.undelivered, Err(doubtful))))
            }
        }
    }

    /// Whether an item is there though the session ended in which we tried to remove it, and nothing of that is to
    /// come.
    async fn is_still_there(&self, ledger: &str, path: &str, czxid: i64) -> Result<bool, Error> {
        retry_across_sessions(&self.zk, |session| async move {
            delete_if_exists(&session, ledger).await?;
            sync(&session, path).await?;
            Ok(stat(&session, path).await?.is_some_and(|stat| stat.czxid == czxid))
        })
        .await
    }
}
