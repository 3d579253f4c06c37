//! [`CleanupGuard`]: the duty to remove a node, from before its creation on.

use std::sync::Arc;

use crate::error::Error;
use crate::session::{CleanupToken, End, LossReason, NodeKey, NodeLocation, Session};

/// The duty to remove a node. Dropped with the duty undone, it passes it to the reaper.
#[derive(Debug)]
pub(in crate::znode) struct CleanupGuard {
    pub(crate) session: Arc<Session>,
    pub(crate) key: NodeKey,
    pub(crate) end: Arc<End>,
    pub(crate) done: bool,
}

impl CleanupGuard {
    pub(crate) fn register(
        session: &Arc<Session>,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
    ) -> Result<Self, Error> {
        Self::register_with(session, location, cleanup, Arc::new(End::new()))
    }

    /// As [`register`](Self::register), with an end that may be shared with other nodes.
    pub(crate) fn register_with(
        session: &Arc<Session>,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Result<Self, Error> {
        session.check_deletable(location.directory().trim_end_matches('/'))?;
        let key = session.registry().insert(location, cleanup, Arc::clone(&end))?;
        Ok(Self::new(session, key, end))
    }

    /// Registers a node at a path that others may use; `None` if there is one of this session.
    pub(crate) fn register_named(
        session: &Arc<Session>,
        path: &str,
        cleanup: Option<CleanupToken>,
    ) -> Result<Option<Self>, Error> {
        session.check_deletable(path.rsplit_once('/').map_or("", |(directory, _)| directory))?;
        let (registry, end) = (session.registry(), Arc::new(End::new()));
        let key = registry.insert_named(path, session.id(), cleanup, Arc::clone(&end))?;
        Ok(key.map(|key| Self::new(session, key, end)))
    }

    fn new(session: &Arc<Session>, key: NodeKey, end: Arc<End>) -> Self {
        Self {
            session: Arc::clone(session),
            key,
            end,
            done: false,
        }
    }

    /// Says whether something is held on the node, which then stays after a loss until this is dropped.
    pub(crate) fn set_held(&self, held: bool) {
        self.session.registry().set_held(self.key, held);
    }

    /// The node is at `path`.
    pub(crate) fn found(&self, path: &str) {
        self.session.registry().found(self.key, path);
    }

    /// The node was created, and no other will ever have its path.
    pub(in crate::znode) fn is_ours_alone(&self) {
        self.session.registry().is_ours_alone(self.key);
    }

    /// There is no node, or no longer.
    pub(crate) fn disarm(self) {
        let mut this = self;
        this.session.registry().remove(this.key);
        this.done = true;
    }
}

impl Drop for CleanupGuard {
    fn drop(&mut self) {
        if !self.done {
            self.end.set(LossReason::Released);
            self.set_held(false);
            self.session.discard(self.key);
        }
    }
}
