//! The way of one item out of the queue.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::backlog::Lease;
use super::kept::Taken;
use super::{FifoPopError, Shared};
use crate::error::Error;
use crate::session::{Lost, Session, Witness};
use crate::znode::{Entry, Interrupted, catch_up, children_and_watch, persevere, read, stat, stat_and_watch, unlink};

/// An item that was read, on its way out.
struct Leaving {
    lease: Lease,
    path: String,
    item: Bytes,
    stat: zk::Stat,
}

impl Shared {
    /// Takes the first item; `None` if there is none.
    pub(super) async fn take(
        self: &Arc<Self>,
        session: &Arc<Session>,
        witness: Option<&Witness>,
    ) -> Result<Option<Taken>, Interrupted> {
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
            let leaving = Leaving {
                lease,
                path: path.clone(),
                item: item.clone(),
                stat,
            };
            // In a task, which goes on if we are dropped: an item that is removed is not lost by that.
            let (reply, removed) = oneshot::channel();
            let (queue, session, witness) = (Arc::clone(self), Arc::clone(session), witness.cloned());
            session.runtime().clone().spawn(async move {
                let _ = reply.send(queue.remove(&session, leaving).await);
                drop(witness);
            });
            match removed.await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(taken))) => return Ok(Some(taken)),
                Ok(Err(interrupted)) => return Err(interrupted),
                // The runtime of the session is being shut down.
                Err(_) => {
                    let doubtful = FifoPopError::Indeterminate { path, item };
                    return Ok(Some(Taken::new(&self.kept, Err(doubtful))));
                }
            }
        }
        Ok(None)
    }

    /// Waits for the first item, in this session. Of all consumers who wait, one watches the queue.
    pub(super) async fn wait_and_take(
        self: &Arc<Self>,
        session: &Arc<Session>,
        witness: Option<&Witness>,
    ) -> Result<Taken, Interrupted> {
        if let Some(taken) = self.take(session, witness).await? {
            return Ok(taken);
        }
        let mut place = self.line.enter_turnstile(session, witness).await?.node;
        loop {
            let mut watch = match children_and_watch(session, &self.path).await? {
                Some((names, stat, watch)) => {
                    let some = self.backlog.fill(session, &self.path, (names, stat)).await?;
                    // What is taken, by whomever, uses the watch up.
                    let taken = if some { self.take(session, witness).await? } else { None };
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
    async fn remove(&self, session: &Arc<Session>, leaving: Leaving) -> Result<Option<Taken>, Interrupted> {
        let Leaving {
            lease,
            path,
            item,
            stat,
        } = leaving;
        let delete = |multi: &mut zk::MultiWriter<'_>| multi.add_delete(&path, Some(stat.version));
        // Not sent again when its reply is lost: in a directory that was removed and made anew meanwhile, another item can
        // have this name and version.
        let Some(entry) = self.ledgers.commit_as_read(session, &path, delete).await? else {
            return Ok(None);
        };
        match entry {
            Entry::Committed(_) => {
                lease.gone();
                Ok(Some(Taken::new(&self.kept, Ok(item))))
            }
            Entry::Refused {
                source: zk::Error::NoNode,
                ..
            } => {
                lease.gone();
                Ok(None)
            }
            // Somebody has written into it: it is read again.
            Entry::Refused {
                source: zk::Error::BadVersion,
                ..
            } => Ok(None),
            Entry::Refused {
                source: zk::Error::NotEmpty,
                ..
            } => {
                let reason = "an item has no children; remove what somebody has put below it";
                Err(Error::Layout { path, reason }.into())
            }
            Entry::Refused { source, .. } => Err(Error::from_answer(&path, source).into()),
            Entry::Indeterminate { ledger } => {
                match self.is_still_there(&ledger, &path, stat.czxid).await {
                    Ok(true) => return Ok(None),
                    Ok(false) => {}
                    Err(error) => warn!(path, %error, "cannot find out what became of an item"),
                }
                lease.gone();
                let doubtful = FifoPopError::Indeterminate { path, item };
                Ok(Some(Taken::new(&self.kept, Err(doubtful))))
            }
        }
    }

    /// Whether an item is there though the session ended in which we tried to remove it, and nothing of that is to come.
    async fn is_still_there(&self, ledger: &str, path: &str, czxid: i64) -> Result<bool, Error> {
        persevere(&self.zk, |session| async move {
            unlink(&session, ledger).await?;
            catch_up(&session, path).await?;
            Ok(stat(&session, path).await?.is_some_and(|stat| stat.czxid == czxid))
        })
        .await
    }
}
