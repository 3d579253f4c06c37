//! Names of contenders, as Curator and kazoo write them, and the order of their sequence numbers.

use std::fmt;

use uuid::{Builder, Uuid, Version};
use zookeeper_client as zk;

/// What stands right before the sequence number of a child's name and says what kind of contender it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tag {
    /// Curator's `InterProcessMutex`: `_c_<uuid>-lock-<seq>`.
    Lock,
    /// Curator's `LeaderLatch`: `_c_<uuid>-latch-<seq>`.
    Latch,
    /// The read lock of Curator's `InterProcessReadWriteLock`: `_c_<uuid>-__READ__<seq>`.
    Read,
    /// The write lock of Curator's `InterProcessReadWriteLock`: `_c_<uuid>-__WRIT__<seq>`.
    Write,
    /// A permit of Curator's `InterProcessSemaphoreV2`: `_c_<uuid>-lease-<seq>`.
    Lease,
    /// A member of Curator's or kazoo's `DoubleBarrier`: `<uuid>`, without a sequence number.
    Member,
    /// kazoo's `Lock` and `WriteLock`: `<hex>__lock__<seq>`.
    KazooLock,
    /// kazoo's `ReadLock`: `<hex>__rlock__<seq>`.
    KazooReadLock,
}

impl Tag {
    /// All that stand before a sequence number; a longer one before one that it ends with.
    pub(crate) const NUMBERED: [Self; 7] = [
        Self::Read,
        Self::Write,
        Self::KazooReadLock,
        Self::KazooLock,
        Self::Latch,
        Self::Lease,
        Self::Lock,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lock => "lock-",
            Self::Latch => "latch-",
            Self::Read => "__READ__",
            Self::Write => "__WRIT__",
            Self::Lease => "lease-",
            Self::Member => "",
            Self::KazooLock => "__lock__",
            Self::KazooReadLock => "__rlock__",
        }
    }

    /// The recipe whose contenders have this tag, for metrics.
    pub(crate) fn recipe(self) -> &'static str {
        match self {
            Self::Lock | Self::KazooLock => "lock",
            Self::Latch => "election",
            Self::Read | Self::Write | Self::KazooReadLock => "rwlock",
            Self::Lease => "semaphore",
            Self::Member => "double_barrier",
        }
    }

    /// How a node of this kind is created: the server appends a sequence number to all but a member's.
    pub(crate) fn create_mode(self) -> zk::CreateMode {
        match self {
            Self::Member => zk::CreateMode::Ephemeral,
            _ => zk::CreateMode::EphemeralSequential,
        }
    }

    /// A name for a new contender, without the sequence number, and the guid in it. The guid makes it unique for
    /// ever, so that deleting by name can never hit another client's node.
    pub(crate) fn new_name(self) -> NewName {
        let uuid = mark_ours(Uuid::new_v4());
        let guid = match self {
            Self::KazooLock | Self::KazooReadLock => uuid.simple().to_string(),
            _ => uuid.hyphenated().to_string(),
        };
        let prefix = match self {
            Self::Member | Self::KazooLock | Self::KazooReadLock => format!("{guid}{}", self.text()),
            _ => format!("_c_{guid}-{}", self.text()),
        };
        NewName { guid, prefix }
    }
}

/// The recipe that named a node, for metrics; `other` where the name has no number.
pub(crate) fn recipe_of(name: &str) -> &'static str {
    ChildName::parse(name, Tag::NUMBERED).map_or("other", |name| name.tag.recipe())
}

/// The same random bits as a UUID of version 8, the one for vendors: others name their nodes with version 4.
fn mark_ours(random: Uuid) -> Uuid {
    Builder::from_custom_bytes(random.into_bytes()).into_uuid()
}

/// Whether the node at `path`, or of that name, was named by this crate.
pub(crate) fn is_ours(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let guid = match name.strip_prefix("_c_") {
        Some(name) => name.get(..36),
        None => name.get(..32),
    };
    let uuid = guid.and_then(|guid| Uuid::parse_str(guid).ok());
    uuid.is_some_and(|uuid| uuid.get_version() == Some(Version::Custom))
}

