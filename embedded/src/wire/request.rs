//! Requests after the handshake.

use bytes::Bytes;

use super::{Acl, Malformed, Op, Reader};

/// What precedes each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Chosen by the client, repeated in the reply.
    pub xid: i32,
    /// The kind of request that follows.
    pub op: Op,
}

impl RequestHeader {
    /// Splits a frame into its header and its body.
    pub fn split(frame: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut from = Reader::new(frame);
        let xid = from.i32()?;
        let op = Op::from_code(from.i32()?);
        Ok((Self { xid, op }, from.rest()))
    }
}

/// Which of the create operations; they differ in node type and reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateKind {
    /// Replies with the path alone.
    Create,
    /// Replies with path and stat.
    Create2,
    /// A node that goes away with its last child.
    Container,
    /// A node that goes away when it is left alone, after this many milliseconds.
    Ttl(i64),
    /// In a multi, a create whose flags ask for a time to live that it does not have: it fails the multi as a whole.
    TtlWithoutTime,
}

const CONTAINER_FLAG: i32 = 4;
const TTL_FLAG: i32 = 5;
const TTL_SEQUENTIAL_FLAG: i32 = 6;

/// An operation that changes the tree, or (in a multi) checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are ZooKeeper's")]
pub enum WriteOp {
    Create {
        kind: CreateKind,
        path: String,
        data: Option<Bytes>,
        acl: Vec<Acl>,
        flags: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Vec<Acl>,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
}

impl WriteOp {
    /// The path it names.
    pub fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::Delete { path, .. }
            | Self::SetData { path, .. }
            | Self::SetAcl { path, .. }
            | Self::Check { path, .. } => path,
        }
    }

    /// In a multi the flags decide what a create makes and replies, not its operation.
    fn read_in_multi(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut write = match op {
            Op::SetAcl => return Err(Malformed),
            op => Self::read(op, from)?,
        };
        if let Self::Create { kind, flags, .. } = &mut write {
            *kind = match (*flags, *kind) {
                (CONTAINER_FLAG, _) => CreateKind::Container,
                (TTL_FLAG | TTL_SEQUENTIAL_FLAG, CreateKind::Ttl(ttl)) => CreateKind::Ttl(ttl),
                (TTL_FLAG | TTL_SEQUENTIAL_FLAG, _) => CreateKind::TtlWithoutTime,
                _ => CreateKind::Create,
            };
        }
        Ok(write)
    }

    fn read(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match op {
            Op::Create | Op::Create2 | Op::CreateContainer | Op::CreateTtl => {
                let path = from.string()?;
                let data = from.bytes()?;
                let acl = from.vector(Acl::read)?;
                let flags = from.i32()?;
                let kind = match op {
                    Op::Create => CreateKind::Create,
                    Op::Create2 => CreateKind::Create2,
                    Op::CreateContainer => CreateKind::Container,
                    _ => CreateKind::Ttl(from.i64()?),
                };
                Ok(Self::Create {
                    kind,
                    path,
                    data,
                    acl,
                    flags,
                })
            }
            Op::Delete => Ok(Self::Delete {
                path: from.string()?,
                version: from.i32()?,
            }),
            Op::SetData => Ok(Self::SetData {
                path: from.string()?,
                data: from.bytes()?,
                version: from.i32()?,
            }),
            Op::SetAcl => Ok(Self::SetAcl {
                path: from.string()?,
                acl: from.vector(Acl::read)?,
                version: from.i32()?,
            }),
            Op::Check => Ok(Self::Check {
                path: from.string()?,
                version: from.i32()?,
            }),
            _ => Err(Malformed),
        }
    }
}

/// One read of a multi-read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are ZooKeeper's")]
pub enum ReadOp {
    GetData { path: String },
    GetChildren { path: String },
}

impl ReadOp {
    /// The path it names.
    pub fn path(&self) -> &str {
        match self {
            Self::GetData { path } | Self::GetChildren { path } => path,
        }
    }

    fn read(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let path = |from: &mut Reader<'_>| {
            let path = from.string()?;
            // The server takes no watches from a multi-read, whatever this says.
            let _watch = from.bool()?;
            Ok(path)
        };
        match op {
            Op::GetData => Ok(Self::GetData { path: path(from)? }),
            Op::GetChildren => Ok(Self::GetChildren { path: path(from)? }),
            _ => Err(Malformed),
        }
    }
}

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are ZooKeeper's")]
pub enum Request {
    Write(WriteOp),
    Multi(Vec<WriteOp>),
    MultiRead(Vec<ReadOp>),
    Exists { path: String, watch: bool },
    GetData { path: String, watch: bool },
    GetChildren { path: String, watch: bool, with_stat: bool },
    GetAcl { path: String },
    Sync { path: String },
    Ping,
    Reconfig,
    CheckWatches { path: String, kind: i32 },
    RemoveWatches { path: String, kind: i32 },
    AddWatch { path: String, mode: i32 },
    SetWatches(SetWatches),
    Auth { scheme: String, auth: Vec<u8> },
    Sasl,
    GetEphemerals { prefix: Option<String> },
    GetAllChildrenNumber { path: String },
    WhoAmI,
    CloseSession,
    Unknown,
}

