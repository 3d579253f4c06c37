//! Where everything of a queue is.
//!
//! ```text
//! <queue>                                          the format, and the level of a bounded queue; written by each push
//! <queue>/ready/<priority>/<block>/<segment>       items that wait, in the order of their arrival
//! <queue>/later/<priority>/<span>/<slot>/<block>/<segment>   items that are due at a time, or were given back
//! <queue>/claims/<claim>                           ephemeral, of a consumer that works
//! <queue>/claimed/<claim>                          the items that it works on
//! <queue>/consumers                                the line of consumers that want items
//! <queue>/keys/<shard>/<key>                       the id of the item that was pushed with a key
//! <queue>/results/<shard>/<id>                     a result
//! <queue>/dead/<shard>/<id>                        an item that nobody could handle
//! <queue>/expiry/<span>/<slot>/<block>/<segment>   keys and results to be forgotten at a time
//! <queue>/ledgers                                  ephemeral, for the exact outcome of transactions
//! ```
//!
//! A *segment* is one node that holds the items of one push, or several. A *block* is a directory of a bounded number of
//! segments, and a *lane* a series of blocks: the version of the lane's node is the number of the last block, where all
//! segments go, in a transaction that checks it. So what is ahead in a lane came earlier, and nothing lists a backlog.

use std::fmt::Write;
use std::time::Duration;

use crate::znode::{NodePath, Sequence};

/// How many segments are put into one block, about.
pub(super) const BLOCK: usize = 512;

/// A slot is at least so long, in milliseconds.
const GRAIN: i64 = 128;

/// The slots of so many milliseconds stand in one directory.
const SPAN: i64 = 1 << 20;

/// A series of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    /// Items of a priority, in the order of their arrival.
    Ready(u8),
    /// Items of a priority that are due at a time, in milliseconds.
    Later(u8, i64),
    /// What is to be forgotten at a time, in milliseconds.
    Expiry(i64),
}

impl Lane {
    /// The lane of what is due so much later. The coarser the further away: there are few slots ahead of us, however
    /// far it goes.
    pub(super) fn slot_after(now: i64, delay: Duration) -> i64 {
        let delay = i64::try_from(delay.as_millis())
            .unwrap_or(i64::MAX / 4)
            .min(i64::MAX / 4);
        let mut grain = GRAIN;
        while grain < delay / 64 {
            grain *= 2;
        }
        (now + delay + grain - 1).div_euclid(grain) * grain
    }

    /// The lane of items of a priority that were given back, which were due at `due` and maybe later. It stands ahead of
    /// those that were pushed for that time, and apart from them: it is the only one that is not in the order of its
    /// segments.
    pub(super) fn given_back(priority: u8, due: i64) -> Self {
        Self::Later(priority, due.div_euclid(GRAIN) * GRAIN - 1)
    }

    pub(super) fn is_given_back(self) -> bool {
        matches!(self, Self::Later(_, slot) if slot.rem_euclid(GRAIN) == GRAIN - 1)
    }
}

/// The paths of a queue.
#[derive(Clone, Debug)]
pub(super) struct QueuePaths {
    root: NodePath,
}

impl QueuePaths {
    pub(super) fn new(root: NodePath) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &NodePath {
        &self.root
    }

    pub(super) fn directory(&self, name: &str) -> NodePath {
        self.root.descendant(name)
    }

    pub(super) fn lane(&self, lane: Lane) -> NodePath {
        let path = match lane {
            Lane::Ready(priority) => format!("ready/{priority:03}"),
            Lane::Later(priority, slot) => format!("later/{priority:03}/{}/{slot}", slot.div_euclid(SPAN)),
            Lane::Expiry(slot) => format!("expiry/{}/{slot}", slot.div_euclid(SPAN)),
        };
        self.root.descendant(&path)
    }

    pub(super) fn block(&self, lane: Lane, block: i32) -> NodePath {
        self.lane(lane).descendant(&block.to_string())
    }

    pub(super) fn slots(&self, slots: Slots) -> NodePath {
        match slots {
            Slots::Later(priority) => self.root.descendant(&format!("later/{priority:03}")),
            Slots::Expiry => self.root.descendant("expiry"),
        }
    }

    pub(super) fn claim(&self, name: &str) -> String {
        self.root.child(&format!("claims/{name}"))
    }

    pub(super) fn claimed(&self, name: &str) -> String {
        self.root.child(&format!("claimed/{name}"))
    }

