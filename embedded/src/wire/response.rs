//! Replies and watch events.

use bytes::Bytes;

use super::{ErrorCode, Op, Stat, Writer};

/// The xid of a watch event.
const NOTIFICATION_XID: i32 = -1;
/// The client state that every event carries.
const SYNC_CONNECTED: i32 = 3;

/// What happened to a watched node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are ZooKeeper's")]
pub enum EventType {
    NodeCreated = 1,
    NodeDeleted = 2,
    NodeDataChanged = 3,
    NodeChildrenChanged = 4,
}

/// The outcome of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ZooKeeper's")]
pub enum OpResult {
    Create {
        path: String,
    },
    Create2 {
        path: String,
        stat: Stat,
    },
    Delete,
    SetData(Stat),
    SetAcl(Stat),
    Check,
    /// An operation of a failed multi; `None` where it would have succeeded.
    Error(Option<ErrorCode>),
}

impl OpResult {
    /// Appends it as the body of a reply of its own.
    pub fn write(&self, to: &mut Writer) {
        match self {
            Self::Create { path } => {
                to.string(path);
            }
            Self::Create2 { path, stat } => {
                to.string(path);
                stat.write(to);
            }
            Self::SetData(stat) | Self::SetAcl(stat) => stat.write(to),
            Self::Error(code) => {
                to.i32(code.map_or(0, ErrorCode::code));
            }
            Self::Delete | Self::Check => {}
        }
    }

    /// Appends it as an entry of a multi's reply.
    pub fn write_in_multi(&self, to: &mut Writer) {
        match self {
            Self::Create { .. } => multi_header(to, Op::Create.code(), 0),
            Self::Create2 { .. } => multi_header(to, Op::Create2.code(), 0),
            Self::Delete => multi_header(to, Op::Delete.code(), 0),
            Self::SetData(_) => multi_header(to, Op::SetData.code(), 0),
            Self::SetAcl(_) => multi_header(to, Op::SetAcl.code(), 0),
            Self::Check => multi_header(to, Op::Check.code(), 0),
            Self::Error(code) => multi_header(to, -1, code.map_or(0, ErrorCode::code)),
        }
        self.write(to);
    }
}

/// Appends the header of an entry of a multi's reply.
pub fn multi_header(to: &mut Writer, kind: i32, error: i32) {
    to.i32(kind).bool(false).i32(error);
}

/// Appends what ends a multi's reply.
pub fn multi_end(to: &mut Writer) {
    to.i32(-1).bool(true).i32(-1);
}

/// Encodes a reply.
pub fn reply(xid: i32, zxid: i64, body: impl FnOnce(&mut Writer)) -> Bytes {
    let mut to = Writer::frame();
    to.i32(xid).i64(zxid).i32(0);
    body(&mut to);
    to.into_frame()
}

/// Encodes a reply that has an error and no body.
pub fn error_reply(xid: i32, zxid: i64, error: ErrorCode) -> Bytes {
    let mut to = Writer::frame();
    to.i32(xid).i64(zxid).i32(error.code());
    to.into_frame()
}

/// Encodes the answer to a handshake; a session of 0 tells the client that its session is gone.
pub fn connect_reply(timeout: i32, session: i64, password: &[u8], with_read_only: bool) -> Bytes {
    let mut to = Writer::frame();
    to.i32(0).i32(timeout).i64(session).buffer(Some(password));
    if with_read_only {
        to.bool(false);
    }
    to.into_frame()
}

/// Encodes a watch event.
pub fn watch_event(event: EventType, path: &str) -> Bytes {
    let mut to = Writer::frame();
    to.i32(NOTIFICATION_XID).i64(-1).i32(0);
    to.i32(event as i32).i32(SYNC_CONNECTED).string(path);
    to.into_frame()
}