/// The watches of a client that comes back on a new connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are ZooKeeper's")]
pub struct SetWatches {
    pub relative_zxid: i64,
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub persistent_recursive: Vec<String>,
}

impl SetWatches {
    fn read(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut watches = Self {
            relative_zxid: from.i64()?,
            data: from.vector(Reader::string)?,
            exist: from.vector(Reader::string)?,
            child: from.vector(Reader::string)?,
            ..Self::default()
        };
        if op == Op::SetWatches2 {
            watches.persistent = from.vector(Reader::string)?;
            watches.persistent_recursive = from.vector(Reader::string)?;
        }
        Ok(watches)
    }
}

impl Request {
    /// Decodes the body of a request. Bytes after the record are ignored, as ZooKeeper does.
    pub fn read(op: Op, body: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let from = &mut from;
        Ok(match op {
            Op::Create
            | Op::Create2
            | Op::CreateContainer
            | Op::CreateTtl
            | Op::Delete
            | Op::SetData
            | Op::SetAcl
            | Op::Check => Self::Write(WriteOp::read(op, from)?),
            Op::Multi => Self::Multi(read_multi(from, WriteOp::read_in_multi)?),
            Op::MultiRead => Self::MultiRead(read_multi(from, ReadOp::read)?),
            Op::Exists | Op::GetData | Op::GetChildren | Op::GetChildren2 => Self::read_watchable(op, from)?,
            Op::GetAcl => Self::GetAcl { path: from.string()? },
            Op::Sync => Self::Sync { path: from.string()? },
            Op::Ping => Self::Ping,
            Op::Reconfig => Self::Reconfig,
            Op::CheckWatches | Op::RemoveWatches | Op::AddWatch => Self::read_watch(op, from)?,
            Op::SetWatches | Op::SetWatches2 => Self::SetWatches(SetWatches::read(op, from)?),
            Op::Auth => {
                let _type = from.i32()?;
                Self::Auth {
                    scheme: from.string()?,
                    auth: from.buffer()?.unwrap_or_default().to_vec(),
                }
            }
            Op::Sasl => Self::Sasl,
            Op::GetEphemerals => Self::GetEphemerals {
                prefix: from.nullable_string()?,
            },
            Op::GetAllChildrenNumber => Self::GetAllChildrenNumber { path: from.string()? },
            Op::WhoAmI => Self::WhoAmI,
            Op::CloseSession => Self::CloseSession,
            Op::Connect | Op::Unknown(_) => Self::Unknown,
        })
    }

    /// A read that may leave a watch.
    fn read_watchable(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (path, watch) = (from.string()?, from.bool()?);
        match op {
            Op::Exists => Ok(Self::Exists { path, watch }),
            Op::GetData => Ok(Self::GetData { path, watch }),
            Op::GetChildren | Op::GetChildren2 => Ok(Self::GetChildren {
                path,
                watch,
                with_stat: op == Op::GetChildren2,
            }),
            _ => Err(Malformed),
        }
    }

    /// A request about a watch by itself.
    fn read_watch(op: Op, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (path, kind) = (from.string()?, from.i32()?);
        match op {
            Op::CheckWatches => Ok(Self::CheckWatches { path, kind }),
            Op::RemoveWatches => Ok(Self::RemoveWatches { path, kind }),
            Op::AddWatch => Ok(Self::AddWatch { path, mode: kind }),
            _ => Err(Malformed),
        }
    }

    /// The paths it names, in its own order.
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::Write(op) => vec![op.path()],
            Self::Multi(ops) => ops.iter().map(WriteOp::path).collect(),
            Self::MultiRead(ops) => ops.iter().map(ReadOp::path).collect(),
            Self::Exists { path, .. }
            | Self::GetData { path, .. }
            | Self::GetChildren { path, .. }
            | Self::GetAcl { path }
            | Self::Sync { path }
            | Self::CheckWatches { path, .. }
            | Self::RemoveWatches { path, .. }
            | Self::AddWatch { path, .. }
            | Self::GetAllChildrenNumber { path } => vec![path],
            Self::GetEphemerals { prefix: Some(prefix) } => vec![prefix],
            _ => Vec::new(),
        }
    }
}

/// Reads `(header, record)*` up to the header that says done.
fn read_multi<T>(
    from: &mut Reader<'_>,
    record: impl Fn(Op, &mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut ops = Vec::new();
    loop {
        let op = Op::from_code(from.i32()?);
        let done = from.bool()?;
        let _error = from.i32()?;
        if done {
            return Ok(ops);
        }
        ops.push(record(op, from)?);
    }
}
