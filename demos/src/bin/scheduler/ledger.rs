//! The ledger of runs: a SQLite database that trusts no leader.
//!
//! Every record carries the term of the leader that had the job run. The ledger keeps the highest term that it has seen
//! and refuses an older one, in the same transaction as the record. A refusal is noted, too.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::MINUTE;
use demos::database;

/// One connection to the ledger. Every process has its own.
#[derive(Debug)]
pub(crate) struct Ledger {
    db: Connection,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is in the ledger.
    Recorded,
    /// The run was in the ledger before; nothing is changed.
    Duplicate,
    /// The ledger has seen the term `newest`; nothing is changed.
    Refused { newest: i64 },
}

demos::ledger!(Ledger, SCHEMA);

impl Ledger {
    /// Shows the term of a new leader: from now on no older one is taken. False if this one is old already.
    pub(crate) fn begin_term(&mut self, term: i64, leader: &str) -> Result<bool> {
        let transaction = database::begin(&mut self.db)?;
        let is_newest = newest(&transaction)? < term;
        if is_newest {
            transaction.execute("INSERT INTO term VALUES (?1, ?2)", params![term, leader])?;
        }
        transaction.commit()?;
        Ok(is_newest)
    }

    /// The number of the minute that is due at this time, in milliseconds: the first one that was asked for is 0.
    pub(crate) fn minute(&mut self, due: i64) -> Result<u32> {
        let transaction = database::begin(&mut self.db)?;
        transaction.execute(
            "INSERT INTO midnight SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM midnight)",
            [due],
        )?;
        let midnight: i64 = transaction.query_row("SELECT due FROM midnight", [], |row| row.get(0))?;
        transaction.commit()?;
        let minute = i64::try_from(MINUTE.as_millis()).unwrap_or(i64::MAX);
        Ok(u32::try_from((due - midnight) / minute).unwrap_or(u32::MAX))
    }

    /// Records that `worker` ran `job` for the leader of `term`.
    pub(crate) fn record(&mut self, job: &str, minute: u32, worker: &str, term: i64) -> Result<Entry> {
        let transaction = database::begin(&mut self.db)?;
        let newest = newest(&transaction)?;
        let entry = if term < newest {
            transaction.execute("INSERT INTO refusal VALUES (?1, ?2, ?3)", params![job, minute, term])?;
            Entry::Refused { newest }
        } else if has_run(&transaction, job, minute)? {
            Entry::Duplicate
        } else {
            transaction.execute(
                "INSERT INTO run VALUES (?1, ?2, ?3, ?4)",
                params![job, minute, worker, term],
            )?;
            Entry::Recorded
        };
        transaction.commit()?;
        Ok(entry)
    }

    pub(crate) fn has_run(&self, job: &str, minute: u32) -> Result<bool> {
        has_run(&self.db, job, minute)
    }

    /// How often a run is in the ledger.
    pub(crate) fn times(&self, job: &str, minute: u32) -> Result<u32> {
        let count = "SELECT count(*) FROM run WHERE job = ?1 AND minute = ?2";
        self.db.query_row(count, params![job, minute], |row| row.get(0))
    }

    pub(crate) fn runs(&self) -> Result<u32> {
        self.db.query_row("SELECT count(*) FROM run", [], |row| row.get(0))
    }

    pub(crate) fn refusals(&self) -> Result<u32> {
        self.db.query_row("SELECT count(*) FROM refusal", [], |row| row.get(0))
    }

    /// The terms, in the order in which they began.
    pub(crate) fn terms(&self) -> Result<Vec<i64>> {
        let mut terms = self.db.prepare("SELECT term FROM term ORDER BY rowid")?;
        terms.query_map([], |row| row.get(0))?.collect()
    }
}

fn newest(db: &Connection) -> Result<i64> {
    db.query_row("SELECT coalesce(max(term), 0) FROM term", [], |row| row.get(0))
}

fn has_run(db: &Connection, job: &str, minute: u32) -> Result<bool> {
    let run = "SELECT 1 FROM run WHERE job = ?1 AND minute = ?2";
    let found: Option<i32> = db.query_row(run, params![job, minute], |row| row.get(0)).optional()?;
    Ok(found.is_some())
}

const SCHEMA: &str = "
    -- When the first minute was due.
    CREATE TABLE midnight (
        due INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE term (
        term   INTEGER NOT NULL,
        leader TEXT NOT NULL
    ) STRICT;

    -- It would take a second record of a run, and the audit would find it.
    CREATE TABLE run (
        job    TEXT NOT NULL,
        minute INTEGER NOT NULL,
        worker TEXT NOT NULL,
        term   INTEGER NOT NULL
    ) STRICT;

    -- Records that came too late.
    CREATE TABLE refusal (
        job    TEXT NOT NULL,
        minute INTEGER NOT NULL,
        term   INTEGER NOT NULL
    ) STRICT;
";
