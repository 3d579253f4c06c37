//! ZooKeeper's error codes, as far as this server answers them.

/// What a reply says went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[repr(i32)]
#[allow(missing_docs, reason = "the names are ZooKeeper's")]
pub enum ErrorCode {
    #[error("runtime inconsistency")]
    RuntimeInconsistency = -2,
    #[error("marshalling error")]
    MarshallingError = -5,
    #[error("unimplemented")]
    Unimplemented = -6,
    #[error("bad arguments")]
    BadArguments = -8,
    #[error("no node")]
    NoNode = -101,
    #[error("no auth")]
    NoAuth = -102,
    #[error("bad version")]
    BadVersion = -103,
    #[error("no children for ephemerals")]
    NoChildrenForEphemerals = -108,
    #[error("node exists")]
    NodeExists = -110,
    #[error("not empty")]
    NotEmpty = -111,
    #[error("session expired")]
    SessionExpired = -112,
    #[error("invalid acl")]
    InvalidAcl = -114,
    #[error("auth failed")]
    AuthFailed = -115,
    #[error("no watcher")]
    NoWatcher = -121,
    #[error("reconfig disabled")]
    ReconfigDisabled = -123,
    #[error("throttled")]
    Throttled = -127,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}
