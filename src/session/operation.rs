//! [`Operation`]: one step of a transaction, as a value.

use bytes::Bytes;
use zookeeper_client as zk;

/// What a step takes beside its path and data, with room for a long ACL.
const OPERATION_SIZE: usize = 256;

/// One step of a transaction, by the path of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Requires the node to have this version; any, if it is -1.
    Check(String, i32),
    Create(String, Bytes, zk::CreateMode),
    /// Writes the node, if it has the version where one is given.
    SetData(String, Bytes, Option<i32>),
    /// Deletes the node, if it has the version where one is given.
    Delete(String, Option<i32>),
}

impl Operation {
    /// Requires the node to be there, whatever its version.
    pub(crate) fn exists(path: impl Into<String>) -> Self {
        Self::check(path, -1)
    }

    pub(crate) fn check(path: impl Into<String>, version: i32) -> Self {
        Self::Check(path.into(), version)
    }

    pub(crate) fn create(path: impl Into<String>, data: impl Into<Bytes>, mode: zk::CreateMode) -> Self {
        Self::Create(path.into(), data.into(), mode)
    }

    pub(crate) fn set_data(path: impl Into<String>, data: impl Into<Bytes>, version: impl Into<Option<i32>>) -> Self {
        Self::SetData(path.into(), data.into(), version.into())
    }

    pub(crate) fn delete(path: impl Into<String>, version: impl Into<Option<i32>>) -> Self {
        Self::Delete(path.into(), version.into())
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Check(path, _) | Self::Create(path, ..) | Self::SetData(path, ..) | Self::Delete(path, _) => path,
        }
    }

    /// What it adds to the request, in bytes, with room for a long ACL.
    pub(crate) fn size(&self) -> usize {
        let data = match self {
            Self::Create(_, data, _) | Self::SetData(_, data, _) => data.len(),
            Self::Check(..) | Self::Delete(..) => 0,
        };
        Self::size_of(self.path(), data)
    }

    /// As [`size`](Self::size), of a step that is yet to be made.
    pub(crate) fn size_of(path: &str, data: usize) -> usize {
        path.len().saturating_add(data).saturating_add(OPERATION_SIZE)
    }

    pub(super) fn add_to(&self, multi: &mut zk::MultiWriter<'_>, acls: zk::Acls<'_>) -> Result<(), zk::Error> {
        match self {
            Self::Check(path, version) => multi.add_check_version(path, *version),
            Self::Create(path, data, mode) => multi.add_create(path, data, &mode.with_acls(acls)),
            Self::SetData(path, data, version) => multi.add_set_data(path, data, *version),
            Self::Delete(path, version) => multi.add_delete(path, *version),
        }
    }

    /// The session that owns what was created in these steps, as far as the results tell: servers send no Stat for a
    /// create in a transaction (ZOOKEEPER-4026), but one for a write into the same node.
    pub(super) fn owner(steps: &[Self], results: &[zk::MultiWriteResult]) -> Option<i64> {
        let is_ours = |written: &str| {
            let creates =
                |step: &Self| matches!(step, Self::Create(path, _, zk::CreateMode::Ephemeral) if path == written);
            steps.iter().any(creates)
        };
        steps.iter().zip(results).find_map(|step| match step {
            (Self::Create(.., mode), zk::MultiWriteResult::Create { stat, .. }) => {
                (is_ephemeral(*mode) && !stat.is_invalid()).then_some(stat.ephemeral_owner)
            }
            (Self::SetData(path, ..), zk::MultiWriteResult::SetData { stat }) => {
                is_ours(path).then_some(stat.ephemeral_owner)
            }
            _ => None,
        })
    }
}

pub(super) fn is_ephemeral(mode: zk::CreateMode) -> bool {
    matches!(mode, zk::CreateMode::Ephemeral | zk::CreateMode::EphemeralSequential)
}
