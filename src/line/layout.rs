//! [`Layout`]: the user's choice among the dialects of a lock.

use super::Dialect;

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
    /// The dialect of a mutual exclusion lock.
    pub(crate) fn lock(self) -> Dialect {
        match self {
            Self::Curator => Dialect::CURATOR_LOCK,
            Self::Kazoo => Dialect::KAZOO_LOCK,
        }
    }

    /// The dialect of a read-write lock.
    pub(crate) fn rwlock(self) -> Dialect {
        match self {
            Self::Curator => Dialect::CURATOR_RW,
            Self::Kazoo => Dialect::KAZOO_RW,
        }
    }
}
