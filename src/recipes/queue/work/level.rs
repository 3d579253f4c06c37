//! The data of the queue's own node: that it is one, and how many items a bounded one holds.
//!
//! Each push writes it, so that a watch on it tells of arrivals. In a bounded queue whatever changes the number of items
//! writes it on the condition that nobody else did in between; in another one nobody has to take turns.

use bytes::Bytes;

use crate::error::Error;

const FORMAT: &str = "zookeeper-recipes work queue 1";

/// What the queue's node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) bound: Option<Bound>,
    /// The version of the node's data.
    pub(super) version: i32,
}

/// How many items a queue may hold, and how many it holds: ready, delayed and claimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) capacity: u64,
    pub(super) items: u64,
}

impl Bound {
    /// How many items more it may hold.
    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.items)
    }
}

impl Level {
    pub(super) fn parse(data: &[u8], version: i32) -> Option<Self> {
        let mut lines = std::str::from_utf8(data).ok()?.lines();
        if lines.next()? != FORMAT {
            return None;
        }
        let bound = match (lines.next(), lines.next()) {
            (None, _) => None,
            (Some(capacity), Some(items)) => Some(Bound {
                capacity: capacity.strip_prefix("capacity ")?.parse().ok()?,
                items: items.strip_prefix("items ")?.parse().ok()?,
            }),
            (Some(_), None) => return None,
        };
        Some(Self { bound, version })
    }

    pub(super) fn data(bound: Option<Bound>) -> Bytes {
        match bound {
            None => Bytes::from_static(FORMAT.as_bytes()),
            Some(Bound { capacity, items }) => format!("{FORMAT}\ncapacity {capacity}\nitems {items}\n").into(),
        }
    }

    /// An error if the queue is bounded otherwise than we were told.
    pub(super) fn check(&self, path: &str, capacity: Option<u64>) -> Result<(), Error> {
        let agreed = self.bound.map(|bound| bound.capacity);
        if capacity.is_none() || capacity == agreed {
            return Ok(());
        }
        Err(Error::Layout {
            path: path.to_owned(),
            reason: "the queue was made with another capacity; configure all of its users with the same one",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for bound in [None, Some(Bound { capacity: 7, items: 3 })] {
            let level = Level { bound, version: 4 };
            assert_eq!(Level::parse(&Level::data(bound), 4), Some(level));
        }
        for foreign in [
            "",
            "127.0.0.1",
            "zookeeper-recipes work queue 2",
            "zookeeper-recipes work queue 1\ncapacity x",
        ] {
            assert_eq!(Level::parse(foreign.as_bytes(), 0), None, "{foreign}");
        }
    }
}