/// The name of a node to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewName {
    pub(crate) guid: String,
    /// What the server appends the sequence number to.
    pub(crate) prefix: String,
}

/// A sequence number: the parent's counter of creates, an `i32` that wraps to negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sequence(i32);

/// As a server writes it.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

impl Sequence {
    /// The last one before the overflow.
    pub(crate) const LAST: Self = Self(i32::MAX);

    /// Parses what a server writes, Java's `%010d` of an `int`, and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = text.parse::<i32>().ok()?;
        // Told without writing the number again, because a list may hold thousands of names.
        let sign = text.strip_prefix('-');
        let is_padded = match text.len() {
            10 => !text.starts_with('+'),
            11 => sign.is_some_and(|digits| !digits.starts_with('0')),
            _ => false,
        };
        (is_padded && sign.is_some() == (number < 0)).then_some(Self(number))
    }

    /// Whether so many came before it, as long as the counter has not wrapped.
    pub(crate) fn is_at_least(self, count: usize) -> bool {
        usize::try_from(self.0).map_or(true, |number| number >= count)
    }

    /// The number after this one.
    pub(crate) fn next(self) -> i32 {
        self.0.wrapping_add(1)
    }

    /// How far this is behind `reference` in the order of creation; negative if ahead of it. Right across the
    /// overflow, as long as fewer than 2^31 creates lie between the two.
    pub(crate) fn distance_from(self, reference: Self) -> i32 {
        self.0.wrapping_sub(reference.0)
    }

    /// Whether the order of such numbers may say nothing: the last one, which newer servers give to everybody once they
    /// have come to it, and those right after it, which they give while several creates are in flight (by default a
    /// thousand at most).
    pub(crate) fn is_exhausted(self) -> bool {
        self == Self::LAST || self.0 < i32::MIN + (1 << 16)
    }

    /// The oldest of `sequences`, right across the overflow: the one after the largest gap in the circle of numbers.
    pub(crate) fn oldest(sequences: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut numbers: Vec<i32> = sequences.into_iter().map(|sequence| sequence.0).collect();
        numbers.sort_unstable();
        let last = *numbers.last()?;
        let before = std::iter::once(last).chain(numbers.iter().copied());
        let gaps = before
            .zip(&numbers)
            .map(|(before, number)| (number.wrapping_sub(before).cast_unsigned(), *number));
        gaps.max_by_key(|(gap, _)| *gap).map(|(_, number)| Self(number))
    }
}

/// The name of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildName<'a> {
    pub(crate) text: &'a str,
    pub(crate) tag: Tag,
    pub(crate) sequence: Sequence,
}

impl<'a> ChildName<'a> {
    /// Parses a child's name; `None` for one that carries none of `tags` right before a sequence number.
    pub(crate) fn parse(text: &'a str, tags: impl IntoIterator<Item = Tag> + Clone) -> Option<Self> {
        // Ten characters, or eleven for the largest negative numbers; the tag in front tells a sign from its hyphen.
        [10, 11].into_iter().find_map(|length| {
            let (front, number) = text.split_at_checked(text.len().checked_sub(length)?)?;
            let sequence = Sequence::parse(number)?;
            let tag = tags.clone().into_iter().find(|tag| front.ends_with(tag.text()))?;
            Some(Self { text, tag, sequence })
        })
    }

