//! ZooKeeper's wire protocol: frames, jute records, requests and replies. Pure functions over bytes.
//!
//! Public only so that fuzz targets and tests reach it; it is not part of the crate's API.

pub mod codec;
pub mod error_code;
pub mod frame;
pub mod op;
pub mod records;
pub mod request;
pub mod response;

pub use codec::{Malformed, Reader, Writer};
pub use error_code::ErrorCode;
pub use op::Op;
pub use records::{Acl, ConnectRequest, Id, Stat};
pub use request::{CreateKind, ReadOp, Request, RequestHeader, WriteOp};
pub use response::{EventType, OpResult};
