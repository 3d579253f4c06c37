//! The audit: holds the books of the ledger against the input.

use std::fmt;

use demos::books::{Books, Comparison};
use demos::payment::Payment;

/// What became of the requests. Displayed as the demo's last line.
#[derive(Debug)]
pub(crate) struct Audit {
    requested: usize,
    payments: Comparison,
    refusals: u32,
}

impl Audit {
    pub(crate) fn new(requests: &[Payment], books: &Books, refusals: u32) -> Self {
        let mut payments = books.compare(requests);
        if refusals == 0 {
            payments
                .findings
                .push("no stale write was refused, but one was made".to_owned());
        }
        Self {
            requested: requests.len(),
            payments,
            refusals,
        }
    }

    pub(crate) fn print_findings(&self) {
        self.payments.print_findings();
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.payments.is_clean()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requested, refusals, ..
        } = self;
        let Comparison { once, twice, lost, .. } = &self.payments;
        let writes = if *refusals == 1 { "write" } else { "writes" };
        let duplicates = requested - (once + twice + lost);
        writeln!(f, "{refusals} stale {writes} refused by the ledger")?;
        write!(
            f,
            "payments: {requested} requested = {once} settled once + {duplicates} duplicates, {twice} twice, {lost} lost"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Audits right books of two payments, of which one was requested twice.
    fn audit(refusals: u32) -> Audit {
        let payment = |line| Payment::parse(line).unwrap();
        let (one, two) = (payment("pay-1,acc-1,10"), payment("pay-2,acc-1,20"));
        let books = Books {
            entries: vec![two.clone(), one.clone()],
            balances: vec![("acc-1".to_owned(), 30)],
        };
        Audit::new(&[one.clone(), two, one], &books, refusals)
    }

    #[test]
    fn right_books_are_clean() {
        let audit = audit(1);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(
            audit.to_string(),
            "1 stale write refused by the ledger\n\
             payments: 3 requested = 2 settled once + 1 duplicates, 0 twice, 0 lost"
        );
    }

    #[test]
    fn a_ledger_that_refused_nothing_is_found() {
        assert!(!audit(0).is_clean());
    }
}
