//! What one list of a block shows: what waits, what is claimed, until when.

use std::collections::BTreeMap;

use super::names::{Child, GroupedName, Guid, Kind, SegmentName, Span};

/// What is to be done to have a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// A segment of one item that was never claimed.
    FreshSingle,
    /// What of a segment was never claimed.
    FreshRest,
    /// Claimed at least once, or cut off such a one, and not claimed now.
    Free,
    /// Claimed, until the deadline if there is one.
    Claimed { epoch: u32, deadline: Option<i64> },
}

/// Items of a segment that are not all done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    pub(crate) segment: SegmentName,
    pub(crate) span: Span,
    pub(crate) state: State,
}

impl Range {
    /// The place in line within the block. What was taken out is ahead of a range that begins at the same place by its
    /// name, since the item is done there.
    pub(crate) fn place(&self) -> (u32, u8, bool) {
        let (index, is_range) = match self.segment.kind {
            Kind::TakenOut(index) => (index, false),
            _ => (self.span.from, true),
        };
        (self.segment.sequence, index, is_range)
    }

    pub(crate) fn is_free(&self) -> bool {
        !matches!(self.state, State::Claimed { .. })
    }

    /// Whether it can be had at this time of the ensemble's clock.
    pub(crate) fn is_free_at(&self, overdue: i64) -> bool {
        match self.state {
            State::Claimed { deadline, .. } => deadline.is_some_and(|deadline| deadline <= overdue),
            _ => true,
        }
    }

    /// How many items it has at most.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.span.to - self.span.from)
    }
}

/// What one list of a block shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// In line.
    pub(crate) ranges: Vec<Range>,
    /// Segments whose items are all done, and which were left behind.
    pub(crate) done: Vec<SegmentName>,
    /// The items of a group, in line.
    pub(crate) grouped: Vec<GroupedName>,
    /// Whether there is nothing in it.
    pub(crate) is_empty: bool,
}

#[derive(Default)]
struct Parts {
    fresh: Option<u8>,
    opened: Vec<Span>,
    claims: BTreeMap<Span, (u32, Option<i64>)>,
}

impl Picture {
    pub(crate) fn of(names: &[String]) -> Self {
        let mut segments: Vec<SegmentName> = Vec::new();
        let mut parts: BTreeMap<Guid, Parts> = BTreeMap::new();
        let mut picture = Self {
            is_empty: names.is_empty(),
            ..Self::default()
        };
        for child in names.iter().filter_map(|name| Child::parse(name)) {
            match child {
                Child::Segment(segment) => segments.push(segment),
                Child::Fresh { guid, from } => parts.entry(guid).or_default().fresh = Some(from),
                Child::Opened { guid, span } => parts.entry(guid).or_default().opened.push(span),
                Child::Claimed {
                    guid,
                    span,
                    epoch,
                    deadline,
                } => {
                    parts.entry(guid).or_default().claims.insert(span, (epoch, deadline));
                }
                Child::Grouped(name) => picture.grouped.push(name),
            }
        }
        for segment in segments {
            picture.add(segment, parts.remove(&segment.guid).unwrap_or_default());
        }
        picture.ranges.sort_by_key(|range| (range.place(), range.segment.guid));
        picture.grouped.sort_unstable();
        picture
    }

    fn add(&mut self, segment: SegmentName, parts: Parts) {
        let opened = |span: Span| match parts.claims.get(&span) {
            Some((epoch, deadline)) => State::Claimed {
                epoch: *epoch,
                deadline: *deadline,
            },
            None => State::Free,
        };
        let ranges = parts.opened.iter().filter(|span| span.to <= segment.count);
        let ranges = ranges.map(|span| Range {
            segment,
            span: *span,
            state: opened(*span),
        });
        self.ranges.extend(ranges);
        match segment.count {
            1 if parts.opened.is_empty() => {
                let span = Span { from: 0, to: 1 };
                self.ranges.push(Range {
                    segment,
                    span,
                    state: State::FreshSingle,
                });
            }
            1 => {}
            count => match parts.fresh.filter(|from| *from < count) {
                Some(from) => {
                    let span = Span { from, to: count };
                    self.ranges.push(Range {
                        segment,
                        span,
                        state: State::FreshRest,
                    });
                }
                None if parts.opened.is_empty() => self.done.push(segment),
                None => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str, sequence: u32, count: u8) -> SegmentName {
        SegmentName {
            sequence,
            kind: Kind::Pushed,
            guid: Guid::of_text(text),
            count,
            priority: 100,
            time: 1,
        }
    }

    fn picture(children: &[Child]) -> Picture {
        let mut names: Vec<String> = children.iter().map(ToString::to_string).collect();
        names.extend(["lost+found".to_owned(), "x-1".to_owned()]);
        Picture::of(&names)
    }

    #[test]
    fn a_single_item_is_fresh_until_it_is_opened() {
        let single = segment("a", 4, 1);
        let (guid, span) = (single.guid, Span { from: 0, to: 1 });
        let (opened, claimed) = (
            Child::Opened { guid, span },
            Child::Claimed {
                guid,
                span,
                epoch: 2,
                deadline: Some(7),
            },
        );
        let state = |children: &[Child]| picture(children).ranges[0].state;
        let segment = Child::Segment(single);
        assert_eq!(state(&[segment]), State::FreshSingle);
        assert_eq!(state(&[opened, segment]), State::Free);
        assert_eq!(
            state(&[claimed, opened, segment]),
            State::Claimed {
                epoch: 2,
                deadline: Some(7)
            }
        );
        assert_eq!(picture(&[opened]).ranges, []);
    }

    #[test]
    fn ranges_stand_in_line_by_sequence_and_index() {
        let (first, second) = (segment("a", 3, 10), segment("b", 9, 1));
        let out = SegmentName {
            kind: Kind::TakenOut(4),
            guid: Guid::of_text("c"),
            ..segment("c", 3, 1)
        };
        let span = |from, to| Span { from, to };
        let guid = first.guid;
        let all = [
            Child::Segment(second),
            Child::Segment(out),
            Child::Fresh { guid, from: 7 },
            Child::Segment(first),
            Child::Opened { guid, span: span(5, 7) },
            Child::Opened { guid, span: span(0, 4) },
        ];
        let shown = picture(&all);
        let places: Vec<_> = shown.ranges.iter().map(|range| (range.place(), range.state)).collect();
        let expected = [
            ((3, 0, true), State::Free),
            ((3, 4, false), State::FreshSingle),
            ((3, 5, true), State::Free),
            ((3, 7, true), State::FreshRest),
            ((9, 0, true), State::FreshSingle),
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn a_segment_without_its_ranges_is_done() {
        let shown = picture(&[Child::Segment(segment("a", 3, 10))]);
        assert_eq!((shown.ranges, shown.done), (vec![], vec![segment("a", 3, 10)]));
    }
}
