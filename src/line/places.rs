//! [`Places`]: one list of a line, which tells many contenders of ours where they stand.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ContenderNames;
use super::order::CreationOrder;
use super::position::{Mode, Position, position_of};
use crate::znode::{ChildName, Sequence, Tag};

/// The children of a line's directory as one server showed them.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) children: Vec<String>,
    asked: AtomicUsize,
    bytes: OnceLock<usize>,
    index: OnceLock<Option<PlaceIndex>>,
}

/// What a name takes in an answer beside itself: its length.
const NAME_OVERHEAD: usize = 4;

/// In a shorter list each contender looks by itself.
const WORTH_AN_INDEX: usize = 64;

/// Contenders in order. It pays once more than one of ours asks.
#[derive(Debug)]
struct PlaceIndex {
    /// Whose names these are: several recipes may share a path.
    known: &'static [(Tag, Mode)],
    /// Where the order begins.
    oldest: Sequence,
    order: Vec<OrderedChild>,
    /// Which of `order` are exclusive, ascending.
    exclusive: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct OrderedChild {
    /// How far behind the oldest.
    distance: i32,
    /// Which child.
    child: usize,
}

impl Places {
    pub(super) fn new(children: Vec<String>) -> Self {
        Self {
            children,
            asked: AtomicUsize::new(0),
            bytes: OnceLock::new(),
            index: OnceLock::new(),
        }
    }

    /// How many bytes the list takes in an answer.
    pub(super) fn bytes(&self) -> usize {
        *self
            .bytes
            .get_or_init(|| self.children.iter().map(|name| name.len() + NAME_OVERHEAD).sum())
    }

    /// Where `own` stands in the `line` of these children.
    pub(super) fn position<'a>(
        &'a self,
        own: &ChildName<'_>,
        mode: Mode,
        names: &ContenderNames,
        line: impl Iterator<Item = (ChildName<'a>, Mode)>,
        creations: &CreationOrder,
    ) -> Position<'a> {
        let is_worth_it = self.asked.fetch_add(1, Ordering::Relaxed) > 0 && self.children.len() >= WORTH_AN_INDEX;
        let index = is_worth_it.then(|| self.index.get_or_init(|| PlaceIndex::new(&self.children, names)));
        match index {
            Some(Some(index)) if index.known == names.known => return self.position_in(index, own, mode),
            _ => {}
        }
        position_of(own, mode, line, creations)
    }

    fn position_in(&self, index: &PlaceIndex, own: &ChildName<'_>, mode: Mode) -> Position<'_> {
        let distance = own.sequence.distance_from(index.oldest);
        let start = index.order.partition_point(|place| place.distance < distance);
        let name = |at: usize| {
            let place = index.order.get(at)?;
            self.children.get(place.child).map(String::as_str)
        };
        let mut same = (start..index.order.len()).take_while(|at| index.order[*at].distance == distance);
        if !same.any(|at| name(at) == Some(own.text)) {
            return Position::Missing;
        }
        let blocker = match mode {
            Mode::Exclusive => start.checked_sub(1),
            Mode::Shared => {
                let behind = index.exclusive.partition_point(|at| *at < start);
                behind.checked_sub(1).map(|last| index.exclusive[last])
            }
        };
        blocker.and_then(name).map_or(Position::Granted, Position::BlockedBy)
    }
}

impl PlaceIndex {
    /// None where the numbers alone do not tell the order.
    fn new(children: &[String], names: &ContenderNames) -> Option<Self> {
        let parsed = children.iter().enumerate();
        let parsed: Vec<_> = parsed
            .filter_map(|(child, name)| names.parse(name).map(|(name, mode)| (child, name.sequence, mode)))
            .collect();
        if parsed.iter().any(|(_, sequence, _)| sequence.is_exhausted()) {
            return None;
        }
        let oldest = Sequence::oldest(parsed.iter().map(|(_, sequence, _)| *sequence))?;
        let place = |(child, sequence, mode): (usize, Sequence, Mode)| {
            let distance = sequence.distance_from(oldest);
            (OrderedChild { distance, child }, mode)
        };
        let mut order: Vec<_> = parsed.into_iter().map(place).collect();
        order.sort_unstable_by_key(|(place, _)| place.distance);
        if order.first().is_some_and(|(place, _)| place.distance < 0) {
            return None;
        }
        let is_exclusive = |(at, (_, mode)): (usize, &(OrderedChild, Mode))| (*mode == Mode::Exclusive).then_some(at);
        Some(Self {
            known: names.known,
            oldest,
            exclusive: order.iter().enumerate().filter_map(is_exclusive).collect(),
            order: order.into_iter().map(|(place, _)| place).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(start: i32, modes: &[bool]) -> Vec<String> {
        let name = |(index, shared): (usize, &bool)| {
            let number = start.wrapping_add(i32::try_from(index).unwrap_or(0));
            match shared {
                true => format!("x__rlock__{number:010}"),
                false => format!("_c_x-lock-{number:010}"),
            }
        };
        modes.iter().enumerate().map(name).collect()
    }

    /// A lock and a read-write lock of kazoo's may share a path, and each knows contenders that the other does not.
    #[test]
    fn recipes_that_share_a_path_do_not_share_an_order() {
        let mut children = vec!["_c_x-lock-0000000000".to_owned()];
        children.extend((1..100).map(|number| format!("x__lock__{number:010}")));
        let places = Places::new(children);
        let none = CreationOrder::default();
        let positions = [
            ContenderNames::KAZOO_RW,
            ContenderNames::KAZOO_RW,
            ContenderNames::KAZOO_LOCK,
        ]
        .map(|names| {
            let (own, mode) = names.parse("x__lock__0000000001").unwrap();
            let line = places.children.iter().filter_map(|name| names.parse(name));
            places.position(&own, mode, &names, line, &none)
        });
        let ahead = Position::BlockedBy("_c_x-lock-0000000000");
        assert_eq!(positions, [Position::Granted, Position::Granted, ahead]);
    }

    proptest! {
        /// Each caller, first or later, is told what the list says by itself.
        #[test]
        fn a_shared_list_tells_each_contender_its_position(
            start: i32,
            modes in prop::collection::vec(prop::bool::weighted(0.3), 1..200),
            seed: usize,
        ) {
            let line = names(start, &modes);
            let mut children = line.clone();
            children.rotate_left(seed % modes.len());
            children.push("foreign".to_owned());
            let contenders = ContenderNames::CURATOR_LOCK;
            let places = Places::new(children.clone());
            let none = CreationOrder::default();
            for name in line.iter().chain([&names(start.wrapping_sub(1), &[false])[0]]) {
                let (own, mode) = contenders.parse(name).unwrap();
                if own.sequence.is_exhausted() {
                    continue;
                }
                let expected = position_of(&own, mode, children.iter().filter_map(|name| contenders.parse(name)), &none);
                let line = places.children.iter().filter_map(|name| contenders.parse(name));
                prop_assert_eq!(places.position(&own, mode, &contenders, line, &none), expected);
            }
        }
    }
}
