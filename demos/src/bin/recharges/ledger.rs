//! The ledger: a SQLite database that trusts no queue. It applies each item once, however often it is delivered.

use rusqlite::{Connection, Result, params};

use demos::books::Books;
use demos::database;
use demos::payment::Payment;

/// One connection to the ledger. Every process has its own.
#[derive(Debug)]
pub(crate) struct Ledger {
    db: Connection,
}

demos::ledger!(Ledger, SCHEMA);

impl Ledger {
    /// Applies those of these recharges whose items have not been applied before, in one transaction. When it returns,
    /// the items may be acknowledged.
    pub(crate) fn apply<'a>(&mut self, recharges: impl IntoIterator<Item = (&'a str, &'a Payment)>) -> Result<()> {
        let transaction = database::begin(&mut self.db)?;
        for (item, Payment { id, account, cents }) in recharges {
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

    /// Deliveries of items that had been applied before.
    pub(crate) fn again(&self) -> Result<u32> {
        self.db.query_row("SELECT count(*) FROM again", [], |row| row.get(0))
    }

    /// For the audit.
    pub(crate) fn books(&self) -> Result<Books> {
        Books::read(&self.db, "SELECT recharge, account, cents FROM entry")
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
    use demos::scratch::ScratchDir;

    #[test]
    fn an_item_is_applied_once_however_often_it_comes() {
        let dir = ScratchDir::create().unwrap();
        let mut ledger = Ledger::create(&dir.path().join("ledger.db")).unwrap();
        let (one, two) = (
            Payment::parse("top-1,acc-1,500").unwrap(),
            Payment::parse("top-2,acc-1,250").unwrap(),
        );
        ledger.apply([("item-1", &one)]).unwrap();
        ledger.apply([("item-1", &one), ("item-2", &two)]).unwrap();
        let books = ledger.books().unwrap();
        assert_eq!(books.entries, [one, two]);
        assert_eq!(books.balances, [("acc-1".to_owned(), 750)]);
        assert_eq!((ledger.again(), ledger.applied()), (Ok(1), Ok(2)));
    }
}
