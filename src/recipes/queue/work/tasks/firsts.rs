//! [`Firsts`]: where ranges of a push begin, since their names do not tell what of them is done.

use std::collections::BTreeMap;

use super::super::store::{BlockId, Guid, Kind, Span, Taking, Tally};
use super::select::Candidate;

/// So many ranges are remembered.
const RANGES: usize = 4096;

/// The first items that are not done of ranges of which others before them are.
///
/// A range may have been claimed, and some of its items acknowledged, or given back as pieces of their own. Each of these
/// numbers is what was read once; since what is done stays so, the range begins there or later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Firsts(BTreeMap<(BlockId, Guid, Span), u8>);

impl Firsts {
    /// Remembers the first item of a range that is not done; true if that is new.
    pub(super) fn learn(&mut self, candidate: &Candidate, first: u8) -> bool {
        if candidate.range.segment.kind != Kind::Pushed || first <= self.place(candidate).0 {
            return false;
        }
        if self.0.len() > RANGES {
            self.0.clear();
        }
        self.0.insert(key(candidate), first);
        true
    }

    /// The place of a range in its push. A piece is ahead of the range that it was taken out of.
    fn place(&self, candidate: &Candidate) -> (u8, bool) {
        let (_, index, is_range) = candidate.range.place();
        let first = self.0.get(&key(candidate)).copied().unwrap_or_default();
        (index.max(first), is_range)
    }

    /// Puts what is left of each push in order.
    pub(super) fn sort(&self, line: &mut [Candidate]) {
        for push in line.chunk_by_mut(is_of_same_push) {
            push.sort_by_key(|candidate| self.place(candidate));
        }
    }

    /// Whether a range stands ahead of the last item that is claimed of its push.
    pub(super) fn is_ahead(&self, candidate: &Candidate, takings: &[Taking]) -> bool {
        let is_before = |taking: &Taking| {
            let claimed = Candidate {
                block: taking.claim.block,
                range: taking.range,
            };
            is_of_same_push(candidate, &claimed) && self.place(candidate).0 < last(taking)
        };
        takings.iter().any(is_before)
    }
}

/// The first item of a range that is not done; the end of the range if there is none.
pub(super) fn first_open(Span { from, to }: Span, tally: &Tally) -> u8 {
    (from..to).find(|index| !tally.is_done(*index)).unwrap_or(to)
}

/// The first piece that was taken out of a range behind the first item that is left of it, and is free.
pub(super) fn first_piece(line: &[Candidate], of: &Candidate, tally: &Tally) -> Option<u8> {
    let inside = first_open(of.range.span, tally)..of.range.span.to;
    let pieces = line.iter().filter(|candidate| is_of_same_push(candidate, of));
    let indexes = pieces.filter_map(|piece| match piece.range.segment.kind {
        Kind::TakenOut(index) if of.range.segment.kind == Kind::Pushed => Some(index),
        _ => None,
    });
    indexes.filter(|index| inside.contains(index)).min()
}

/// How many of these ranges are read together if at least so many are: with the pieces that were taken out of the last one.
pub(super) fn with_pieces(line: &[Candidate], ranges: usize) -> usize {
    let mut end = ranges.min(line.len());
    while let Some([last, next]) = end.checked_sub(1).and_then(|from| line.get(from..end + 1)) {
        if !is_of_same_push(last, next) || !matches!(next.range.segment.kind, Kind::TakenOut(_)) {
            break;
        }
        end += 1;
    }
    end
}

fn key(candidate: &Candidate) -> (BlockId, Guid, Span) {
    (candidate.block, candidate.range.segment.guid, candidate.range.span)
}

pub(super) fn is_of_same_push(one: &Candidate, other: &Candidate) -> bool {
    one.block == other.block && one.range.segment.sequence == other.range.segment.sequence
}

/// The last item that is claimed, by its index in the push.
fn last(taking: &Taking) -> u8 {
    let Span { from, to } = taking.claim.span;
    match taking.range.segment.kind {
        Kind::TakenOut(index) => index,
        _ => (from..to).rfind(|index| !taking.tally.is_done(*index)).unwrap_or(from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::store::{Claimable, Lane, Range, SegmentName, State};
    use super::*;

    fn range(text: &str, from: u8, to: u8) -> Candidate {
        let segment = SegmentName {
            sequence: 3,
            kind: Kind::Pushed,
            guid: Guid::of_text(text),
            count: 64,
            priority: 100,
            time: 1,
        };
        let block = BlockId {
            lane: Lane::Ready(100),
            number: 0,
        };
        let (span, state) = (Span { from, to }, State::Free);
        let range = Range { segment, span, state };
        Candidate { block, range }
    }

    fn piece(index: u8) -> Candidate {
        let mut piece = range(&index.to_string(), 0, 1);
        piece.range.segment.kind = Kind::TakenOut(index);
        piece
    }

    fn tally(done: &[u8]) -> Tally {
        let mut tally = Tally::default();
        done.iter().for_each(|index| tally.finish(*index));
        tally
    }

    fn taking(candidate: Candidate, tally: Tally) -> Taking {
        Taking {
            range: candidate.range,
            claim: Claimable::unclaimed(candidate.block, &candidate.range),
            tally,
            before: None,
            over: None,
        }
    }

    #[test]
    fn a_range_stands_where_its_first_item_is() {
        let (early, late) = (range("s", 0, 4), range("s", 4, 64));
        let mut firsts = Firsts::default();
        let mut line = [early, piece(1), late, piece(5)];
        firsts.sort(&mut line);
        assert_eq!(line, [early, piece(1), late, piece(5)]);
        assert!(firsts.learn(&early, 2));
        assert!(!firsts.learn(&early, 1), "what is done stays so");
        assert!(!firsts.learn(&late, 4));
        firsts.sort(&mut line);
        assert_eq!(line, [piece(1), early, late, piece(5)]);
        assert!(firsts.learn(&late, 6));
        firsts.sort(&mut line);
        assert_eq!(line, [piece(1), early, piece(5), late]);
    }

    #[test]
    fn what_is_free_inside_a_claim_is_ahead() {
        let claim = |done: &[u8]| [taking(range("s", 0, 4), tally(done))];
        let firsts = Firsts::default();
        assert!(firsts.is_ahead(&piece(1), &claim(&[1])));
        assert!(firsts.is_ahead(&piece(2), &claim(&[0, 2])));
        assert!(!firsts.is_ahead(&piece(3), &claim(&[3])));
        assert!(!firsts.is_ahead(&piece(2), &claim(&[2, 3])));
        assert!(!firsts.is_ahead(&range("s", 4, 64), &claim(&[])));
        assert!(firsts.is_ahead(&range("s", 4, 64), &[taking(piece(7), tally(&[]))]));
        let mut other = piece(1);
        other.range.segment.sequence = 4;
        assert!(!firsts.is_ahead(&other, &claim(&[1])));
    }

    #[test]
    fn a_claim_ends_ahead_of_a_piece() {
        let line = [range("s", 0, 4), piece(2), piece(1), range("s", 4, 64), piece(5)];
        let found = |of: &Candidate, done: &[u8]| first_piece(&line, of, &tally(done));
        assert_eq!(found(&line[0], &[1, 2]), Some(1));
        assert_eq!(found(&line[0], &[0, 1, 2]), None);
        assert_eq!(found(&line[3], &[5]), Some(5));
        assert_eq!(found(&piece(1), &[]), None);
        assert_eq!(with_pieces(&line, 1), 3);
        assert_eq!(with_pieces(&line, 4), 5);
        assert_eq!((with_pieces(&line, 0), with_pieces(&[], 4)), (0, 0));
    }
}
