//! What the demos settle: payments, from CSV files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::BoxError;

const HEADER: &str = "payment,account,cents";

/// `cents` for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Two with the same are the same payment, requested twice.
    pub id: String,
    pub account: String,
    pub cents: i64,
}

impl Payment {
    /// Reads a line. The error says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split(',').collect();
        let [id, account, cents] = fields[..] else {
            return Err(format!("{line:?} is not {HEADER}"));
        };
        // The account becomes part of a path in ZooKeeper.
        let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(wrong) = [id, account].into_iter().find(|text| !is_id(text)) {
            return Err(format!("{line:?}: {wrong:?} is no id"));
        }
        let amount = cents.parse().ok().filter(|cents| *cents > 0);
        Ok(Self {
            id: id.to_owned(),
            account: account.to_owned(),
            cents: amount.ok_or_else(|| format!("{line:?}: {cents:?} is no amount in cents"))?,
        })
    }
}

/// The requests of a file, in which some come twice.
pub fn read(path: &str) -> Result<Vec<Payment>, BoxError> {
    let lines = lines(path, HEADER)?;
    Ok(parse_all(&lines).map_err(|problem| format!("{path}: {problem}"))?)
}

/// Each payment once, in the order of their first requests.
pub fn due(mut requests: Vec<Payment>) -> Vec<Payment> {
    let mut seen = HashSet::new();
    requests.retain(|request| seen.insert(request.id.clone()));
    requests
}

/// The lines of a CSV file after its first, which must be `header`.
pub fn lines(path: &str, header: &str) -> Result<Vec<String>, BoxError> {
    let text = fs::read_to_string(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
    Ok(lines_after(&text, header).map_err(|problem| format!("{path}: {problem}"))?)
}

fn lines_after(text: &str, header: &str) -> Result<Vec<String>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return Err(format!("the first line must be {header:?}"));
    }
    Ok(lines.map(str::to_owned).collect())
}

fn parse_all(lines: &[String]) -> Result<Vec<Payment>, String> {
    let mut known: HashMap<String, Payment> = HashMap::new();
    let mut requests = Vec::new();
    // The first line is the header.
    for (number, line) in (2..).zip(lines) {
        let request = Payment::parse(line).map_err(|problem| format!("line {number}: {problem}"))?;
        let first = known.entry(request.id.clone()).or_insert_with(|| request.clone());
        if *first != request {
            return Err(format!("line {number}: {} is another payment above", request.id));
        }
        requests.push(request);
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_both(line: &str) -> Result<Vec<Payment>, String> {
        parse_all(&["pay-1,acc-1,250".to_owned(), line.to_owned()])
    }

    #[test]
    fn a_request_that_arrives_again_is_kept_but_due_once() {
        let requests = parse_both("pay-1,acc-1,250").unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1]);
        assert_eq!(due(requests.clone()), requests[..1]);
    }

    #[test]
    fn a_header_that_is_wrong_or_missing_is_refused() {
        let line = "pay-1,acc-1,250";
        let read = |header: &str| lines_after(&format!("{header}{line}\n"), HEADER);
        assert_eq!(read("payment,account,cents\n"), Ok(vec![line.to_owned()]));
        for header in ["", "\n", "payment,account\n", "account,payment,cents\n"] {
            assert!(read(header).unwrap_err().contains(HEADER), "{header:?}");
        }
        assert!(lines_after("", HEADER).is_err());
    }

    #[test]
    fn bad_input_is_refused_with_its_line() {
        for line in [
            "pay-2,acc-1",
            "pay-2,acc-1,3,4",
            "pay-2,acc-1,2.50",
            "pay-2,acc-1,15O0",
            "pay-2,acc-1,-3",
            "pay-2,acc/1,3",
            ",acc-1,3",
            "",
        ] {
            let problem = parse_both(line).unwrap_err();
            assert!(problem.starts_with("line 3: ") && problem.contains(line), "{problem}");
        }
        let problem = parse_both("pay-1,acc-2,250").unwrap_err();
        assert_eq!(problem, "line 3: pay-1 is another payment above");
    }
}
