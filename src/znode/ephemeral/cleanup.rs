//! [`CleanupGuard`]: the duty to remove a node, from before its creation on.

use std::sync::Arc;

use crate::error::Error;
use crate::session::{CleanupToken, End, LossReason, NodeKey, NodeLocation, Session};

/// The duty to remove a node. Dropped with the duty undone, it passes it to the reaper.
#[derive(Debug)]
pub(in crate::znode) struct CleanupGuard {
    pub(in crate::znode) session: Arc<Session>,
    pub(in crate::znode) key: NodeKey,
    pub(in crate::znode) end: Arc<End>,
    pub(in crate::znode) done: bool,
}

impl CleanupGuard {
    pub(in crate::znode) fn register(
        session: &Arc<Session>,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
    ) -> Result<Self, Error> {
        Self::register_with(session, location, cleanup, Arc::new(End::new()))
    }

    /// As [`register`](Self::register), with an end that may be shared with other nodes.
    pub(in crate::znode) fn register_with(
        session: &Arc<Session>,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Result<Self, Error> {
        let key = session.registry().insert(location, cleanup, Arc::clone(&end))?;
        Ok(Self {
            session: Arc::clone(session),
            key,
            end,
            done: false,
        })
    }

    /// Says whether something is held on the node, which then stays after a loss until this is dropped.
    pub(in crate::znode) fn set_held(&self, held: bool) {
        self.session.registry().set_held(self.key, held);
    }

    /// The node is at `path`.
    pub(in crate::znode) fn found(&self, path: &str) {
        self.session.registry().found(self.key, path);
    }

    /// There is no node, or no longer.
    pub(in crate::znode) fn disarm(self) {
        let mut this = self;
        this.session.registry().remove(this.key);
        this.done = true;
    }
}

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        if !self.done {
            self.end.set(LossReason::Released);
            self.session.discard(self.key);
        }
    }
}
