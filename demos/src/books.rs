//! The books of a ledger, and how they are held against what should be in them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Result};

use crate::payment::Payment;
use crate::print::say;

/// How many findings are printed.
const SHOWN: usize = 5;

/// What a ledger holds.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub entries: Vec<Payment>,
    /// The balance of each account, in cents.
    pub balances: Vec<(String, i64)>,
}

/// What became of the payments that were due.
#[derive(Debug, Default)]
pub struct Comparison {
    pub once: usize,
    pub twice: usize,
    pub lost: usize,
    /// What is wrong, beside the counts.
    pub findings: Vec<String>,
}

impl Books {
    /// Reads the table `account`, and with the query `entries` the id, account and amount of each entry.
    pub fn read(db: &Connection, entries: &str) -> Result<Self> {
        let mut entries = db.prepare(entries)?;
        let entries = entries.query_map([], |row| {
            Ok(Payment {
                id: row.get(0)?,
                account: row.get(1)?,
                cents: row.get(2)?,
            })
        })?;
        let mut balances = db.prepare("SELECT id, balance FROM account ORDER BY id")?;
        let balances = balances.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self {
            entries: entries.collect::<Result<_>>()?,
            balances: balances.collect::<Result<_>>()?,
        })
    }

    /// Compares them with payments of which each should be in them once.
    pub fn compare<'a>(&self, due: impl IntoIterator<Item = &'a Payment>) -> Comparison {
        let due: HashMap<&str, &Payment> = due.into_iter().map(|payment| (payment.id.as_str(), payment)).collect();
        let mut comparison = Comparison::default();
        comparison.count_entries(&due, &self.entries);
        comparison.compare_balances(&due, &self.balances);
        comparison
    }
}

impl Comparison {
    pub fn is_clean(&self) -> bool {
        self.twice == 0 && self.lost == 0 && self.findings.is_empty()
    }

    pub fn print_findings(&self) {
        for finding in self.findings.iter().take(SHOWN) {
            say!("audit: {finding}");
        }
        if self.findings.len() > SHOWN {
            say!("audit: {} findings in all", self.findings.len());
        }
    }

    /// Every payment has one entry, and every entry has its payment.
    fn count_entries(&mut self, due: &HashMap<&str, &Payment>, entries: &[Payment]) {
        let mut times: HashMap<&str, usize> = HashMap::new();
        for entry in entries {
            if due.get(entry.id.as_str()) == Some(&entry) {
                *times.entry(&entry.id).or_default() += 1;
            } else {
                self.findings
                    .push(format!("{entry:?} is in the books, but not in the input"));
            }
        }
        for id in due.keys() {
            match times.get(id) {
                None => self.lost += 1,
                Some(1) => self.once += 1,
                Some(_) => self.twice += 1,
            }
        }
    }

    /// Every account holds the sum of its payments.
    fn compare_balances(&mut self, due: &HashMap<&str, &Payment>, balances: &[(String, i64)]) {
        // What each account should hold, and what it holds.
        let mut accounts: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for payment in due.values() {
            accounts.entry(&payment.account).or_default().0 += payment.cents;
        }
        for (account, cents) in balances {
            accounts.entry(account).or_default().1 += cents;
        }
        for (account, (should, is)) in accounts {
            if should != is {
                self.findings.push(format!(
                    "{account} holds {is} cents, but the payments to it make {should}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares books with these entries, and this balance of the only account, with two payments that make 30.
    fn compare(entries: &[&str], balance: i64) -> Comparison {
        let payments = |lines: &[&str]| -> Vec<_> { lines.iter().map(|line| Payment::parse(line).unwrap()).collect() };
        let books = Books {
            entries: payments(entries),
            balances: vec![("acc-1".to_owned(), balance)],
        };
        books.compare(&payments(&["pay-1,acc-1,10", "pay-2,acc-1,20"]))
    }

    #[test]
    fn right_books_are_clean() {
        let right = compare(&["pay-2,acc-1,20", "pay-1,acc-1,10"], 30);
        assert!(right.is_clean() && right.once == 2, "{right:?}");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let (one, two) = ("pay-1,acc-1,10", "pay-2,acc-1,20");
        let lost = compare(&[one], 30);
        assert_eq!((lost.once, lost.lost, lost.is_clean()), (1, 1, false));
        let twice = compare(&[one, two, one], 30);
        assert_eq!((twice.once, twice.twice, twice.is_clean()), (1, 1, false));
        for wrong in [
            compare(&[one, two], 20),
            compare(&[one, two, "pay-3,acc-1,1"], 30),
            compare(&[one, two, "pay-2,acc-1,21"], 30),
        ] {
            let found = (wrong.once, wrong.findings.len(), wrong.is_clean());
            assert_eq!(found, (2, 1, false), "{wrong:?}");
        }
    }
}
