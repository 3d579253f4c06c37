//! Writing into an ephemeral node that we own.

use zookeeper_client as zk;

use super::ephemeral::{Ephemeral, Interrupted, check_size};
use crate::error::Error;
use crate::session::{LossReason, Lost, Outcome, outcome};

impl Ephemeral {
    /// Replaces the node's data: one write. The node's name must be unique for ever.
    ///
    /// A lost reply is answered by writing again, which changes nothing more: nobody else writes here, and what an old
    /// connection of the session might still send is refused.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        check_size(self.path(), data)?;
        while !self.write(data, None).await? {}
        Ok(())
    }

    /// As [`set_data`](Self::set_data), where others may use the name: one read and one write, conditional on the node
    /// being ours.
    pub(super) async fn set_named_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        check_size(self.path(), data)?;
        loop {
            let version = self.look().await?.version;
            if self.write(data, Some(version)).await? {
                return Ok(());
            }
        }
    }

    /// Sends one write; false if it should be sent again.
    async fn write(&self, data: &[u8], version: Option<i32>) -> Result<bool, Interrupted> {
        let session = self.session();
        if let Some(reason) = self.end().reason() {
            return Err(Lost { reason }.into());
        }
        let client = session.client()?;
        let written = tokio::select! {
            written = client.set_data(self.path(), data, version) => written,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match written {
            Ok(_) => Ok(true),
            // By ourselves, before its reply was lost, or by another task.
            Err(zk::Error::BadVersion) => Ok(false),
            Err(zk::Error::NoNode) => {
                self.end().set(LossReason::NodeRemoved);
                let reason = self.end().reason().unwrap_or(LossReason::NodeRemoved);
                Err(Lost { reason }.into())
            }
            Err(error) if outcome(&error) == Outcome::Refused => Err(Error::from_answer(self.path(), error).into()),
            Err(_) => {
                session.pause_before_retry().await;
                Ok(false)
            }
        }
    }
}
