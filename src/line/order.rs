//! Order past the end of the sequence numbers.
//!
//! A directory's counter is an `int`. Servers since 3.6 leave it at its last value for good (`DataTree.createNode` only
//! ever raises it), so that all contenders from then on have the same number, but for those whose creates are in flight
//! together: they get the numbers after it, which are negative, before it falls back. The order of such numbers says
//! nothing; that of the zxids of their creation does.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session::{Interrupted, Session};
use crate::znode::{ChildName, NodePath, Sequence, stats};

/// Sorts children of the node at `path` by the order of their creation, as their numbers tell it, or the server where
/// those do not.
pub(crate) async fn in_order<'a, T>(
    session: &Arc<Session>,
    path: &NodePath,
    mut children: Vec<T>,
    numbered: impl Fn(&T) -> (&'a str, Sequence),
) -> Result<Vec<T>, Interrupted> {
    let Some(oldest) = Sequence::oldest(children.iter().map(|child| numbered(child).1)) else {
        return Ok(children);
    };
    let creations = CreationOrder::of(session, path, children.iter().map(&numbered)).await?;
    children.sort_by_key(|child| creations.place(oldest, numbered(child)));
    Ok(children)
}

/// When contenders with spent numbers were created, by their names. Empty as long as there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct CreationOrder(HashMap<String, i64>);

impl CreationOrder {
    pub(super) fn add(&mut self, name: &ChildName<'_>, czxid: i64) {
        if name.sequence.is_exhausted() {
            self.0.insert(name.text.to_owned(), czxid);
        }
    }

    /// How far `other` is behind `own`, negative if ahead of it; `None` if one of them has left the line meanwhile.
    pub(super) fn distance(&self, own: &ChildName<'_>, other: &ChildName<'_>) -> Option<(i32, i64)> {
        if own.sequence.is_exhausted() && other.sequence.is_exhausted() {
            let (own, other) = (self.0.get(own.text)?, self.0.get(other.text)?);
            return Some((0, other - own));
        }
        Some((other.sequence.distance_from(own.sequence), 0))
    }

    /// The place of `name` in a list that begins with the number `oldest`: a total order, whatever the numbers are.
    pub(super) fn place(&self, oldest: Sequence, (text, sequence): (&str, Sequence)) -> (u32, i64) {
        match self.0.get(text) {
            Some(czxid) => (Sequence::LAST.distance_from(oldest).cast_unsigned(), *czxid),
            None => (sequence.distance_from(oldest).cast_unsigned(), 0),
        }
    }

    /// Asks the server for those of `names` that matter to the order as `own` sees it.
    pub(super) async fn ask<'a>(
        session: &Arc<Session>,
        path: &NodePath,
        own: &ChildName<'_>,
        names: impl Iterator<Item = ChildName<'a>>,
    ) -> Result<Self, Interrupted> {
        if !own.sequence.is_exhausted() {
            return Ok(Self::default());
        }
        Self::of(session, path, names.map(|name| name.numbered())).await
    }

    /// Asks the server for those of `children` whose numbers are spent.
    async fn of<'a>(
        session: &Arc<Session>,
        path: &NodePath,
        children: impl Iterator<Item = (&'a str, Sequence)>,
    ) -> Result<Self, Interrupted> {
        let spent = children.filter(|(_, number)| number.is_exhausted());
        let stats = stats(session, path, spent.map(|(text, _)| text)).await?;
        let known = stats.into_iter().map(|(text, stat)| (text.to_owned(), stat.czxid));
        Ok(Self(known.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::znode::Tag;

    fn parse(text: &str) -> ChildName<'_> {
        ChildName::parse(text, [Tag::Lock]).unwrap()
    }

    #[test]
    fn spent_numbers_are_ordered_by_creation_and_stand_behind_all_others() {
        let names = [
            "a-lock-2147483647",
            "b-lock--2147483648",
            "c-lock-2147483647",
            "d-lock-2147483646",
        ]
        .map(parse);
        let mut creations = CreationOrder::default();
        for (name, czxid) in names.iter().zip([30, 20, 10, 5]) {
            creations.add(name, czxid);
        }
        let [a, b, c, d] = names;
        let nearest_first = [&b, &c, &d].map(|other| creations.distance(&a, other));
        assert!(
            nearest_first
                .iter()
                .all(|distance| distance.is_some_and(|far| far < (0, 0)))
        );
        assert!(nearest_first.is_sorted_by(|one, next| one > next), "{nearest_first:?}");
        assert_eq!(creations.distance(&a, &parse("gone-lock-2147483647")), None);
    }

    #[test]
    fn a_list_is_sorted_by_number_and_then_by_creation() {
        let mut line = [
            "a-lock-2147483647",
            "b-lock--2147483648",
            "c-lock-2147483646",
            "d-lock-2147483645",
        ]
        .map(parse);
        let mut creations = CreationOrder::default();
        creations.add(&line[0], 30);
        creations.add(&line[1], 20);
        let oldest = line[3].sequence;
        line.sort_by_key(|name| creations.place(oldest, name.numbered()));
        assert_eq!(line.map(|name| &name.text[..1]), ["d", "c", "b", "a"]);
    }
}
