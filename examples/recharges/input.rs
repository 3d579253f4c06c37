//! The input: a CSV file of top-ups. It is pushed line by line as it is; only who consumes a line has to understand it.

use std::fs;
use std::path::Path;

use crate::Failure;

const HEADER: &str = "recharge,account,cents";

/// `cents` for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recharge {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) cents: i64,
}

impl Recharge {
    /// Reads a line. The error says what is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split(',').collect();
        let [id, account, cents] = fields[..] else {
            return Err(format!("{line:?} is not {HEADER}"));
        };
        let amount = cents.parse().ok().filter(|cents| *cents > 0);
        Ok(Self {
            id: id.to_owned(),
            account: account.to_owned(),
            cents: amount.ok_or_else(|| format!("{line:?}: {cents:?} is no amount in cents"))?,
        })
    }
}

/// All lines of the file but the header.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("{}: the first line must be {HEADER:?}", path.display()).into());
    }
    Ok(lines.map(str::to_owned).collect())
}

/// What makes a line the same as one that was pushed before: its first field.
pub(crate) fn key(line: &str) -> &str {
    line.split(',').next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_read_says_why() {
        for line in [
            "top-1,acc-1,15O0",
            "top-1,acc-1,-5",
            "top-1,acc-1",
            "",
            "top-1,acc-1,5,6",
        ] {
            let problem = Recharge::parse(line).unwrap_err();
            assert!(problem.contains(line), "{problem}");
        }
        assert_eq!(Recharge::parse("top-1,acc-1,1500").unwrap().cents, 1500);
    }

    #[test]
    fn every_line_of_the_committed_file_but_one_can_be_read_and_no_key_is_there_twice() {
        let lines = read(Path::new(crate::INPUT)).unwrap();
        let unreadable = lines.iter().filter(|line| Recharge::parse(line).is_err()).count();
        assert_eq!((lines.len(), unreadable), (5001, 1));
        let keys: std::collections::HashSet<&str> = lines.iter().map(|line| key(line)).collect();
        assert_eq!(keys.len(), lines.len());
    }
}
