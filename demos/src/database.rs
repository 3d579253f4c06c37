//! The SQLite database under a ledger. Every worker opens it for itself.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Result, Transaction, TransactionBehavior};

use crate::BoxError;

/// A ledger: a database of its own, with tables of its own.
pub trait Ledger: Sized + From<Connection> {
    /// What a new one begins with.
    const SCHEMA: &str;

    /// Makes a new ledger.
    fn create(path: &Path) -> Result<Self, BoxError> {
        Ok(create(path, Self::SCHEMA)?.into())
    }

    fn open(path: &Path) -> Result<Self> {
        Ok(open(path)?.into())
    }
}

/// Makes a new one.
fn create(path: &Path, schema: &str) -> Result<Connection, BoxError> {
    // Not an old one: its tokens and ids may be those of another ensemble.
    File::create_new(path).map_err(|error| format!("{}: {error}; name a new file", path.display()))?;
    let db = open(path)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.execute_batch(schema)?;
    Ok(db)
}

fn open(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(30))?;
    // With a write-ahead log this survives a crash of the process, and spares a demo the wait for the disk.
    db.pragma_update(None, "synchronous", "normal")?;
    Ok(db)
}

/// Begins a transaction that waits for other writers here, and never fails for them later.
pub fn begin(db: &mut Connection) -> Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::ScratchDir;

    #[test]
    fn an_existing_file_is_not_taken_for_a_ledger() {
        let dir = ScratchDir::create().unwrap();
        let path = dir.path().join("ledger.db");
        assert!(create(&path, "").is_ok());
        assert!(create(&path, "").is_err());
    }
}
