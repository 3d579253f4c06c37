//! What is passed on from step to step: a page of the account book; and what is settled in each.

use std::fmt;
use std::str::FromStr;

use crate::BATCHES;
use demos::BoxError;
use demos::payment::{self, Payment};

/// The end of a batch: the next one begins with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) number: usize,
    pub(crate) balance: i64,
    /// Depends on all pages before it, so that a chain with another history has another one.
    seal: u64,
}

impl Page {
    pub(crate) fn next(&self, cents: i64) -> Self {
        let balance = self.balance + cents;
        // FNV-1a.
        let fields = [self.seal, self.number as u64 + 1, balance.cast_unsigned()];
        let seal = fields
            .iter()
            .flat_map(|field| field.to_be_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |seal, byte| {
                (seal ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self {
            number: self.number + 1,
            balance,
            seal,
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:016x}", self.number, self.balance, self.seal)
    }
}

impl FromStr for Page {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [number, balance, seal] = fields[..] else {
            return Err(format!("{text:?} is no page").into());
        };
        Ok(Self {
            number: number.parse()?,
            balance: balance.parse()?,
            seal: u64::from_str_radix(seal, 16)?,
        })
    }
}

/// The day's payments.
#[derive(Debug)]
pub(crate) struct Batches(Vec<Payment>);

impl Batches {
    pub(crate) fn read(path: &str) -> Result<Self, BoxError> {
        Ok(Self(payment::due(payment::read(path)?)))
    }

    pub(crate) fn payments(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Payment> {
        self.0.iter()
    }

    pub(crate) fn of(&self, batch: usize) -> &[Payment] {
        let from = |batch: usize| batch * self.0.len() / BATCHES;
        &self.0[from(batch)..from(batch + 1)]
    }
}
