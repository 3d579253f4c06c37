//! The mark of the head: how the contender that is woken in a long line knows with one read that no other is ahead.
//!
//! A holder in a long line writes the name of its node into the data of the line's directory: *this node came to the
//! head of its line, alone*. The contender behind it, woken by the deletion of that node, is at the head itself if the
//! mark names that node. Three facts prove it, and none of them ever becomes false:
//! 1. The node ahead is gone: its deletion was told, and its name never comes back. Absence alone is no proof, since a
//!    server that lags may answer.
//! 2. The node ahead was at the head, alone, at some time: it says so.
//! 3. No contender joins ahead of a node that exists. A downgrade would break that: lines that allow one have no marks.
//!
//! As all three last, it does not matter which server answers, in which order, or how far it lags.
//!
//! The decisions are here; `contender` feeds them.

use crate::znode::WatchOutcome;

/// So many contenders make a line long: a hand-off in it is better not done with a list.
pub(super) const LONG_LINE: usize = 64;

/// What the data of a line's directory begins with when it is a mark of ours.
const PREFIX: &str = "zkr-head ";

/// After so many hand-offs in a row without a mark, those ahead are taken for clients that leave none.
const MISSES: u32 = 3;

/// Among clients that leave no mark, every so many-th hand-off looks for one nevertheless.
const LOOK_AGAIN: u32 = 16;

/// What a contender does that was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkVerdict {
    /// No contender is ahead.
    Head,
    /// Nothing is known: it lists.
    List,
    /// The answer does not show our own node: the server lags, or the node was removed.
    Recheck,
}

/// The data that says that the node `name` came to the head of its line.
pub(super) fn mark(name: &str) -> Vec<u8> {
    format!("{PREFIX}{name}").into_bytes()
}

/// Whether a mark may replace `data`. Data of others stays: peers and users keep their own in such nodes.
pub(super) fn may_replace(data: &[u8]) -> bool {
    data.is_empty() || data.starts_with(PREFIX.as_bytes())
}

/// Whether what was told of `blocker`, the node ahead, and was read after that makes us the head of the line.
///
/// * `told`: what the watch on the node ahead told
/// * `data`: the data of the line's directory, if it could be read
/// * `shows_own`: whether the same answer shows our own node
pub(super) fn judge(blocker: &str, told: WatchOutcome, data: Option<&[u8]>, shows_own: bool) -> MarkVerdict {
    let is_head = data.is_some_and(|data| data.strip_prefix(PREFIX.as_bytes()) == Some(blocker.as_bytes()));
    match told {
        _ if !shows_own => MarkVerdict::Recheck,
        WatchOutcome::Deleted if is_head => MarkVerdict::Head,
        WatchOutcome::Deleted | WatchOutcome::Unknown => MarkVerdict::List,
    }
}

/// Whether to look for a mark after so many hand-offs in a row without one.
pub(super) fn is_worth_a_look(misses: u32) -> bool {
    misses < MISSES || misses.is_multiple_of(LOOK_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: bool = true;

    #[test]
    fn only_a_deletion_of_the_marked_node_makes_a_head() {
        let data = mark("p");
        let judge_told = |told| judge("p", told, Some(&data), OWN);
        assert_eq!(judge_told(WatchOutcome::Deleted), MarkVerdict::Head);
        assert_eq!(judge_told(WatchOutcome::Unknown), MarkVerdict::List);
    }

    #[test]
    fn another_mark_or_none_makes_no_head() {
        for data in [&b""[..], b"zkr-head ", b"zkr-head q", b"zkr-head pp", b"p", b"5"] {
            assert_eq!(judge("p", WatchOutcome::Deleted, Some(data), OWN), MarkVerdict::List);
        }
        assert_eq!(judge("p", WatchOutcome::Deleted, None, OWN), MarkVerdict::List);
    }

    #[test]
    fn an_answer_without_our_node_proves_nothing() {
        let data = mark("p");
        assert_eq!(
            judge("p", WatchOutcome::Deleted, Some(&data), !OWN),
            MarkVerdict::Recheck
        );
    }

    #[test]
    fn only_empty_data_and_marks_are_replaced() {
        assert!(may_replace(b"") && may_replace(&mark("p")));
        for data in [&b"5"[..], b"zkr-hea", b"host:1", b"\0"] {
            assert!(!may_replace(data));
        }
    }

    #[test]
    fn peers_without_marks_are_asked_for_one_seldom() {
        let asked = (0..64).filter(|misses| is_worth_a_look(*misses)).count();
        assert_eq!(asked, 6);
    }
}
