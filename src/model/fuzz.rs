//! What reads names and data from the ensemble, for a fuzzer.

use crate::recipes;
use crate::znode::{ChildName, Tag, asked, split_reason, split_value};

/// Hands `data` to the parser that its first byte chooses. A parser that panics is at fault.
pub fn parse(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let all = [OWN, recipes::PARSERS, recipes::queue::PARSERS];
    let parsers: Vec<_> = all.iter().flat_map(|parsers| parsers.iter()).collect();
    parsers[usize::from(*choice) % parsers.len()](data);
}

const OWN: &[fn(&[u8])] = &[
    |data| {
        let name = String::from_utf8_lossy(data);
        if let Some(name) = ChildName::parse(&name, Tag::NUMBERED) {
            assert!(name.text.ends_with(&name.sequence.to_string()));
        }
    },
    |data| {
        let mut names = String::from_utf8_lossy(data)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        names.truncate(32);
        if let Some(own) = names.first().cloned() {
            let _ = super::place(&own, &names);
        }
    },
    |data| {
        let path = "/locks/_c_6b8b4567-327b-4db8-af5a-6a9e5d8ac8f7-lock-0000000001";
        let (length, _) = split_reason(path, data);
        assert!(length <= data.len());
        let (length, _) = split_value(path, data);
        assert!(length <= data.len());
    },
    |data| _ = asked(data),
];
