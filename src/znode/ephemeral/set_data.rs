//! Writing into an ephemeral node that we own.

use zookeeper_client as zk;

use super::super::ask::read;
use super::super::revocation::behind_request;
use super::{Ephemeral, Interrupted, check_size};
use crate::error::Error;
use crate::session::{LossReason, Lost, ReplyStatus, classify};

impl Ephemeral {
    /// Replaces the node's data, but for a request to give its place up, which stays in front of it: one write; after a
    /// request or a lost reply also a read. The node's name must be unique for ever.
    ///
    /// Every write is conditional on what it replaces, so that no request is lost that is made at the same moment.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        check_size(self.path(), data)?;
        if let Some(version) = self.own_version() {
            if let Some(version) = self.write(data, version).await? {
                self.set_own_version(Some(version));
                return Ok(());
            }
        }
        loop {
            let Some((now, stat)) = read(self.session(), self.path()).await? else {
                return Err(self.removed().into());
            };
            let behind = behind_request(&now, data);
            let next = behind.as_deref().unwrap_or(data);
            check_size(self.path(), next)?;
            let version = if now == next {
                // Our write, whose reply was lost.
                Some(stat.version)
            } else {
                self.write(next, stat.version).await?
            };
            if version.is_some() {
                self.set_own_version(version.filter(|_| behind.is_none()));
                return Ok(());
            }
        }
    }

    /// As [`set_data`](Self::set_data), where others may use the name: one read and one write, conditional on the node
    /// being ours.
    pub(in crate::znode) async fn set_named_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        check_size(self.path(), data)?;
        loop {
            let version = self.look().await?.version;
            if self.write(data, version).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Sends one write, and returns the version that it made; `None` if there is another version than this one, or no
    /// answer.
    async fn write(&self, data: &[u8], version: i32) -> Result<Option<i32>, Interrupted> {
        let session = self.session();
        if let Some(reason) = self.end().reason() {
            return Err(Lost { reason }.into());
        }
        let client = session.client()?;
        let written = tokio::select! {
            written = client.set_data(self.path(), data, Some(version)) => written,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match written {
            Ok(stat) => Ok(Some(stat.version)),
            // By ourselves, before its reply was lost, or by somebody else.
            Err(zk::Error::BadVersion) => Ok(None),
            Err(zk::Error::NoNode) => Err(self.removed().into()),
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                Err(Error::from_answer(self.path(), error).into())
            }
            Err(_) => {
                session.pause_before_retry().await;
                Ok(None)
            }
        }
    }

    /// Somebody else has removed the node.
    fn removed(&self) -> Lost {
        self.end().set(LossReason::NodeRemoved);
        let reason = self.end().reason().unwrap_or(LossReason::NodeRemoved);
        Lost { reason }
    }
}
