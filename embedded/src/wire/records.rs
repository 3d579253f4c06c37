//! The records that requests and replies share.

use std::sync::Arc;

use super::{Malformed, Reader, Writer};

/// A node's metadata as clients see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are ZooKeeper's")]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    /// Appends the record.
    pub fn write(&self, to: &mut Writer) {
        to.i64(self.czxid).i64(self.mzxid).i64(self.ctime).i64(self.mtime);
        to.i32(self.version).i32(self.cversion).i32(self.aversion);
        to.i64(self.ephemeral_owner)
            .i32(self.data_length)
            .i32(self.num_children)
            .i64(self.pzxid);
    }
}

/// An identity: a scheme and an id within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// `world`, `auth`, `digest` or `ip`.
    pub scheme: Arc<str>,
    /// What the scheme makes of it.
    pub id: Arc<str>,
}

impl Id {
    /// An identity from its parts.
    pub fn new(scheme: &str, id: &str) -> Self {
        Self {
            scheme: scheme.into(),
            id: id.into(),
        }
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Permission bits.
    pub perms: i32,
    /// The identity that has them.
    pub id: Id,
}

impl Acl {
    /// Reads one entry. A null scheme or id reads as empty, which no scheme accepts.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let perms = from.i32()?;
        let scheme = from.nullable_string()?.unwrap_or_default();
        let id = from.nullable_string()?.unwrap_or_default();
        Ok(Self {
            perms,
            id: Id::new(&scheme, &id),
        })
    }

    /// Appends a list.
    pub fn write_all(acls: &[Acl], to: &mut Writer) {
        to.len(acls.len());
        for acl in acls {
            to.i32(acl.perms).string(&acl.id.scheme).string(&acl.id.id);
        }
    }
}

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The latest transaction the client has seen.
    pub last_zxid_seen: i64,
    /// The session timeout it asks for, in milliseconds.
    pub timeout: i32,
    /// The session it comes back to; 0 asks for a new one.
    pub session: i64,
    /// The password of that session.
    pub password: Vec<u8>,
    /// Whether the client knows the read-only flag and expects it in the reply.
    pub knows_read_only: bool,
}

impl ConnectRequest {
    /// Reads the handshake.
    pub fn read(frame: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(frame);
        let _protocol_version = from.i32()?;
        Ok(Self {
            last_zxid_seen: from.i64()?,
            timeout: from.i32()?,
            session: from.i64()?,
            password: from.buffer()?.unwrap_or_default().to_vec(),
            knows_read_only: from.bool().is_ok(),
        })
    }
}
