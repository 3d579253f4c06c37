//! Transactions: what a valid request does to the tree, decided once and applied to every replica alike.

use bytes::Bytes;

use super::node::Owner;
use crate::acl::AclList;
use crate::wire::ErrorCode;

/// When and for whom a transaction happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxnHeader {
    pub(crate) zxid: i64,
    /// Wall clock, milliseconds since the epoch.
    pub(crate) time: i64,
}

/// A change that has passed every check.
#[derive(Clone, Debug)]
pub(crate) enum Txn {
    /// `with_stat` is about the reply alone.
    Create {
        path: String,
        data: Option<Bytes>,
        acl: AclList,
        owner: Owner,
        creations: i32,
        with_stat: bool,
    },
    Delete {
        path: String,
    },
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: AclList,
        version: i32,
    },
    Check,
    Multi(Vec<Txn>),
    /// A multi that fails: nothing but the error of each operation.
    FailedMulti(Vec<Option<ErrorCode>>),
    /// A request that fails still takes a zxid.
    Failed,
    OpenSession,
    /// The end of a session takes all its nodes in one transaction.
    CloseSession(i64),
    /// Not ZooKeeper's: a fault moves the sequence counter of a parent.
    SetSequence {
        parent: String,
        next: i32,
    },
}

/// What a transaction did to a node.
///
/// The access control lists are those of that moment: a connection that may not read a node does not hear of it either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created {
        path: String,
        acl: AclList,
        parent_acl: AclList,
    },
    Deleted {
        path: String,
        acl: AclList,
        parent_acl: AclList,
    },
    DataChanged {
        path: String,
        acl: AclList,
    },
}
