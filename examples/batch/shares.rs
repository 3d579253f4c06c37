//! The input: a day's payments, and the share of the work that each account belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{Failure, SHARES};

const HEADER: &str = "payment,account,cents";

/// The net amount of each share.
#[derive(Debug)]
pub(crate) struct Shares {
    payments: usize,
    cents: Vec<i64>,
}

impl Shares {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(format!("{}: the first line must be {HEADER:?}", path.display()).into());
        }
        // A payment that was requested again is due once.
        let mut payments = BTreeMap::new();
        for (number, line) in (2..).zip(lines) {
            let (payment, due) =
                parse(line).ok_or_else(|| format!("{}, line {number}: {line:?} is not {HEADER}", path.display()))?;
            payments.insert(payment, due);
        }
        let mut cents = vec![0; SHARES];
        for (share, amount) in payments.values() {
            cents[*share] += amount;
        }
        Ok(Self {
            payments: payments.len(),
            cents,
        })
    }

    pub(crate) fn payments(&self) -> usize {
        self.payments
    }

    pub(crate) fn cents(&self, share: usize) -> i64 {
        self.cents[share]
    }

    pub(crate) fn total(&self) -> i64 {
        self.cents.iter().sum()
    }
}

/// A payment, the share that its account belongs to, and its amount.
fn parse(line: &str) -> Option<(&str, (usize, i64))> {
    let mut fields = line.split(',');
    let (payment, account, cents) = (fields.next()?, fields.next()?, fields.next()?);
    let number: usize = account.strip_prefix("acc-")?.parse().ok()?;
    let complete = fields.next().is_none();
    complete.then_some((payment, (number % SHARES, cents.parse().ok()?)))
}
