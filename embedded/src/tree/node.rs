//! A node and its children.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::acl::AclList;
use crate::wire::Stat;

/// A node of the tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: Option<Bytes>,
    pub(crate) acl: AclList,
    pub(crate) owner: Owner,
    pub(crate) children: Children,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) pzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) version: i32,
    pub(crate) aversion: i32,
    /// How many children were ever created: the next sequence number. Clients see another number, see [`Node::stat`].
    pub(crate) creations: i32,
    /// Whether the state of a container shows an owner.
    pub(crate) shows_owner: bool,
}

/// The owner that some servers show of a container.
const CONTAINER_OWNER: i64 = i64::MIN;

/// What ends the life of a node, besides a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nothing.
    None,
    /// The end of this session.
    Session(i64),
    /// The end of its last child.
    Container,
    /// Being left alone, childless, for so many milliseconds.
    Ttl(i64),
}

impl Node {
    pub(crate) fn new(data: Option<Bytes>, acl: AclList, owner: Owner, zxid: i64, time: i64) -> Self {
        Self {
            data,
            acl,
            owner,
            children: Children::default(),
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            aversion: 0,
            creations: 0,
            shows_owner: false,
        }
    }

    pub(crate) fn stat(&self) -> Stat {
        let num_children = i32::try_from(self.children.len()).unwrap_or(i32::MAX);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            // Counts changes, not creations: each child that is gone was created and deleted.
            cversion: self.creations.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match self.owner {
                Owner::Session(session) => session,
                Owner::Container if self.shows_owner => CONTAINER_OWNER,
                _ => 0,
            },
            data_length: self
                .data
                .as_ref()
                .map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
            num_children,
            pzxid: self.pzxid,
        }
    }
}

/// The names of the children of a node.
///
/// Ordered by a hash: as with a real server, no client may count on lists being sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Children {
    names: BTreeSet<(u32, Arc<str>)>,
}

impl Children {
    pub(crate) fn insert(&mut self, name: &str) {
        self.names.insert((hash(name), name.into()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.names.remove(&(hash(name), name.into()));
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|(_, name)| &**name)
    }
}

// FNV-1a.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
