//! The audit: holds the books of the ledger against the input.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::input::Request;
use crate::ledger::Books;

/// What became of the requests. Displayed as the example's last line.
#[derive(Debug)]
pub(crate) struct Audit {
    requested: usize,
    once: usize,
    twice: usize,
    lost: usize,
    refusals: u32,
    findings: Vec<String>,
}

impl Audit {
    pub(crate) fn new(requests: &[Request], books: &Books) -> Self {
        let mut audit = Self {
            requested: requests.len(),
            once: 0,
            twice: 0,
            lost: 0,
            refusals: books.refusals,
            findings: Vec::new(),
        };
        let payments: HashMap<&str, &Request> = requests.iter().map(|r| (r.payment.as_str(), r)).collect();
        audit.count_entries(&payments, books);
        audit.compare_balances(&payments, books);
        if books.refusals == 0 {
            audit
                .findings
                .push("no stale write was refused, but one was made".to_owned());
        }
        audit
    }

    /// Every payment has one entry in the books, and no entry is there that nobody asked for.
    fn count_entries(&mut self, payments: &HashMap<&str, &Request>, books: &Books) {
        let mut entries: HashMap<&str, usize> = HashMap::new();
        for entry in &books.entries {
            if payments.get(entry.payment.as_str()) == Some(&entry) {
                *entries.entry(&entry.payment).or_default() += 1;
            } else {
                self.findings
                    .push(format!("{entry:?} is in the books, but not in the input"));
            }
        }
        for payment in payments.keys() {
            match entries.get(payment) {
                None => self.lost += 1,
                Some(1) => self.once += 1,
                Some(_) => self.twice += 1,
            }
        }
    }

    /// Every account holds the sum of its payments.
    fn compare_balances(&mut self, payments: &HashMap<&str, &Request>, books: &Books) {
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for request in payments.values() {
            *expected.entry(&request.account).or_default() += request.cents;
        }
        let balances: BTreeMap<&str, i64> = books.balances.iter().map(|(id, cents)| (id.as_str(), *cents)).collect();
        let accounts = expected
            .keys()
            .chain(balances.keys().filter(|id| !expected.contains_key(*id)));
        for account in accounts {
            let should = expected.get(account).copied().unwrap_or(0);
            let is = balances.get(account).copied().unwrap_or(0);
            if should != is {
                self.findings.push(format!(
                    "{account} holds {is} cents, but the payments to it make {should}"
                ));
            }
        }
    }

    /// What is wrong, beside the counts.
    pub(crate) fn findings(&self) -> &[String] {
        &self.findings
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.twice == 0 && self.lost == 0 && self.findings.is_empty()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requested,
            once,
            twice,
            lost,
            refusals,
            ..
        } = self;
        let writes = if *refusals == 1 { "write" } else { "writes" };
        write!(
            f,
            "payments: {requested} requested, {once} settled once, {twice} settled twice, {lost} lost, {refusals} stale {writes} refused"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(payment: &str, cents: i64) -> Request {
        Request {
            payment: payment.to_owned(),
            account: "acc-1".to_owned(),
            cents,
        }
    }

    /// Audits books with these entries, and this balance of the only account, against two payments that make 30.
    fn audit(entries: &[Request], balance: i64, refusals: u32) -> Audit {
        let requests = [request("pay-1", 10), request("pay-2", 20), request("pay-1", 10)];
        let books = Books {
            entries: entries.to_vec(),
            balances: vec![("acc-1".to_owned(), balance)],
            refusals,
        };
        Audit::new(&requests, &books)
    }

    #[test]
    fn right_books_are_clean() {
        let audit = audit(&[request("pay-2", 20), request("pay-1", 10)], 30, 1);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(
            audit.to_string(),
            "payments: 3 requested, 2 settled once, 0 settled twice, 0 lost, 1 stale write refused"
        );
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let (one, two) = (request("pay-1", 10), request("pay-2", 20));
        let lost = audit(std::slice::from_ref(&one), 30, 1);
        assert_eq!((lost.once, lost.lost, lost.is_clean()), (1, 1, false));
        let twice = audit(&[one.clone(), two.clone(), one.clone()], 30, 1);
        assert_eq!((twice.once, twice.twice, twice.is_clean()), (1, 1, false));
        let wrong = [
            audit(&[one.clone(), two.clone()], 20, 1),
            audit(&[one.clone(), two.clone()], 30, 0),
            audit(&[one.clone(), two.clone(), request("pay-3", 1)], 30, 1),
            audit(&[one, two, request("pay-2", 21)], 30, 1),
        ];
        for audit in wrong {
            assert_eq!((audit.once, audit.findings.len(), audit.is_clean()), (2, 1, false));
        }
    }
}
