//! [`Claim`]: the duty to remove a node, from before its creation on.

use std::sync::Arc;

use crate::session::{End, LossReason, NodeKey, Session, Whereabouts, Witness};

/// The duty to remove a node. Dropped with the duty undone, it passes it to the reaper.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) session: Arc<Session>,
    pub(super) key: NodeKey,
    pub(super) end: Arc<End>,
    pub(super) done: bool,
}

impl Claim {
    pub(super) fn register(session: &Arc<Session>, whereabouts: Whereabouts, witness: Option<Witness>) -> Self {
        Self::register_with(session, whereabouts, witness, Arc::new(End::new()))
    }

    /// As [`register`](Self::register), with an end that may be shared with other nodes.
    pub(super) fn register_with(
        session: &Arc<Session>,
        whereabouts: Whereabouts,
        witness: Option<Witness>,
        end: Arc<End>,
    ) -> Self {
        let key = session.registry().insert(whereabouts, witness, Arc::clone(&end));
        Self {
            session: Arc::clone(session),
            key,
            end,
            done: false,
        }
    }

    /// The node is at `path`.
    pub(super) fn found(&self, path: &str) {
        self.session.registry().found(self.key, path);
    }

    /// There is no node, or no longer.
    pub(super) fn forget(self) {
        let mut this = self;
        this.session.registry().remove(this.key);
        this.done = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.done {
            self.end.set(LossReason::Released);
            self.session.discard(self.key);
        }
    }
}
