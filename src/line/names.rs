//! [`Layout`]: the user's choice among the dialects of a lock.

use super::ContenderNames;

/// The names under which contenders stand in line. Both are understood, whichever is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// `_c_<uuid>-lock-<seq>`, as Curator's `InterProcessMutex`; parents are containers. kazoo sees it if its lock is
    /// given `extra_lock_patterns=["lock-"]`.
    ///
    /// A read-write lock writes `_c_<uuid>-__READ__<seq>` and `_c_<uuid>-__WRIT__<seq>`, as Curator's
    /// `InterProcessReadWriteLock`.
    #[default]
    Curator,
    /// `<hex>__lock__<seq>`, as kazoo's `Lock`; parents are persistent. Curator does **not** see these contenders
    /// (it sorts them behind its own): never use it on a path that Curator locks.
    ///
    /// A read-write lock writes `<hex>__rlock__<seq>` and `<hex>__lock__<seq>`, as kazoo's `ReadLock` and `WriteLock`.
    Kazoo,
}

impl Layout {
    /// The names of a mutual exclusion lock.
    pub(crate) fn lock(self) -> ContenderNames {
        match self {
            Self::Curator => ContenderNames::CURATOR_LOCK,
            Self::Kazoo => ContenderNames::KAZOO_LOCK,
        }
    }

    /// The names of a read-write lock.
    pub(crate) fn rwlock(self) -> ContenderNames {
        match self {
            Self::Curator => ContenderNames::CURATOR_RW,
            Self::Kazoo => ContenderNames::KAZOO_RW,
        }
    }
}
