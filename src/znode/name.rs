//! Names of contenders, as Curator and kazoo write them, and the order of their sequence numbers.

use std::fmt;

use zookeeper_client as zk;

use crate::session::GuidPrefix;

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
    pub(crate) fn new_name(self, prefix: GuidPrefix) -> NewName {
        let uuid = prefix.new_guid();
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

/// Whether the node at `path`, or of that name, was named by this crate.
pub(crate) fn is_ours(path: &str) -> bool {
    GuidPrefix::of(path).is_some()
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
mod tests;
