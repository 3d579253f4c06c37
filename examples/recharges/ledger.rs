//! The ledger: a SQLite database that trusts no queue. It applies each item once, however often it is delivered.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Result, TransactionBehavior, params};

use crate::Failure;
use crate::input::Recharge;

/// One connection to the ledger. Every process has its own.
#[derive(Debug)]
pub(crate) struct Ledger {
    db: Connection,
}

/// What the ledger holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    pub(crate) entries: Vec<Recharge>,
    pub(crate) balances: Vec<(String, i64)>,
    /// Deliveries of items that had been applied before.
    pub(crate) again: u32,
}

impl Ledger {
    /// Makes a new ledger.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        // Not an old one: its items may be those of another ensemble.
        File::create_new(path).map_err(|error| format!("{}: {error}; name a new file", path.display()))?;
        let ledger = Self::open(path)?;
        ledger.db.pragma_update(None, "journal_mode", "wal")?;
        ledger.db.execute_batch(SCHEMA)?;
        Ok(ledger)
    }

    pub(crate) fn open(path: &Path) -> Result<Self> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(30))?;
        // With a write-ahead log this survives a crash of the process, and spares a demo the wait for the disk.
        db.pragma_update(None, "synchronous", "normal")?;
        Ok(Self { db })
    }

    /// Applies those of these recharges whose items have not been applied before, in one transaction. When it returns,
    /// the items may be acknowledged.
    pub(crate) fn apply<'a>(&mut self, recharges: impl IntoIterator<Item = (&'a str, &'a Recharge)>) -> Result<()> {
        // Immediate: it waits for other writers here and never fails later.
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (item, Recharge { id, account, cents }) in recharges {
            let is_new = transaction
                .prepare_cached("INSERT INTO item (id) VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([item])?
                == 1;
            if !is_new {
                transaction
                    .prepare_cached("INSERT INTO again (item) VALUES (?1)")?
                    .execute([item])?;
                continue;
            }
            transaction
                .prepare_cached("INSERT INTO entry (recharge, account, cents) VALUES (?1, ?2, ?3)")?
                .execute(params![id, account, cents])?;
            transaction
                .prepare_cached(
                    "INSERT INTO account (id, balance) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET balance = balance + excluded.balance",
                )?
                .execute(params![account, cents])?;
        }
        transaction.commit()
    }

    /// How many items have been applied.
    pub(crate) fn applied(&self) -> Result<u32> {
        self.db.query_row("SELECT count(*) FROM item", [], |row| row.get(0))
    }

    /// All that the ledger knows, for the audit.
    pub(crate) fn books(&self) -> Result<Books> {
        let mut entries = self.db.prepare("SELECT recharge, account, cents FROM entry")?;
        let entries = entries.query_map([], |row| {
            Ok(Recharge {
                id: row.get(0)?,
                account: row.get(1)?,
                cents: row.get(2)?,
            })
        })?;
        let mut balances = self.db.prepare("SELECT id, balance FROM account ORDER BY id")?;
        let balances = balances.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Books {
            entries: entries.collect::<Result<_>>()?,
            balances: balances.collect::<Result<_>>()?,
            again: self.db.query_row("SELECT count(*) FROM again", [], |row| row.get(0))?,
        })
    }
}

const SCHEMA: &str = "
    CREATE TABLE account (
        id      TEXT PRIMARY KEY,
        balance INTEGER NOT NULL
    ) STRICT;

    -- What has been applied: a delivery whose item is here comes again.
    CREATE TABLE item (
        id TEXT PRIMARY KEY
    ) STRICT;

    -- The journal. It would take a second entry for a recharge, and the audit would find it.
    CREATE TABLE entry (
        recharge TEXT NOT NULL,
        account  TEXT NOT NULL,
        cents    INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE again (
        item TEXT NOT NULL
    ) STRICT;
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::ScratchDir;

    #[test]
    fn an_item_is_applied_once_however_often_it_comes() {
        let dir = ScratchDir::create().unwrap();
        let mut ledger = Ledger::create(&dir.path().join("ledger.db")).unwrap();
        let (one, two) = (
            Recharge::parse("top-1,acc-1,500").unwrap(),
            Recharge::parse("top-2,acc-1,250").unwrap(),
        );
        ledger.apply([("item-1", &one)]).unwrap();
        ledger.apply([("item-1", &one), ("item-2", &two)]).unwrap();
        let books = ledger.books().unwrap();
        assert_eq!(books.entries, [one, two]);
        assert_eq!(books.balances, [("acc-1".to_owned(), 750)]);
        assert_eq!((books.again, ledger.applied().unwrap()), (1, 2));
    }

    #[test]
    fn an_existing_file_is_not_taken_for_a_ledger() {
        let dir = ScratchDir::create().unwrap();
        let path = dir.path().join("ledger.db");
        let _ledger = Ledger::create(&path).unwrap();
        assert!(Ledger::create(&path).is_err());
    }
}
