//! The SQLite database under a ledger. Every worker opens it for itself.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Result, Transaction, TransactionBehavior};

use crate::BoxError;

/// How a ledger with a field `db` is made, with these tables, and opened.
#[macro_export]
macro_rules! ledger {
    ($name:ident, $schema:expr) => {
        impl $name {
            /// Makes a new ledger.
            pub(crate) fn create(path: &std::path::Path) -> Result<Self, $crate::BoxError> {
                let db = $crate::database::create(path, $schema)?;
                Ok(Self { db })
            }

            pub(crate) fn open(path: &std::path::Path) -> rusqlite::Result<Self> {
                let db = $crate::database::open(path)?;
                Ok(Self { db })
            }
        }
    };
}

/// Makes a new one.
pub fn create(path: &Path, schema: &str) -> Result<Connection, BoxError> {
    // Not an old one: its tokens and ids may be those of another ensemble.
    File::create_new(path).map_err(|error| format!("{}: {error}; name a new file", path.display()))?;
    let db = open(path)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.execute_batch(schema)?;
    Ok(db)
}

pub fn open(path: &Path) -> Result<Connection> {
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
