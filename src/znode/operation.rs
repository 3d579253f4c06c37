//! [`Operation`]: one step of a transaction, as a value.

use bytes::Bytes;
use zookeeper_client as zk;

use super::ephemeral::OPERATION_SIZE;

/// One step of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Check {
        path: String,
        version: i32,
    },
    Create {
        path: String,
        data: Bytes,
        mode: zk::CreateMode,
    },
    SetData {
        path: String,
        data: Bytes,
        version: Option<i32>,
    },
    Delete {
        path: String,
        version: Option<i32>,
    },
}

impl Operation {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::SetData { path, .. }
            | Self::Check { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }

    /// What it adds to the request, in bytes, with room for a long ACL.
    pub(crate) fn size(&self) -> usize {
        let data = match self {
            Self::Create { data, .. } | Self::SetData { data, .. } => data.len(),
            Self::Check { .. } | Self::Delete { .. } => 0,
        };
        self.path().len() + data + OPERATION_SIZE
    }

    pub(crate) fn add_to(&self, multi: &mut zk::MultiWriter<'_>, acls: zk::Acls<'_>) -> Result<(), zk::Error> {
        match self {
            Self::Check { path, version } => multi.add_check_version(path, *version),
            Self::Create { path, data, mode } => multi.add_create(path, data, &mode.with_acls(acls)),
            Self::SetData { path, data, version } => multi.add_set_data(path, data, *version),
            Self::Delete { path, version } => multi.add_delete(path, *version),
        }
    }
}
