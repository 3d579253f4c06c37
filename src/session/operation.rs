//! [`Operation`]: one step of a transaction, as a value.

use bytes::Bytes;
use zookeeper_client as zk;

/// What a step takes beside its path and data, with room for a long ACL.
const OPERATION_SIZE: usize = 256;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Requires the node to be there, whatever its version.
    pub(crate) fn exists(path: impl Into<String>) -> Self {
        Self::check(path, -1)
    }

    pub(crate) fn check(path: impl Into<String>, version: i32) -> Self {
        let path = path.into();
        Self::Check { path, version }
    }

    pub(crate) fn create(path: impl Into<String>, data: impl Into<Bytes>, mode: zk::CreateMode) -> Self {
        let (path, data) = (path.into(), data.into());
        Self::Create { path, data, mode }
    }

    pub(crate) fn set_data(path: impl Into<String>, data: impl Into<Bytes>, version: impl Into<Option<i32>>) -> Self {
        let (path, data, version) = (path.into(), data.into(), version.into());
        Self::SetData { path, data, version }
    }

    pub(crate) fn delete(path: impl Into<String>, version: impl Into<Option<i32>>) -> Self {
        let (path, version) = (path.into(), version.into());
        Self::Delete { path, version }
    }

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
        Self::size_of(self.path(), data)
    }

    /// As [`size`](Self::size), of a step that is yet to be made.
    pub(crate) fn size_of(path: &str, data: usize) -> usize {
        path.len().saturating_add(data).saturating_add(OPERATION_SIZE)
    }

    pub(super) fn add_to(&self, multi: &mut zk::MultiWriter<'_>, acls: zk::Acls<'_>) -> Result<(), zk::Error> {
        match self {
            Self::Check { path, version } => multi.add_check_version(path, *version),
            Self::Create { path, data, mode } => multi.add_create(path, data, &mode.with_acls(acls)),
            Self::SetData { path, data, version } => multi.add_set_data(path, data, *version),
            Self::Delete { path, version } => multi.add_delete(path, *version),
        }
    }

    /// The session that owns what was created in these steps, as far as the results tell: servers send no Stat for a
    /// create in a transaction (ZOOKEEPER-4026), but one for a write into the same node.
    pub(super) fn owner(steps: &[Self], results: &[zk::MultiWriteResult]) -> Option<i64> {
        let is_ours = |written: &str| {
            steps.iter().any(|step| match step {
                Self::Create { path, mode, .. } => *mode == zk::CreateMode::Ephemeral && path == written,
                _ => false,
            })
        };
        steps.iter().zip(results).find_map(|step| match step {
            (Self::Create { mode, .. }, zk::MultiWriteResult::Create { stat, .. }) => {
                let is_ephemeral = matches!(mode, zk::CreateMode::Ephemeral | zk::CreateMode::EphemeralSequential);
                (is_ephemeral && !stat.is_invalid()).then_some(stat.ephemeral_owner)
            }
            (Self::SetData { path, .. }, zk::MultiWriteResult::SetData { stat }) => {
                is_ours(path).then_some(stat.ephemeral_owner)
            }
            _ => None,
        })
    }
}
