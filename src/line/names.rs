//! [`Layout`]: the user's choice among the dialects of a lock; [`ContenderLayout`]: the dialect of one contender.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::{ContenderNames, Mode};
use crate::error::classify;
use crate::session::GuidPrefix;
use crate::znode::{ChildName, Tag};

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

/// `curator` or `kazoo`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Curator => "curator",
            Self::Kazoo => "kazoo",
        })
    }
}

/// As it is displayed.
impl FromStr for Layout {
    type Err = InvalidLayout;

    fn from_str(name: &str) -> Result<Self, InvalidLayout> {
        InvalidLayout::find(&[Self::Curator, Self::Kazoo], name)
    }
}

/// A name that no layout has.
///
/// ```
/// use zookeeper_recipes::Layout;
///
/// assert_eq!("kazoo".parse(), Ok(Layout::Kazoo));
/// let error = "kazo".parse::<Layout>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown layout \"kazo\"; use one of curator, kazoo");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown layout {name:?}; use one of {expected}")]
pub struct InvalidLayout {
    name: String,
    expected: String,
}

classify!(InvalidLayout);

impl InvalidLayout {
    /// The layout that is displayed as `name`.
    pub(crate) fn find<T: Copy + fmt::Display>(layouts: &[T], name: &str) -> Result<T, Self> {
        let names: Vec<String> = layouts.iter().map(T::to_string).collect();
        match names.iter().position(|known| known == name) {
            Some(found) => Ok(layouts[found]),
            None => Err(Self {
                name: name.to_owned(),
                expected: names.join(", "),
            }),
        }
    }
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

/// What the contender of this name asks for, in whichever recipe it stands.
pub(crate) fn mode_of(name: &str) -> Mode {
    match ChildName::parse(name, [Tag::Read, Tag::KazooReadLock]) {
        Some(_) => Mode::Shared,
        None => Mode::Exclusive,
    }
}

/// Which library named a contender, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ContenderLayout {
    /// This crate, whichever [`Layout`] it writes: its guid is a UUID of version 8.
    Ours,
    /// Apache Curator.
    Curator,
    /// kazoo.
    Kazoo,
    /// go-zookeeper.
    Go,
    /// The recipes that ZooKeeper itself ships.
    ZooKeeper,
    /// Another one, or one that writes no guid.
    Other,
}

impl ContenderLayout {
    /// The layout of the node of this name.
    pub(crate) fn of(name: &str) -> Self {
        let is_guid = |length| {
            let guid = name.strip_prefix("_c_").unwrap_or(name).get(..length);
            guid.is_some_and(|guid| Uuid::try_parse(guid).is_ok())
        };
        if GuidPrefix::of(name).is_some() {
            return Self::Ours;
        }
        match (name.starts_with("_c_"), is_guid(36), is_guid(32)) {
            (_, true, _) => Self::Curator,
            (true, false, true) => Self::Go,
            (false, false, true) => Self::Kazoo,
            (_, false, false) if name.starts_with("x-") || name.starts_with("n_") => Self::ZooKeeper,
            (_, false, false) => Self::Other,
        }
    }
}

/// As it is displayed.
impl FromStr for ContenderLayout {
    type Err = InvalidLayout;

    fn from_str(name: &str) -> Result<Self, InvalidLayout> {
        use ContenderLayout::{Curator, Go, Kazoo, Other, Ours, ZooKeeper};
        InvalidLayout::find(&[Ours, Curator, Kazoo, Go, ZooKeeper, Other], name)
    }
}

/// One word: `ours`, `curator`, `kazoo`, `go`, `zookeeper` or `other`.
impl fmt::Display for ContenderLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Curator => "curator",
            Self::Kazoo => "kazoo",
            Self::Go => "go",
            Self::ZooKeeper => "zookeeper",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_read_as_it_is_displayed() {
        for (layout, name) in [(Layout::Curator, "curator"), (Layout::Kazoo, "kazoo")] {
            assert_eq!((layout.to_string().as_str(), name.parse()), (name, Ok(layout)));
        }
        let error = "kazo".parse::<Layout>().unwrap_err();
        assert_eq!(
            (error.name.as_str(), error.expected.as_str()),
            ("kazo", "curator, kazoo")
        );
    }

    #[test]
    fn a_contenders_layout_is_read_as_it_is_displayed() {
        for name in ["ours", "curator", "kazoo", "go", "zookeeper", "other"] {
            let layout: ContenderLayout = name.parse().unwrap();
            assert_eq!(layout.to_string(), name);
        }
    }

    #[test]
    fn the_guid_tells_who_named_a_contender() {
        for (name, layout) in [
            (
                "_c_2c3b1a4e-9f4b-8a57-8a58-7a1d2c9b0e11-lock-0000000007",
                ContenderLayout::Ours,
            ),
            (
                "2c3b1a4e9f4b8a578a587a1d2c9b0e11__lock__0000000007",
                ContenderLayout::Ours,
            ),
            (
                "_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-0000000007",
                ContenderLayout::Curator,
            ),
            ("2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11", ContenderLayout::Curator),
            (
                "2c3b1a4e9f4b4a578a587a1d2c9b0e11__lock__0000000007",
                ContenderLayout::Kazoo,
            ),
            (
                "2c3b1a4e9f4b4a578a587a1d2c9b0e11-lock-0000000007",
                ContenderLayout::Kazoo,
            ),
            (
                "_c_0123456789abcdef0123456789abcdef-lock-0000000042",
                ContenderLayout::Go,
            ),
            ("x-72057594037927936-0000000003", ContenderLayout::ZooKeeper),
            ("n_0000000003", ContenderLayout::ZooKeeper),
            ("lock-0000000003", ContenderLayout::Other),
            ("", ContenderLayout::Other),
            ("_c_", ContenderLayout::Other),
        ] {
            assert_eq!(ContenderLayout::of(name), layout, "{name}");
        }
    }
}
