//! [`PlaceInfo`]: what stands at one path.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zookeeper_client as zk;

use crate::line::{Contender, ContenderLayout};

/// What a place is, as the names and the layout of its nodes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PlaceKind {
    /// A [`FairLock`](crate::FairLock), Curator's `InterProcessMutex`, kazoo's `Lock`.
    Lock,
    /// A [`RwLock`](crate::RwLock), Curator's `InterProcessReadWriteLock`, kazoo's `ReadLock` and `WriteLock`.
    ReadWriteLock,
    /// A [`LeaderElection`](crate::LeaderElection), Curator's `LeaderLatch`, ZooKeeper's own recipe.
    Election,
    /// A [`Semaphore`](crate::Semaphore), Curator's `InterProcessSemaphoreV2`.
    Semaphore,
    /// A [`queue::WorkQueue`](crate::queue::WorkQueue) of this format.
    WorkQueue(u32),
    /// A [`queue::FifoQueue`](crate::queue::FifoQueue), Curator's `SimpleDistributedQueue`.
    FifoQueue,
    /// A [`Relay`](crate::Relay).
    Relay,
    /// A [`CountDownLatch`](crate::CountDownLatch).
    CountDownLatch,
    /// A [`DoubleBarrier`](crate::DoubleBarrier), Curator's or kazoo's.
    DoubleBarrier,
    /// A [`Group`](crate::Group), Curator's `GroupMember`, kazoo's `Party`, or any registry of ephemeral nodes.
    Group,
    /// A recipe of another library that this crate does not have.
    Foreign(&'static str),
    /// A line of contenders of an unknown kind.
    Line,
    /// Children that do not belong together. Such a place is never free.
    Mixed,
    /// Anything else: a value, a counter, a barrier, a directory. These are one node, and only its users know which.
    Node,
    /// The ACL forbids to list it.
    NoRights,
}

impl PlaceKind {
    /// Whether clients stand in line there.
    pub fn is_line(self) -> bool {
        matches!(
            self,
            Self::Lock
                | Self::ReadWriteLock
                | Self::Election
                | Self::Semaphore
                | Self::Relay
                | Self::Line
                | Self::Mixed
        )
    }

    /// Whether it is a lock or a read-write lock.
    pub fn is_lock(self) -> bool {
        matches!(self, Self::Lock | Self::ReadWriteLock)
    }

    /// Whether it is a queue of this crate or of another library.
    pub fn is_queue(self) -> bool {
        match self {
            Self::WorkQueue(_) | Self::FifoQueue => true,
            Self::Foreign(name) => name.contains("queue"),
            _ => false,
        }
    }
}

/// `lock`, `rwlock`, `election`, `queue/2` and so on.
impl fmt::Display for PlaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::ReadWriteLock => "rwlock",
            Self::Election => "election",
            Self::Semaphore => "semaphore",
            Self::WorkQueue(format) => return write!(f, "queue/{format}"),
            Self::FifoQueue => "fifo",
            Self::Relay => "relay",
            Self::CountDownLatch => "latch",
            Self::DoubleBarrier => "double-barrier",
            Self::Group => "group",
            Self::Foreign(name) => name,
            Self::Line => "line",
            Self::Mixed => "mixed",
            Self::Node => "node",
            Self::NoRights => "no rights",
        })
    }
}

/// How much is read of each place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// One list for each directory: how many stand there, but not which.
    Counts,
    /// A read for each contender as well.
    #[default]
    Contenders,
}

/// What stands at one path, as seen at about one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceInfo {
    /// Its path, from the chroot.
    pub path: String,
    /// What it is.
    pub kind: PlaceKind,
    /// Whether names and layout leave no doubt. Do not break anything at a place that is not certain.
    pub certain: bool,
    /// What it could be as well.
    pub also: Vec<PlaceKind>,
    /// Why it was taken for what it is.
    pub because: &'static str,
    /// The holders and the waiters, in order; of a semaphore the holders first. Empty with [`Detail::Counts`].
    pub contenders: Vec<Contender>,
    /// How many stand there: contenders, members, items or, of other nodes, children.
    pub count: usize,
    /// Names of children that do not fit, of at most 16.
    pub misfits: Vec<String>,
    /// The number of permits of a semaphore, where it is stored.
    pub permits: Option<u32>,
    /// The sequence number that the next child gets, where children are numbered. Negative ones follow 2147483647.
    pub next_sequence: Option<i32>,
    /// How long the names of the children are together, with four bytes for each.
    pub names_size: usize,
    /// The state of its node.
    pub stat: zk::Stat,
}

impl PlaceInfo {
    /// Returns its holders.
    pub fn holders(&self) -> impl Iterator<Item = &Contender> {
        self.contenders.iter().filter(|one| one.is_holder)
    }

    /// Returns its waiters.
    pub fn waiters(&self) -> impl Iterator<Item = &Contender> {
        self.contenders.iter().filter(|one| !one.is_holder)
    }

    /// Returns the contender with this token.
    pub fn contender(&self, token: crate::FencingToken) -> Option<&Contender> {
        self.contenders.iter().find(|one| one.token == token)
    }

    /// Returns whose names stand there.
    pub fn layouts(&self) -> BTreeSet<ContenderLayout> {
        self.contenders.iter().map(|one| one.layout).collect()
    }

    /// Returns the start of the longest wait, by the ensemble's clock.
    pub fn oldest_wait(&self) -> Option<SystemTime> {
        self.waiters().map(|one| one.since).min()
    }

    /// Returns the earliest and the latest moment at which `holder` can have been granted, by the ensemble's clock; the
    /// latter is `None` where nothing that was read tells it.
    ///
    /// No node changes at a grant, so there are only bounds. The two are equal where it joined an empty line.
    pub fn held_since(&self, holder: &Contender) -> (SystemTime, Option<SystemTime>) {
        // All contenders ahead of it had gone by the last change of the directory.
        let changed = self.stat.pzxid;
        if holder.token.as_i64() == changed {
            return (holder.since, Some(holder.since));
        }
        let later = self.contenders.iter().filter(|one| one.token.as_i64() >= changed);
        (holder.since, later.map(|one| one.since).min())
    }

    /// Returns when the node at the path was written last, by the ensemble's clock.
    pub fn written_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(self.stat.mtime).unwrap_or_default())
    }
}
