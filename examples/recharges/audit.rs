//! The audit: holds the books of the ledger, and what the queue has put aside, against the input.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::input::Recharge;
use crate::ledger::Books;

/// What became of the recharges. Displayed as the example's last line.
#[derive(Debug)]
pub(crate) struct Audit {
    pushed: usize,
    once: usize,
    twice: usize,
    lost: usize,
    dead: usize,
    findings: Vec<String>,
}

impl Audit {
    /// `pushed` has the line of every item by its id; `dead` are the lines of those that are dead.
    pub(crate) fn new(lines: &[String], pushed: &BTreeMap<String, String>, dead: &[String], books: &Books) -> Self {
        let recharges: HashMap<String, Recharge> = lines
            .iter()
            .filter_map(|line| Recharge::parse(line).ok())
            .map(|recharge| (recharge.id.clone(), recharge))
            .collect();
        let mut audit = Self {
            pushed: pushed.values().filter(|line| Recharge::parse(line).is_ok()).count(),
            once: 0,
            twice: 0,
            lost: 0,
            dead: dead.len(),
            findings: Vec::new(),
        };
        audit.count_entries(&recharges, books);
        audit.compare_balances(&recharges, books);
        audit.look_at_the_dead(lines, dead);
        audit
    }

    /// Every recharge has one entry in the books, and no entry is there that is not in the input.
    fn count_entries(&mut self, recharges: &HashMap<String, Recharge>, books: &Books) {
        let mut entries: HashMap<&str, usize> = HashMap::new();
        for entry in &books.entries {
            if recharges.get(&entry.id) == Some(entry) {
                *entries.entry(&entry.id).or_default() += 1;
            } else {
                self.findings
                    .push(format!("{entry:?} is in the books, but not in the input"));
            }
        }
        for id in recharges.keys() {
            match entries.get(id.as_str()) {
                None => self.lost += 1,
                Some(1) => self.once += 1,
                Some(_) => self.twice += 1,
            }
        }
        if self.pushed != recharges.len() {
            let (is, should) = (self.pushed, recharges.len());
            self.findings
                .push(format!("{is} items were pushed for {should} recharges"));
        }
    }

    /// Every account holds the sum of its recharges.
    fn compare_balances(&mut self, recharges: &HashMap<String, Recharge>, books: &Books) {
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for recharge in recharges.values() {
            *expected.entry(&recharge.account).or_default() += recharge.cents;
        }
        let balances: BTreeMap<&str, i64> = books.balances.iter().map(|(id, cents)| (id.as_str(), *cents)).collect();
        let accounts = expected
            .keys()
            .chain(balances.keys().filter(|id| !expected.contains_key(*id)));
        for account in accounts {
            let should = expected.get(account).copied().unwrap_or(0);
            let is = balances.get(account).copied().unwrap_or(0);
            if should != is {
                self.findings
                    .push(format!("{account} holds {is} cents, but its recharges make {should}"));
            }
        }
        let sum = |balances: &BTreeMap<&str, i64>| balances.values().sum::<i64>();
        let (is, should) = (sum(&balances), sum(&expected));
        println!("sum: {is} cents in {} accounts, {should} in the input", balances.len());
    }

    /// The dead are the lines that nobody can read.
    fn look_at_the_dead(&mut self, lines: &[String], dead: &[String]) {
        let mut unreadable: Vec<&String> = lines.iter().filter(|line| Recharge::parse(line).is_err()).collect();
        let mut dead: Vec<&String> = dead.iter().collect();
        unreadable.sort_unstable();
        dead.sort_unstable();
        if unreadable != dead {
            self.findings.push(format!(
                "{dead:?} are dead, but {unreadable:?} are what nobody can read"
            ));
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
            pushed,
            once,
            twice,
            lost,
            dead,
            ..
        } = self;
        write!(
            f,
            "recharges: {pushed} pushed, {once} applied once, {twice} twice, {lost} lost, {dead} dead"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = ["top-1,acc-1,10", "top-2,acc-1,20", "top-3,acc-1,2O"];

    /// Audits these entries, this balance of the only account, these pushed and these dead.
    fn audit(entries: &[&str], balance: i64, pushed: &[&str], dead: &[&str]) -> Audit {
        let books = Books {
            entries: entries.iter().map(|line| Recharge::parse(line).unwrap()).collect(),
            balances: vec![("acc-1".to_owned(), balance)],
            again: 0,
        };
        let pushed = pushed.iter().enumerate();
        let pushed = pushed.map(|(number, line)| (format!("item-{number}"), (*line).to_owned()));
        let dead: Vec<String> = dead.iter().map(ToString::to_string).collect();
        Audit::new(&LINES.map(str::to_owned), &pushed.collect(), &dead, &books)
    }

    #[test]
    fn right_books_are_clean() {
        let audit = audit(&LINES[..2], 30, &LINES, &LINES[2..]);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(
            audit.to_string(),
            "recharges: 2 pushed, 2 applied once, 0 twice, 0 lost, 1 dead"
        );
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let [one, two, poisoned] = LINES;
        let lost = audit(&[one], 30, &LINES, &[poisoned]);
        assert_eq!((lost.once, lost.lost, lost.is_clean()), (1, 1, false));
        let twice = audit(&[one, two, one], 30, &LINES, &[poisoned]);
        assert_eq!((twice.once, twice.twice, twice.is_clean()), (1, 1, false));
        let wrong = [
            audit(&[one, two], 20, &LINES, &[poisoned]),
            audit(&[one, two, "top-2,acc-1,21"], 30, &LINES, &[poisoned]),
            audit(&[one, two], 30, &[one, two, two, poisoned], &[poisoned]),
            audit(&[one, two], 30, &LINES, &[]),
            audit(&[one, two], 30, &LINES, &[one, poisoned]),
        ];
        for audit in wrong {
            assert_eq!(
                (audit.once, audit.findings.len(), audit.is_clean()),
                (2, 1, false),
                "{audit:?}"
            );
        }
    }
}
