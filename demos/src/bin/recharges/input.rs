//! The input: a CSV file of top-ups. It is pushed line by line as it is; only its consumer has to understand it.

use demos::BoxError;
use demos::payment;

const HEADER: &str = "recharge,account,cents";

/// All lines of the file but the header.
pub(crate) fn read(path: &str) -> Result<Vec<String>, BoxError> {
    payment::lines(path, HEADER)
}

/// What makes a line the same as one that was pushed before: its first field.
pub(crate) fn key(line: &str) -> &str {
    line.split(',').next().unwrap_or(line)
}

/// The account of a line, whose recharges are applied in their order: its second field.
pub(crate) fn account(line: &str) -> &str {
    line.split(',')
        .nth(1)
        .filter(|account| !account.is_empty())
        .unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use demos::payment::Payment;

    #[test]
    fn every_line_of_the_committed_file_but_one_can_be_read_and_no_key_is_there_twice() {
        let lines = read(crate::INPUT).unwrap();
        let unreadable = lines.iter().filter(|line| Payment::parse(line).is_err()).count();
        assert_eq!((lines.len(), unreadable), (5001, 1));
        let keys: HashSet<&str> = lines.iter().map(|line| key(line)).collect();
        assert_eq!(keys.len(), lines.len());
    }
}
