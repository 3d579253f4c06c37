//! The requests: read from a CSV file, then taken one by one by whichever worker is free.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Failure;

const HEADER: &str = "payment,account,cents";

/// A request to pay `cents` into `account`. One that arrives again has the same `payment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) payment: String,
    pub(crate) account: String,
    pub(crate) cents: i64,
}

/// All requests, and how many have been taken.
#[derive(Debug)]
pub(crate) struct Inbox {
    requests: Vec<Request>,
    taken: AtomicUsize,
}

impl Inbox {
    pub(crate) fn new(requests: Vec<Request>) -> Self {
        Self {
            requests,
            taken: AtomicUsize::new(0),
        }
    }

    /// The next request; each is given out once.
    pub(crate) fn take(&self) -> Option<&Request> {
        self.requests.get(self.taken.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<Request>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(parse(&text).map_err(|problem| format!("{}: {problem}", path.display()))?)
}

fn parse(text: &str) -> Result<Vec<Request>, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("the first line must be {HEADER:?}"));
    }
    let mut known: HashMap<String, Request> = HashMap::new();
    let mut requests = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let request = parse_line(line).ok_or_else(|| format!("line {number}: {line:?} is not {HEADER}"))?;
        let first = known.entry(request.payment.clone()).or_insert_with(|| request.clone());
        if *first != request {
            return Err(format!("line {number}: {} is another payment above", request.payment));
        }
        requests.push(request);
    }
    Ok(requests)
}

fn parse_line(line: &str) -> Option<Request> {
    let fields: Vec<&str> = line.split(',').collect();
    let [payment, account, cents] = fields[..] else {
        return None;
    };
    // The account becomes part of a path in ZooKeeper.
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_id(payment) && is_id(account)).then_some(())?;
    Some(Request {
        payment: payment.to_owned(),
        account: account.to_owned(),
        cents: cents.parse().ok().filter(|cents| *cents > 0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_arrives_again_is_kept() {
        let requests = parse("payment,account,cents\npay-1,acc-1,250\npay-1,acc-1,250\n").unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0], requests[1]);
    }

    #[test]
    fn bad_input_is_refused_with_its_line() {
        for line in [
            "pay-2,acc-1",
            "pay-2,acc-1,2.50",
            "pay-2,acc-1,-3",
            "pay-2,acc/1,3",
            ",acc-1,3",
            "",
            "pay-1,acc-2,250",
        ] {
            let problem = parse(&format!("payment,account,cents\npay-1,acc-1,250\n{line}\n")).unwrap_err();
            assert!(problem.starts_with("line 3: "), "{problem}");
        }
        assert!(parse("").is_err());
    }
}
