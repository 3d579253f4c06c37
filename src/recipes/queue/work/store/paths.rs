//! Where everything of a queue stands.
//!
//! A *segment* is one node with the items of one push, or several. A *block* is a directory of a bounded number of segments.
//! A *lane* is a series of blocks: the data version of its node is the number of the last block, to which all pushes go in a
//! transaction that checks it. So what is ahead in a lane came earlier, and no request lists a backlog.

use std::fmt;
use std::time::Duration;

use super::names::Guid;
use crate::znode::NodePath;

/// A push that gets this sequence number, or a later one, begins the next block.
pub(crate) const BLOCK: usize = 192;

/// A slot is at least so long, in milliseconds.
pub(crate) const GRAIN: i64 = 128;

/// The slots of so many milliseconds stand in one directory.
const SPAN: i64 = 1 << 20;

/// A series of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Items of a priority, in the order of their arrival.
    Ready(u8),
    /// Items that are due at a time, in milliseconds.
    Delayed(i64),
    /// The items of a group.
    Group(Guid),
    /// What is to be forgotten at a time, in milliseconds.
    Expiry(i64),
}

/// The slot of what is due so much later. The coarser the further away, so that there are few slots, however far it goes.
pub(crate) fn slot_after(now: i64, delay: Duration) -> i64 {
    let delay = i64::try_from(delay.as_millis())
        .unwrap_or(i64::MAX / 4)
        .min(i64::MAX / 4);
    let mut grain = GRAIN;
    while grain * 2 <= delay / 64 {
        grain *= 2;
    }
    (now + delay + grain - 1).div_euclid(grain) * grain
}

impl fmt::Display for Lane {
    /// As ids have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(priority) => write!(f, "{priority:03}"),
            Self::Delayed(slot) => write!(f, "d{slot}"),
            Self::Group(group) => write!(f, "g{group}"),
            Self::Expiry(slot) => write!(f, "x{slot}"),
        }
    }
}

impl Lane {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lane = match text.split_at_checked(1)? {
            ("d", slot) => Self::Delayed(slot.parse().ok()?),
            ("g", group) => Self::Group(Guid::parse(group)?),
            _ => Self::Ready(text.parse().ok()?),
        };
        // Written again, because numbers have many spellings.
        (lane.to_string() == text).then_some(lane)
    }
}

/// The paths of a queue.
#[derive(Clone, Debug)]
pub(crate) struct QueueLayout {
    root: NodePath,
}

impl QueueLayout {
    pub(crate) fn new(root: NodePath) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &NodePath {
        &self.root
    }

    pub(crate) fn directory(&self, name: &str) -> NodePath {
        self.root.descendant(name)
    }

    pub(crate) fn bell(&self) -> String {
        self.root.child("bell")
    }

    pub(crate) fn level(&self) -> String {
        self.root.child("level/0")
    }

    pub(crate) fn lane(&self, lane: Lane) -> NodePath {
        let path = match lane {
            Lane::Ready(priority) => format!("lanes/{priority:03}"),
            Lane::Delayed(slot) => format!("delayed/{}/{slot}", span_of(slot)),
            Lane::Group(group) => {
                let name = group.to_string();
                format!("groups/{}/{name}", shard(&name))
            }
            Lane::Expiry(slot) => format!("expiry/{}/{slot}", span_of(slot)),
        };
        self.root.descendant(&path)
    }

    pub(crate) fn block(&self, place: BlockId) -> NodePath {
        self.lane(place.lane).descendant(&place.number.to_string())
    }

    pub(crate) fn span(&self, slots: Slots, span: i64) -> NodePath {
        self.slots(slots).descendant(&span.to_string())
    }

    pub(crate) fn slots(&self, slots: Slots) -> NodePath {
        self.root.descendant(match slots {
            Slots::Delayed => "delayed",
            Slots::Expiry => "expiry",
        })
    }

    pub(crate) fn result(&self, id: &str) -> String {
        self.sharded("results", id)
    }

    pub(crate) fn dead(&self, id: &str) -> String {
        self.sharded("dead", id)
    }

    pub(crate) fn moved(&self, id: &str) -> String {
        self.sharded("moved", id)
    }

    /// The node of an idempotency key, whatever is in it.
    pub(crate) fn key(&self, key: &str) -> String {
        self.sharded("keys", &escaped(key))
    }

    fn sharded(&self, directory: &str, name: &str) -> String {
        self.root.child(&format!("{directory}/{}/{name}", shard(name)))
    }
}

/// A family of lanes that are due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    Delayed,
    Expiry,
}

impl Slots {
    pub(crate) fn lane(self, slot: i64) -> Lane {
        match self {
            Self::Delayed => Lane::Delayed(slot),
            Self::Expiry => Lane::Expiry(slot),
        }
    }
}

/// The directory of a slot.
pub(crate) fn span_of(slot: i64) -> i64 {
    slot.div_euclid(SPAN)
}

/// When the span of this number begins.
pub(crate) fn span_start(span: i64) -> i64 {
    span.saturating_mul(SPAN)
}

/// One block of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockId {
    pub(crate) lane: Lane,
    pub(crate) number: i32,
}

/// The numbers among `names`, in ascending order.
pub(crate) fn numbers<T: std::str::FromStr + Ord>(names: &[String]) -> Vec<T> {
    let mut numbers: Vec<T> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// Spreads nodes that are only ever found by name, so that no directory gets too long to be listed: FNV-1a.
fn shard(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{:02x}", (hash ^ (hash >> 16)) & 0xff)
}

/// Any text as a node name: what a name cannot hold is written as `%` and two digits, so that no two are alike.
fn escaped(key: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' | b'@' | b'+' | b'=' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02x}"),
    };
    key.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_lane_panics(name in ".{0,60}") {
            let _ = Lane::parse(&name);
        }

        #[test]
        fn a_slot_is_at_most_a_64th_late(now in 0_i64..4_000_000_000_000, delay in 0_u64..400_000_000_000) {
            let slot = slot_after(now, Duration::from_millis(delay));
            let delay = i64::try_from(delay).unwrap();
            prop_assert!(slot >= now + delay);
            prop_assert!(slot - now - delay <= GRAIN.max(delay / 64));
        }

        #[test]
        fn a_span_holds_its_slots(slot in -4_000_000_000_000_i64..4_000_000_000_000) {
            prop_assert!(span_start(span_of(slot)) <= slot && slot < span_start(span_of(slot) + 1));
        }

        #[test]
        fn keys_are_told_apart(one in ".{1,20}", other in ".{1,20}") {
            prop_assert_eq!(one == other, escaped(&one) == escaped(&other));
            prop_assert!(!escaped(&one).contains('/') && !escaped(&one).contains('.'));
        }
    }
}
