//! The reason of a contender: why it wants the place, kept behind its identity in the data of its node.
//!
//! The identity is the first line, the reason is the rest. The value of a candidate may have lines of its own: its reason stands
//! behind a line that begins with a record separator. To Curator and kazoo the data of our nodes is opaque.

use bytes::Bytes;

use super::name;

/// The data of a node of ours that tells why it is there.
pub(crate) fn with_reason(identity: &[u8], reason: &str) -> Bytes {
    [identity, b"\n", reason.as_bytes()].concat().into()
}

/// Between the value of a candidate and its reason.
const MARK: &[u8] = b"\n\x1e";

/// The data of a candidate of ours that tells why it stands.
pub(crate) fn value_with_reason(value: &[u8], reason: &str) -> Bytes {
    [value, MARK, reason.as_bytes()].concat().into()
}

/// How long the value of a candidate is in `own`, the data of the node at `path` as its owner wrote it, and the reason behind
/// it.
pub(crate) fn split_value<'a>(path: &str, own: &'a [u8]) -> (usize, Option<&'a str>) {
    let mark = own.windows(MARK.len()).rposition(|bytes| bytes == MARK);
    match mark.filter(|_| name::is_ours(path)) {
        Some(end) => (end, std::str::from_utf8(&own[end + MARK.len()..]).ok()),
        None => (own.len(), None),
    }
}

/// How long the identity is in `own`, the data of the node at `path` as its owner wrote it, and the reason behind it.
pub(crate) fn split_reason<'a>(path: &str, own: &'a [u8]) -> (usize, Option<&'a str>) {
    if let (end, Some(reason)) = split_value(path, own) {
        return (end, Some(reason));
    }
    let end = own.iter().position(|byte| *byte == b'\n');
    match end.filter(|_| name::is_ours(path)) {
        Some(end) => {
            let reason = std::str::from_utf8(&own[end + 1..]).ok();
            (end, reason.filter(|reason| !reason.is_empty()))
        }
        None => (own.len(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/a/_c_2c3b1a4e-9f4b-8a57-8a58-7a1d2c9b0e11-lock-0000000007";
    const CURATORS: &str = "/a/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-0000000007";

    #[test]
    fn a_reason_is_read_back_from_nodes_of_ours_alone() {
        let data = with_reason(b"web-3:4711", "nightly\nsettlement");
        assert_eq!(split_reason(OURS, &data), (10, Some("nightly\nsettlement")));
        assert_eq!(split_reason(CURATORS, &data), (data.len(), None));
        assert_eq!(split_reason(OURS, b"web-3:4711"), (10, None));
        assert_eq!(split_reason(OURS, b"web\n"), (3, None));
        assert_eq!(split_reason(OURS, b"web\n\xff"), (3, None));
    }

    #[test]
    fn a_value_keeps_its_lines_in_front_of_a_reason() {
        let data = value_with_reason(b"{\n}", "deploy\nof Tuesday");
        assert_eq!(split_value(OURS, &data), (3, Some("deploy\nof Tuesday")));
        assert_eq!(split_reason(OURS, &data), (3, Some("deploy\nof Tuesday")));
        assert_eq!(split_value(CURATORS, &data), (data.len(), None));
        assert_eq!(split_value(OURS, b"{\n}"), (3, None));
    }
}