    pub(super) fn result(&self, id: &str) -> String {
        self.root.child(&format!("results/{}/{id}", shard(id)))
    }

    pub(super) fn dead(&self, id: &str) -> String {
        self.root.child(&format!("dead/{}/{id}", shard(id)))
    }

    /// The node of an idempotency key, whatever is in it.
    pub(super) fn key(&self, key: &str) -> String {
        let name = escaped(key);
        self.root.child(&format!("keys/{}/{name}", shard(&name)))
    }
}

/// A family of lanes that are due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slots {
    Later(u8),
    Expiry,
}

impl Slots {
    pub(super) fn lane(self, slot: i64) -> Lane {
        match self {
            Self::Later(priority) => Lane::Later(priority, slot),
            Self::Expiry => Lane::Expiry(slot),
        }
    }

    /// When the span of this number begins.
    pub(super) fn span_start(span: i64) -> i64 {
        span.saturating_mul(SPAN)
    }
}

/// The name of a segment: how many items it holds, a guid, and the sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentName<'a> {
    pub(super) count: usize,
    pub(super) guid: &'a str,
    pub(super) sequence: Sequence,
}

impl<'a> SegmentName<'a> {
    /// What the server appends the sequence number to.
    pub(super) fn prefix(count: usize, guid: &str) -> String {
        format!("{count}-{guid}-")
    }

    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (count, rest) = name.split_once('-')?;
        let (guid, sequence) = rest.split_once('-')?;
        let name = Self {
            count: count.parse().ok()?,
            guid,
            sequence: Sequence::parse(sequence)?,
        };
        (guid.len() == 32 && guid.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(name)
    }

    /// The same segment when only `count` items are left in it.
    pub(super) fn shrunk(self, count: usize) -> String {
        format!("{count}-{}-{}", self.guid, self.sequence)
    }
}

/// The numbers among `names`, in ascending order.
pub(super) fn numbers<T: std::str::FromStr + Ord + Copy>(names: &[String]) -> Vec<T> {
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
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' | b'@' | b'+' | b'=' => {
                name.push(char::from(byte));
            }
            _ => {
                // Writing into a String does not fail.
                let _ = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_is_known_by_its_name() {
        let guid = "0123456789abcdef0123456789abcdef";
        let name = format!("{}0000000012", SegmentName::prefix(7, guid));
        let parsed = SegmentName::parse(&name).unwrap();
        assert_eq!((parsed.count, parsed.guid), (7, guid));
        assert_eq!(parsed.shrunk(6), format!("6-{guid}-0000000012"));
        for foreign in ["", "x", "7-abc-0000000012", "queue-0000000001", "-1-a-0000000000"] {
            assert_eq!(SegmentName::parse(foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn what_is_given_back_is_due_and_stands_apart(now in 0_i64..4_000_000_000_000, delay in 0_u64..400_000_000_000) {
            let Lane::Later(_, slot) = Lane::given_back(1, now) else { unreachable!() };
            prop_assert!((now - GRAIN..now).contains(&slot));
            prop_assert!(Lane::Later(1, slot).is_given_back());
            prop_assert!(!Lane::Later(1, Lane::slot_after(now, Duration::from_millis(delay))).is_given_back());
        }

        #[test]
        fn a_slot_is_not_too_early_and_little_too_late(now in 0_i64..4_000_000_000_000, delay in 0_u64..400_000_000_000) {
            let slot = Lane::slot_after(now, Duration::from_millis(delay));
            let due = now + i64::try_from(delay).unwrap();
            prop_assert!(slot >= due);
            prop_assert!(slot - due <= GRAIN.max(i64::try_from(delay).unwrap() / 32));
        }

        #[test]
        fn a_span_begins_before_all_of_its_slots(due in -4_000_000_000_000_i64..4_000_000_000_000) {
            let Lane::Later(_, slot) = Lane::given_back(1, due) else { unreachable!() };
            let span = slot.div_euclid(SPAN);
            prop_assert!(Slots::span_start(span) <= slot);
            prop_assert!(Slots::span_start(span + 1) > slot);
        }

        #[test]
        fn keys_are_told_apart(one in ".{1,20}", other in ".{1,20}") {
            prop_assert_eq!(one == other, escaped(&one) == escaped(&other));
            prop_assert!(!escaped(&one).contains('/') && !escaped(&one).contains('.'));
        }
    }
}
