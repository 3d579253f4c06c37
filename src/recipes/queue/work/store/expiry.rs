//! Keys and outcomes that are forgotten after a time.

use std::sync::Arc;

use futures::future;
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::codec::decode_text;
use super::draft::Role;
use super::paths::{BlockId, Slots, numbers, span_of, span_start};
use super::records::{Forgotten, decode_forgotten};
use super::{Committed, Store};
use crate::session::{Interrupted, Operation, Session};
use crate::znode::{NodePath, Transaction, list, read, reads, stat};

/// How many nodes are forgotten in one transaction, about.
const FORGOTTEN: usize = 128;

/// What a sweep has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swept {
    /// When there is something to forget again, in milliseconds of the ensemble's clock.
    pub(crate) next: Option<i64>,
    /// Whether there is more already.
    pub(crate) more: bool,
}

impl Store {
    /// Forgets keys and outcomes whose time is over: a transaction's worth.
    pub(crate) async fn sweep(&self, session: &Arc<Session>, now: i64) -> Result<Swept, Interrupted> {
        let directory = self.layout.slots(Slots::Expiry);
        for span in numbers::<i64>(&list(session, &directory).await?) {
            if span_start(span) > now {
                return Ok(Swept {
                    next: Some(span_start(span)),
                    more: false,
                });
            }
            let path = self.layout.span(Slots::Expiry, span);
            let names = list(session, &path).await?;
            if names.is_empty() && span < span_of(now) {
                self.remove(session, &[path.as_str().to_owned()]).await?;
            }
            for slot in numbers::<i64>(&names) {
                if slot > now {
                    return Ok(Swept {
                        next: Some(slot),
                        more: false,
                    });
                }
                if self.sweep_slot(session, slot).await? {
                    return Ok(Swept {
                        next: Some(now),
                        more: true,
                    });
                }
            }
        }
        Ok(Swept {
            next: None,
            more: false,
        })
    }

    /// False if nothing in it is ours.
    async fn sweep_slot(&self, session: &Arc<Session>, slot: i64) -> Result<bool, Interrupted> {
        let lane = Slots::Expiry.lane(slot);
        let path = self.layout.lane(lane);
        let names = list(session, &path).await?;
        let blocks = numbers::<i32>(&names);
        for number in &blocks {
            let block = self.layout.block(BlockId { lane, number: *number });
            let entries = list(session, &block).await?;
            if entries.is_empty() {
                let mut gone = vec![block.as_str().to_owned()];
                if names.len() == 1 {
                    gone.push(path.as_str().to_owned());
                }
                self.forget_tail(lane);
                return self.remove(session, &gone).await;
            }
            if entries.iter().any(|name| name.starts_with("e-")) {
                return self.sweep_block(session, &block, &entries).await;
            }
        }
        match names.is_empty() {
            true => self.remove(session, &[path.as_str().to_owned()]).await,
            false => Ok(false),
        }
    }

    async fn sweep_block(
        &self,
        session: &Arc<Session>,
        block: &NodePath,
        names: &[String],
    ) -> Result<bool, Interrupted> {
        let (mut entries, mut all) = (Vec::new(), Vec::new());
        let ours = names
            .iter()
            .filter(|name| name.starts_with("e-"))
            .take(FORGOTTEN)
            .map(String::as_str);
        for (path, data, _) in reads(session, block, ours).await?.into_iter().flatten() {
            match decode_forgotten(&data) {
                Some(forgotten) => all.extend(forgotten),
                None => warn!(path, "unreadable; what it was to forget stays"),
            }
            entries.push(path);
            if all.len() >= FORGOTTEN {
                break;
            }
        }
        self.forget(session, entries, &all).await
    }

    async fn forget(
        &self,
        session: &Arc<Session>,
        entries: Vec<String>,
        all: &[Forgotten],
    ) -> Result<bool, Interrupted> {
        let there = future::try_join_all(all.iter().map(|forgotten| self.left_of(session, forgotten))).await?;
        let nodes: Vec<(String, Option<i32>)> = there.into_iter().flatten().collect();
        debug!(queue = self.path(), nodes = nodes.len(), "forgetting keys and outcomes");
        let committed = self.commit(session, |draft| {
            entries
                .iter()
                .for_each(|path| draft.delete(path.clone(), None, Role::Source(0)));
            for (path, version) in &nodes {
                draft.delete(path.clone(), *version, Role::Source(1));
            }
        });
        match committed.await? {
            // If others were there, it is looked at again.
            Committed::Done(..) | Committed::Refused(_, zk::Error::NoNode | zk::Error::BadVersion) => Ok(true),
            Committed::Refused(role, error) => {
                warn!(queue = self.path(), ?role, %error, "keys and outcomes whose time is over cannot be removed");
                Ok(false)
            }
            Committed::Paused | Committed::Indeterminate(()) => Err(super::ended(session)),
        }
    }

    /// What is there of an item that is to be forgotten: its key, unless that is another one's by now, and its outcome.
    async fn left_of(
        &self,
        session: &Arc<Session>,
        forgotten: &Forgotten,
    ) -> Result<Vec<(String, Option<i32>)>, Interrupted> {
        let mut left = Vec::new();
        if let Some(key) = &forgotten.key {
            let path = self.layout.key(key);
            if let Some((data, stat)) = read(session, &path).await? {
                if decode_text(&data).as_deref() == Some(forgotten.id.as_str()) {
                    left.push((path, Some(stat.version)));
                }
            }
        }
        if forgotten.outcome {
            let path = self.layout.result(forgotten.id.as_str());
            if stat(session, &path).await?.is_some() {
                left.push((path, None));
            }
        }
        Ok(left)
    }

    /// Removes empty directories and segments that are done, all or none; what cannot be removed is still in use.
    pub(crate) async fn remove(&self, session: &Arc<Session>, paths: &[String]) -> Result<bool, Interrupted> {
        let delete = |path: &String| Operation::Delete(path.clone(), None);
        let steps: Vec<Operation> = paths.iter().map(delete).collect();
        Ok(matches!(self.transact(session, &steps).await?, Transaction::Applied(_)))
    }
}

impl Store {
    /// The path of a node below the queue that is stored relative to it.
    pub(crate) fn absolute(&self, relative: &str) -> Option<NodePath> {
        NodePath::new(&format!("{}{relative}", self.path())).ok()
    }
}
