//! The input: a day's payments, and the share of the work that each account belongs to.

use crate::SHARES;
use demos::{BoxError, payment};

/// The net amount of each share.
#[derive(Debug)]
pub(crate) struct Shares {
    payments: usize,
    cents: Vec<i64>,
}

impl Shares {
    pub(crate) fn read(path: &str) -> Result<Self, BoxError> {
        let payments = payment::due(payment::read(path)?);
        let mut cents = vec![0; SHARES];
        for payment in &payments {
            let share = share(&payment.account).ok_or_else(|| format!("{path}: {payment:?} is in no share"))?;
            cents[share] += payment.cents;
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

/// The share that an account belongs to.
fn share(account: &str) -> Option<usize> {
    let number: usize = account.strip_prefix("acc-")?.parse().ok()?;
    Some(number % SHARES)
}
