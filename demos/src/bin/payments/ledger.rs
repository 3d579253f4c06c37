//! The ledger: a SQLite database that trusts no lock.
//!
//! Each writer shows the fencing token of its lock. The ledger keeps the highest token that each account has seen and
//! refuses an older one, in the same transaction as the write. A refusal is noted, too.

use rusqlite::{Connection, Result, Transaction, params};
use zookeeper_recipes::FencingToken;

use demos::books::Books;
use demos::database;
use demos::payment::Payment;

/// One connection to the ledger. Every worker has its own.
#[derive(Debug)]
pub(crate) struct Ledger {
    db: Connection,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// It is in the books.
    Settled,
    /// It was in the books before; nothing is changed.
    Duplicate,
    /// The account has seen `newest`, a later grant of the lock; nothing is changed.
    Refused { newest: FencingToken },
}

demos::ledger!(Ledger, SCHEMA);

impl Ledger {
    /// The balance of an account in cents, or `None` if the account has seen a token newer than `token`.
    ///
    /// The token is shown here already: from the moment at which a holder reads, no older one may write any more. If it
    /// counted only from the first write on, a late write could come in between our read and our write, and be
    /// overwritten.
    pub(crate) fn balance(&mut self, account: &str, token: FencingToken) -> Result<Option<i64>> {
        let transaction = database::begin(&mut self.db)?;
        let account = show(&transaction, account, token)?;
        transaction.commit()?;
        Ok((account.newest <= token).then_some(account.balance))
    }

    /// Settles a payment, which makes `balance` the balance of its account.
    pub(crate) fn settle(&mut self, request: &Payment, balance: i64, token: FencingToken) -> Result<Settlement> {
        let transaction = database::begin(&mut self.db)?;
        let settlement = settle(&transaction, request, balance, token)?;
        transaction.commit()?;
        Ok(settlement)
    }

    /// For the audit.
    pub(crate) fn books(&self) -> Result<Books> {
        Books::read(&self.db, "SELECT payment, account, cents FROM entry")
    }

    /// How many writes came too late.
    pub(crate) fn refusals(&self) -> Result<u32> {
        self.db.query_row("SELECT count(*) FROM refusal", [], |row| row.get(0))
    }
}

fn settle(db: &Transaction<'_>, request: &Payment, balance: i64, token: FencingToken) -> Result<Settlement> {
    let Payment { id, account, cents } = request;
    let newest = show(db, account, token)?.newest;
    if newest > token {
        db.prepare_cached("INSERT INTO refusal (payment, account, token) VALUES (?1, ?2, ?3)")?
            .execute(params![id, account, token.as_i64()])?;
        return Ok(Settlement::Refused { newest });
    }
    let is_new = db
        .prepare_cached("INSERT INTO payment (id) VALUES (?1) ON CONFLICT DO NOTHING")?
        .execute([id])?
        == 1;
    if !is_new {
        return Ok(Settlement::Duplicate);
    }
    db.prepare_cached("INSERT INTO entry (payment, account, cents, token) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, account, cents, token.as_i64()])?;
    db.prepare_cached("UPDATE account SET balance = ?2 WHERE id = ?1")?
        .execute(params![account, balance])?;
    Ok(Settlement::Settled)
}

struct Account {
    balance: i64,
    newest: FencingToken,
}

/// Shows a token to an account, which remembers the highest.
fn show(db: &Transaction<'_>, account: &str, token: FencingToken) -> Result<Account> {
    db.prepare_cached(
        "INSERT INTO account (id, fence) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET fence = max(fence, excluded.fence)
         RETURNING balance, fence",
    )?
    .query_row(params![account, token.as_i64()], |row| {
        Ok(Account {
            balance: row.get(0)?,
            newest: FencingToken::from_i64(row.get(1)?),
        })
    })
}

const SCHEMA: &str = "
    CREATE TABLE account (
        id      TEXT PRIMARY KEY,
        balance INTEGER NOT NULL DEFAULT 0,
        fence   INTEGER NOT NULL -- the highest token seen
    ) STRICT;

    -- What has been settled: a request whose payment is here is a duplicate.
    CREATE TABLE payment (
        id TEXT PRIMARY KEY
    ) STRICT;

    -- The journal. It would take a second entry for a payment, and the audit would find it.
    CREATE TABLE entry (
        payment TEXT NOT NULL,
        account TEXT NOT NULL,
        cents   INTEGER NOT NULL,
        token   INTEGER NOT NULL
    ) STRICT;

    -- Writes that came too late.
    CREATE TABLE refusal (
        payment TEXT NOT NULL,
        account TEXT NOT NULL,
        token   INTEGER NOT NULL
    ) STRICT;
";

#[cfg(test)]
mod tests {
    use super::*;
    use demos::scratch::ScratchDir;

    const OLD: FencingToken = FencingToken::from_i64(7);
    const NEW: FencingToken = FencingToken::from_i64(8);

    fn ledger() -> (ScratchDir, Ledger) {
        let dir = ScratchDir::create().unwrap();
        let ledger = Ledger::create(&dir.path().join("ledger.db")).unwrap();
        (dir, ledger)
    }

    fn request(id: &str, cents: i64) -> Payment {
        Payment {
            id: id.to_owned(),
            account: "acc-1".to_owned(),
            cents,
        }
    }

    #[test]
    fn a_write_with_an_older_token_is_refused_and_noted() {
        let (_dir, mut ledger) = ledger();
        assert_eq!(ledger.balance("acc-1", OLD), Ok(Some(0)));
        assert_eq!(ledger.balance("acc-1", NEW), Ok(Some(0)));
        // The newer holder has only read so far.
        let late = ledger.settle(&request("pay-1", 5), 5, OLD);
        assert_eq!(late, Ok(Settlement::Refused { newest: NEW }));
        assert_eq!(ledger.balance("acc-1", OLD), Ok(None));
        assert_eq!(ledger.settle(&request("pay-2", 3), 3, NEW), Ok(Settlement::Settled));

        let books = ledger.books().unwrap();
        assert_eq!(books.entries, [request("pay-2", 3)]);
        assert_eq!(books.balances, [("acc-1".to_owned(), 3)]);
        assert_eq!(ledger.refusals(), Ok(1));
    }

    #[test]
    fn a_payment_is_settled_once() {
        let (_dir, mut ledger) = ledger();
        assert_eq!(ledger.settle(&request("pay-1", 5), 5, OLD), Ok(Settlement::Settled));
        assert_eq!(ledger.settle(&request("pay-1", 5), 10, OLD), Ok(Settlement::Duplicate));
        assert_eq!(ledger.settle(&request("pay-1", 5), 10, NEW), Ok(Settlement::Duplicate));
        assert_eq!(ledger.books().unwrap().balances, [("acc-1".to_owned(), 5)]);
    }
}
