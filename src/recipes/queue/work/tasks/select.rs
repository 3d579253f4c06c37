//! Which of the free ranges come next: pure.

use std::time::Duration;

use super::super::store::{BlockId, Guid, Lane, Order, Range, Span, State};

/// So many ranges are claimed at once.
pub(super) const STRICT_RANGES: usize = 64;

/// In a window, so many items are claimed at once.
const LEASE: usize = 16;

/// A free range, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) block: BlockId,
    pub(crate) range: Range,
}

/// Names a range, and its claim.
pub(crate) type CandidateKey = (BlockId, Guid, Span, u32);

impl Candidate {
    pub(crate) fn key(&self) -> CandidateKey {
        let epoch = match self.range.state {
            State::Claimed { epoch, .. } => epoch,
            _ => 0,
        };
        (self.block, self.range.segment.guid, self.range.span, epoch)
    }
}

/// Free ranges in line, all of one lane and one priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneLine {
    pub(crate) lane: Lane,
    pub(crate) priority: u8,
    pub(crate) ranges: Vec<Candidate>,
}

/// All free ranges in line: by priority, which gets more urgent with age; then by time.
pub(crate) fn in_line(sequences: &[LaneLine], now: i64, aging: Option<Duration>) -> Vec<Candidate> {
    let mut heads: Vec<std::slice::Iter<'_, Candidate>> =
        sequences.iter().map(|sequence| sequence.ranges.iter()).collect();
    let rank = |sequence: &LaneLine, candidate: &Candidate| {
        let time = match sequence.lane {
            Lane::Delayed(slot) => slot,
            _ => candidate.range.segment.time,
        };
        (
            urgency(sequence.priority, now.saturating_sub(time), aging),
            time,
            sequence.lane,
        )
    };
    let mut line = Vec::new();
    loop {
        let next = heads.iter().zip(sequences).enumerate();
        let next = next.filter_map(|(place, (head, sequence))| Some((rank(sequence, head.as_slice().first()?), place)));
        let Some((_, place)) = next.min() else { return line };
        line.extend(heads[place].next());
    }
}

/// The priority of something of this age; less is more urgent.
fn urgency(priority: u8, age: i64, aging: Option<Duration>) -> i64 {
    let step = aging.map_or(0, |aging| i64::try_from(aging.as_millis()).unwrap_or(i64::MAX));
    i64::from(priority) - age.max(0).checked_div(step).unwrap_or_default()
}

/// What of the line is claimed next: which ranges, and how many items of each. `random` is taken modulo what it chooses from.
pub(crate) fn choose(line: &[Candidate], wanted: usize, order: Order, random: usize) -> Vec<(Candidate, usize)> {
    let (first, ranges, mut left) = match order {
        Order::Strict => (0, line.len().min(STRICT_RANGES), wanted),
        Order::Window(width) => {
            let width = line.len().min(usize::from(width).max(1));
            (random.checked_rem(width).unwrap_or_default(), width, wanted.min(LEASE))
        }
    };
    let mut chosen = Vec::new();
    for candidate in &line[first..ranges] {
        if left == 0 {
            break;
        }
        let items = candidate.range.len().min(left);
        left -= items;
        chosen.push((*candidate, items));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::store::{Kind, SegmentName};
    use super::*;

    fn candidate(lane: Lane, sequence: u32, count: u8, priority: u8, time: i64) -> Candidate {
        let guid = Guid::of_text(&sequence.to_string());
        let segment = SegmentName {
            sequence,
            kind: Kind::Pushed,
            guid,
            count,
            priority,
            time,
        };
        let range = Range {
            segment,
            span: Span { from: 0, to: count },
            state: State::FreshRest,
        };
        Candidate {
            block: BlockId { lane, number: 0 },
            range,
        }
    }

    fn sequences() -> impl Strategy<Value = Vec<LaneLine>> {
        let one = (
            0_u8..4,
            any::<bool>(),
            prop::collection::vec((1_u8..=64, 0_i64..1000), 0..20),
        );
        prop::collection::vec(one, 0..6).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered
                .map(|(number, (priority, delayed, ranges))| {
                    let slot = i64::try_from(number).unwrap() * 100;
                    let lane = if delayed {
                        Lane::Delayed(slot)
                    } else {
                        Lane::Ready(priority)
                    };
                    let ranges = ranges.into_iter().zip(0..);
                    let ranges =
                        ranges.map(|((count, time), sequence)| candidate(lane, sequence, count, priority, time));
                    LaneLine {
                        lane,
                        priority,
                        ranges: ranges.collect(),
                    }
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_line_has_all_and_keeps_each_lane_in_order(all in sequences(), aging in prop::option::of(1_u64..100)) {
            let line = in_line(&all, 1000, aging.map(Duration::from_millis));
            prop_assert_eq!(line.len(), all.iter().map(|sequence| sequence.ranges.len()).sum::<usize>());
            let mut rest = line.clone();
            for sequence in &all {
                let mut at = 0;
                for candidate in &sequence.ranges {
                    let found = rest[at..].iter().position(|other| other == candidate);
                    prop_assert!(found.is_some());
                    at += found.unwrap();
                    rest.remove(at);
                }
            }
        }

        #[test]
        fn without_aging_nothing_urgent_waits_behind(all in sequences()) {
            let line = in_line(&all, 1000, None);
            prop_assert!(line.windows(2).all(|pair| pair[0].range.segment.priority <= pair[1].range.segment.priority));
        }

        #[test]
        fn no_more_is_chosen_than_wanted(all in sequences(), wanted in 0_usize..200, width in any::<u16>(), random in any::<usize>()) {
            let line = in_line(&all, 1000, None);
            for order in [Order::Strict, Order::Window(width)] {
                let chosen = choose(&line, wanted, order, random);
                prop_assert!(chosen.iter().map(|(_, items)| items).sum::<usize>() <= wanted);
                prop_assert_eq!(chosen.is_empty(), line.is_empty() || wanted == 0);
                if order == Order::Strict {
                    prop_assert!(chosen.iter().zip(&line).all(|((candidate, _), first)| candidate == first));
                } else {
                    let window = &line[..line.len().min(usize::from(width).max(1))];
                    prop_assert!(chosen.iter().all(|(candidate, _)| window.contains(candidate)));
                }
            }
        }
    }

    #[test]
    fn what_is_old_enough_passes_what_is_urgent() {
        let (old, new) = (
            candidate(Lane::Ready(200), 0, 1, 200, 0),
            candidate(Lane::Ready(1), 0, 1, 1, 100_000),
        );
        let sequence = |candidate: Candidate| LaneLine {
            lane: candidate.block.lane,
            priority: candidate.range.segment.priority,
            ranges: vec![candidate],
        };
        let all = [sequence(old), sequence(new)];
        assert_eq!(in_line(&all, 100_000, None), [new, old]);
        assert_eq!(in_line(&all, 100_000, Some(Duration::from_millis(400))), [old, new]);
    }
}
