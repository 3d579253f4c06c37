//! The audit: holds the books of the ledger, and what the queue has put aside, against the input.

use std::collections::BTreeMap;
use std::fmt;

use demos::books::{Books, Comparison};
use demos::payment::{self, Payment};
use demos::print::say;

/// What became of the recharges. Displayed as the demo's last line.
#[derive(Debug)]
pub(crate) struct Audit {
    pushed: usize,
    recharges: Comparison,
    dead: usize,
}

impl Audit {
    /// `pushed` has the line of every item by its id; `dead` are the lines of those that are dead.
    pub(crate) fn new(lines: &[String], pushed: &BTreeMap<String, String>, dead: &[String], books: &Books) -> Self {
        let due = payment::due(lines.iter().filter_map(|line| Payment::parse(line).ok()).collect());
        let mut audit = Self {
            pushed: pushed.values().filter(|line| Payment::parse(line).is_ok()).count(),
            recharges: books.compare(&due),
            dead: dead.len(),
        };
        if audit.pushed != due.len() {
            let (is, should) = (audit.pushed, due.len());
            audit.find(format!("{is} items were pushed for {should} recharges"));
        }
        audit.look_at_the_dead(lines, dead);
        let is: i64 = books.balances.iter().map(|(_, cents)| cents).sum();
        let should: i64 = due.iter().map(|recharge| recharge.cents).sum();
        say!(
            "sum: {is} cents in {} accounts, {should} in the input",
            books.balances.len()
        );
        audit
    }

    /// The dead letters are the lines that cannot be read.
    fn look_at_the_dead(&mut self, lines: &[String], dead: &[String]) {
        let mut unreadable: Vec<&String> = lines.iter().filter(|line| Payment::parse(line).is_err()).collect();
        let mut dead: Vec<&String> = dead.iter().collect();
        unreadable.sort_unstable();
        dead.sort_unstable();
        if unreadable != dead {
            self.find(format!(
                "{dead:?} are dead letters, but {unreadable:?} are the lines that cannot be read"
            ));
        }
    }

    fn find(&mut self, finding: String) {
        self.recharges.findings.push(finding);
    }

    pub(crate) fn print_findings(&self) {
        self.recharges.print_findings();
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.recharges.is_clean()
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pushed, dead, .. } = self;
        let Comparison { once, twice, lost, .. } = &self.recharges;
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

    /// Audits right books, with these pushed and these dead.
    fn audit(pushed: &[&str], dead: &[&str]) -> Audit {
        let books = Books {
            entries: LINES[..2].iter().map(|line| Payment::parse(line).unwrap()).collect(),
            balances: vec![("acc-1".to_owned(), 30)],
        };
        let pushed = pushed.iter().enumerate();
        let pushed = pushed.map(|(number, line)| (format!("item-{number}"), (*line).to_owned()));
        let dead: Vec<String> = dead.iter().map(ToString::to_string).collect();
        Audit::new(&LINES.map(str::to_owned), &pushed.collect(), &dead, &books)
    }

    #[test]
    fn right_books_are_clean() {
        let audit = audit(&LINES, &LINES[2..]);
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(
            audit.to_string(),
            "recharges: 2 pushed, 2 applied once, 0 twice, 0 lost, 1 dead"
        );
    }

    #[test]
    fn what_the_queue_did_wrong_is_found() {
        let [one, two, poisoned] = LINES;
        for audit in [
            audit(&[one, two, two, poisoned], &[poisoned]),
            audit(&LINES, &[]),
            audit(&LINES, &[one, poisoned]),
        ] {
            assert_eq!(audit.recharges.findings.len(), 1, "{audit:?}");
            assert!(!audit.is_clean());
        }
    }
}
