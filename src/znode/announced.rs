//! [`Announced`]: an ephemeral node of ours that a transaction is about to create.

use std::sync::Arc;

use super::claim::Claim;
use super::ephemeral::Ephemeral;
use super::ledger::Receipt;
use crate::session::{Lost, Session, Whereabouts};

/// A node of ours that a transaction is about to create, at a path that nobody else has.
#[derive(Debug)]
pub(crate) struct Announced {
    claim: Claim,
    path: String,
    connection: u64,
}

impl Announced {
    /// Registers the node before the transaction is sent: from here on, dropping this leaves nothing behind.
    pub(crate) fn new(session: &Arc<Session>, path: String) -> Self {
        let claim = Claim::register(session, Whereabouts::At(path.clone()), None);
        let connection = session.connection();
        Self {
            claim,
            path,
            connection,
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The transaction was committed.
    pub(crate) fn created(self, receipt: &Receipt) -> Result<Ephemeral, Lost> {
        // It was sent on the connection of then, or on a later one.
        let owner = receipt.ledger.ephemeral_owner;
        self.claim.session.verify(self.connection, owner)?;
        let zxid = receipt.ledger.mzxid;
        Ok(Ephemeral::new(self.claim, self.path, zxid, self.connection))
    }

    /// The transaction was refused.
    pub(crate) fn refused(self) {
        self.claim.forget();
    }
}