    pub(crate) fn numbered(&self) -> (&'a str, Sequence) {
        (self.text, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAGS: [Tag; 3] = [Tag::Lock, Tag::KazooLock, Tag::KazooReadLock];

    fn parse(text: &str) -> Option<(Tag, i32)> {
        ChildName::parse(text, TAGS).map(|name| (name.tag, name.sequence.0))
    }

    #[test]
    fn names_of_curator_kazoo_and_go_are_recognised() {
        let uuid = "2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11";
        assert_eq!(parse(&format!("_c_{uuid}-lock-0000000007")), Some((Tag::Lock, 7)));
        assert_eq!(parse("lock-0000000001"), Some((Tag::Lock, 1)));
        assert_eq!(
            parse("_c_0123456789abcdef0123456789abcdef-lock-0000000042"),
            Some((Tag::Lock, 42))
        );
        assert_eq!(
            parse("0123456789abcdef0123456789abcdef__lock__0000000003"),
            Some((Tag::KazooLock, 3))
        );
        assert_eq!(
            parse("0123456789abcdef0123456789abcdef__rlock__0000000004"),
            Some((Tag::KazooReadLock, 4))
        );
    }

    #[test]
    fn negative_sequences_are_read_as_the_server_writes_them() {
        assert_eq!(parse("_c_x-lock--2147483648"), Some((Tag::Lock, i32::MIN)));
        assert_eq!(parse("_c_x-lock--000000001"), Some((Tag::Lock, -1)));
        assert_eq!(parse("x__lock__-2147483647"), Some((Tag::KazooLock, i32::MIN + 1)));
    }

    #[test]
    fn our_own_names_are_told_from_those_of_others() {
        for tag in [Tag::Lock, Tag::Read, Tag::Write, Tag::KazooLock] {
            let name = tag.new_name().prefix;
            assert!(is_ours(&format!("/a/b/{name}0000000001")), "{name}");
        }
        for other in [
            "",
            "/a",
            "lock-0000000001",
            "_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-0000000007",
            "_c_2c3b1a4e-9f4b-1a57-8a58-7a1d2c9b0e11-lock-0000000007",
            "2c3b1a4e9f4b4a578a587a1d2c9b0e11__lock__0000000003",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    /// What Curator 5.4.0 and kazoo 2.11.0 wrote on ZooKeeper 3.8.0 with their default settings.
    const WRITTEN_BY_OTHERS: &[(&str, Tag, i32)] = &[
        // InterProcessMutex and LeaderSelector; the gate of InterProcessSemaphoreV2
        ("_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock-0000000000", Tag::Lock, 0),
        ("_c_6d1f8a55-95b1-4c33-8d1a-3ad0f8d1a0b7-lock-0000000001", Tag::Lock, 1),
        // InterProcessReadWriteLock; the last but one a downgraded writer since 5.5.0, with that writer's number
        (
            "_c_6a7e1d0c-0a5b-4a0c-8c53-0e8ff5b7b4a1-__WRIT__0000000000",
            Tag::Write,
            0,
        ),
        (
            "_c_92d6dbb0-5d8c-4e59-b2a4-3f3a3b1c9d6e-__READ__0000000001",
            Tag::Read,
            1,
        ),
        (
            "_c_92d6dbb0-5d8c-4e59-b2a4-3f3a3b1c9d6e-__READ__0000000000",
            Tag::Read,
            0,
        ),
        (
            "_c_d3a4c8d2-3b1e-4b7b-9a0d-5c0d7a4e2f10-__READ__0000000002",
            Tag::Read,
            2,
        ),
        // InterProcessSemaphoreV2
        (
            "_c_f1b9a7d4-1f0c-4c1a-8a6e-7d9b4f2e6c35-lease-0000000000",
            Tag::Lease,
            0,
        ),
        // LeaderLatch
        (
            "_c_27f0c5d1-4b3e-4d5c-9e2b-8c6a1b7d3f42-latch-0000000001",
            Tag::Latch,
            1,
        ),
        // Lock and WriteLock, ReadLock
        ("4b2f6ad80c1e4f7f8e0d3a9b5c6d7e8f__lock__0000000003", Tag::KazooLock, 3),
        (
            "9c8b7a6f5e4d4c3b8a291807f6e5d4c3__rlock__0000000004",
            Tag::KazooReadLock,
            4,
        ),
        // Any of them after 2^31 creates
        (
            "_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock-2147483647",
            Tag::Lock,
            i32::MAX,
        ),
        (
            "_c_0b0c2b6e-6c63-4f9c-9d9b-2f1f2c0f6f5e-lock--2147483648",
            Tag::Lock,
            i32::MIN,
        ),
        (
            "4b2f6ad80c1e4f7f8e0d3a9b5c6d7e8f__lock__-2147483647",
            Tag::KazooLock,
            i32::MIN + 1,
        ),
    ];

    /// As above, of recipes that have no line.
    const NO_CONTENDERS_OF_OTHERS: &[&str] = &[
        "5d2f1c9a-7b3e-4c6d-8f0a-1b2c3d4e5f60",
        "5d2f1c9a7b3e4c6d8f0a1b2c3d4e5f60",
        "ready",
        "me",
        "5d2f1c9a7b3e4c6d8f0a1b2c3d4e5f60__party__",
        "lease_holder",
        "_c_5d2f1c9a-7b3e-4c6d-8f0a-1b2c3d4e5f60-n-0000000000",
        "touch",
        "queue-0000000000",
        "queue-|id_1_2|0000000000",
        "queue-1000000050000000000",
        "queue-0FFFFFFFB0000000001",
        "queue-|18BCFE56800|0000000000",
        "qn-0000000000",
        "entry-100-0000000000",
    ];

    #[test]
    fn what_others_wrote_we_read_and_would_write_alike() {
        use Tag::{KazooLock, KazooReadLock, Latch, Lease, Lock, Read, Write};
        let every_tag = [Lock, Latch, Read, Write, Lease, KazooLock, KazooReadLock];
        for (text, tag, number) in WRITTEN_BY_OTHERS {
            let parsed = ChildName::parse(text, every_tag).map(|name| (name.tag, name.sequence));
            assert_eq!(parsed, Some((*tag, Sequence(*number))), "{text}");
            let own = tag.new_name();
            let guid_at = own.prefix.find(&own.guid).unwrap();
            let theirs = &text[guid_at..guid_at + own.guid.len()];
            assert_eq!(
                format!("{}{}", own.prefix.replace(&own.guid, theirs), Sequence(*number)),
                *text
            );
            assert!(!is_ours(text), "{text}");
        }
        for text in NO_CONTENDERS_OF_OTHERS {
            assert_eq!(ChildName::parse(text, every_tag), None, "{text}");
        }
    }

    #[test]
    fn foreign_names_are_not_contenders() {
        for name in [
            "0",
            "zzz",
            "",
            "lock-",
            "lock-notanumber",
            "_c_x-lock-99",
            "_c_x-lock-00000000001",
            "_c_x-lock-+000000001",
            "_c_x-lock-9999999999",
            "_c_x-lock-0000000001x",
            "_c_x-latch-0000000001",
            "lock-0000000001-",
        ] {
            assert_eq!(parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn order_holds_across_the_overflow() {
        let [before, last, first, after] = [i32::MAX - 1, i32::MAX, i32::MIN, i32::MIN + 1].map(Sequence);
        assert!(before.distance_from(last) < 0);
        assert!(last.distance_from(first) < 0);
        assert!(first.distance_from(after) < 0);
        assert!(after.distance_from(before) > 0);
        assert_eq!(Sequence::oldest([first, after, before, last]), Some(before));
        assert_eq!(Sequence::oldest([Sequence(5)]), Some(Sequence(5)));
        assert_eq!(Sequence::oldest([]), None);
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(number: i32, tag in prop::sample::select(&TAGS[..])) {
            let name = tag.new_name();
            let text = format!("{}{number:010}", name.prefix);
            prop_assert!(text.contains(&name.guid));
            prop_assert_eq!(parse(&text), Some((tag, number)));
        }

        #[test]
        fn a_number_is_read_only_as_the_server_writes_it(text in "[-+]?(0{0,10}[0-9]{0,11})") {
            let written = text.parse::<i32>().ok().filter(|number| format!("{number:010}") == text);
            prop_assert_eq!(Sequence::parse(&text), written.map(Sequence));
        }

        #[test]
        fn a_run_of_creates_is_ordered_wherever_it_starts(start: i32, steps in prop::collection::vec(1_i32..1_000_000, 1..50)) {
            let mut run = vec![Sequence(start)];
            for step in steps {
                run.push(Sequence(run[run.len() - 1].0.wrapping_add(step)));
            }
            prop_assert_eq!(Sequence::oldest(run.iter().rev().copied()), Some(run[0]));
            for pair in run.windows(2) {
                prop_assert!(pair[0].distance_from(pair[1]) < 0);
            }
        }

        #[test]
        fn no_name_panics(text in ".{0,60}", tail in "(lock-|__lock__)?-?[0-9]{0,12}") {
            parse(&format!("{text}{tail}"));
        }
    }
}
