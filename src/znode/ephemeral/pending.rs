//! [`PendingNode`]: an ephemeral node of ours that a transaction is about to create.

use std::sync::Arc;

use super::super::ledger::Receipt;
use super::Ephemeral;
use super::cleanup::CleanupGuard;
use crate::error::Error;
use crate::session::{Lost, NodeLocation, Session};

/// A node of ours that a transaction is about to create. Until it is created, another session may be about to create one at
/// the same path; then the path is ours alone.
#[derive(Debug)]
pub(crate) struct PendingNode {
    guard: CleanupGuard,
    path: String,
    connection: u64,
}

impl PendingNode {
    /// Registers the node before the transaction is sent: from here on, dropping this leaves nothing behind.
    pub(crate) fn new(session: &Arc<Session>, path: String) -> Result<Self, Error> {
        let owner = session.id();
        let location = NodeLocation::OwnedPath {
            path: path.clone(),
            owner,
        };
        let guard = CleanupGuard::register(session, location, None)?;
        let connection = session.connection();
        Ok(Self {
            guard,
            path,
            connection,
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The transaction was committed.
    pub(crate) fn created(self, receipt: &Receipt) -> Result<Ephemeral, Lost> {
        // It was sent on the connection of then, or on a later one.
        let owner = receipt.ledger.ephemeral_owner;
        self.guard.session.verify(self.connection, owner)?;
        self.guard.is_ours_alone();
        let zxid = receipt.ledger.mzxid;
        Ok(Ephemeral::new(self.guard, self.path, zxid, self.connection))
    }

    /// The transaction was refused.
    pub(crate) fn refused(self) {
        self.guard.disarm();
    }
}
