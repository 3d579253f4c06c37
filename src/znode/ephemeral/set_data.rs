//! Writing into an ephemeral node that we own.

use zookeeper_client as zk;

use super::super::request::read;
use super::super::revocation::behind_request;
use super::Ephemeral;
use crate::session::{Interrupted, Reply, Retry, refused};

impl Ephemeral {
    /// Replaces the node's data, but for a request to give its place up, which stays in front of it: one write; after a
    /// request or a lost reply also a read. The node's name must be unique for ever.
    ///
    /// Every write is conditional on what it replaces, so that no request is lost that is made at the same moment.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        let session = self.session();
        let mut retry = Retry::new(session, self.path(), data.len());
        if let Some(version) = self.own_version() {
            if let Some(version) = self.write(&mut retry, data, version).await? {
                self.set_own_version(Some(version));
                return Ok(());
            }
        }
        loop {
            let Some((now, stat)) = read(session, self.path()).await? else {
                return Err(self.removed().into());
            };
            let behind = behind_request(&now, data);
            let next = behind.as_deref().unwrap_or(data);
            let version = if now == next {
                // Our write, whose reply was lost.
                Some(stat.version)
            } else {
                self.write(&mut retry, next, stat.version).await?
            };
            if version.is_some() {
                self.set_own_version(version.filter(|_| behind.is_none()));
                return Ok(());
            }
        }
    }

    /// As [`set_data`](Self::set_data), where others may use the name: one read and one write, conditional on the node
    /// being ours.
    pub(super) async fn set_named_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        let mut retry = Retry::new(self.session(), self.path(), data.len());
        loop {
            let version = self.look().await?.version;
            if self.write(&mut retry, data, version).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Sends one write, and returns the version that it made; `None` after a pause if there is another version than this
    /// one, or no answer.
    async fn write(&self, retry: &mut Retry<'_>, data: &[u8], version: i32) -> Result<Option<i32>, Interrupted> {
        self.alive()?;
        let (session, path) = (self.session(), self.path());
        session.check_size(path, data.len())?;
        let written = session.write(|client| async move { client.set_data(path, data, Some(version)).await });
        match written.await? {
            Reply::Answer(stat) => Ok(Some(stat.version)),
            // By ourselves, before its reply was lost, or by another client.
            Reply::Refused(zk::Error::BadVersion) => {
                retry.raced().await?;
                Ok(None)
            }
            Reply::Refused(zk::Error::NoNode) => Err(self.removed().into()),
            Reply::Refused(source) => Err(refused(path, source)),
            Reply::Unanswered(unanswered) => {
                retry.after(unanswered).await?;
                Ok(None)
            }
        }
    }
}
