//! Writing into an ephemeral node that we own.

use zookeeper_client as zk;

use super::ephemeral::{Ephemeral, Interrupted, check_size};
use crate::error::Error;
use crate::session::{LossReason, Lost, Outcome, outcome};

impl Ephemeral {
    /// Replaces the node's data, conditional on the node being ours: one read and one write.
    ///
    /// A lost reply is answered by writing again, which changes nothing more: nobody else writes here, and what an old
    /// connection of the session might still send is refused.
    pub(crate) async fn set_data(&self, data: &[u8]) -> Result<(), Interrupted> {
        check_size(self.path(), data)?;
        let session = self.session();
        loop {
            if let Some(reason) = self.end().reason() {
                return Err(Lost { reason }.into());
            }
            let client = session.client()?;
            let write = async {
                let sync = client.sync(self.path());
                let stat = client.check_stat(self.path());
                sync.await?;
                match stat.await? {
                    Some(stat) if stat.ephemeral_owner == session.id() => {
                        client.set_data(self.path(), data, Some(stat.version)).await.map(drop)
                    }
                    _ => Err(zk::Error::NoNode),
                }
            };
            let written = tokio::select! {
                written = write => written,
                lost = session.ended() => return Err(lost.into()),
            };
            match written {
                Ok(()) => return Ok(()),
                // Written by ourselves, before its reply was lost, or by another task.
                Err(zk::Error::BadVersion) => {}
                Err(zk::Error::NoNode) => {
                    self.end().set(LossReason::NodeRemoved);
                    let reason = self.end().reason().unwrap_or(LossReason::NodeRemoved);
                    return Err(Lost { reason }.into());
                }
                Err(error) if outcome(&error) == Outcome::Refused => {
                    return Err(Error::from_answer(self.path(), error).into());
                }
                Err(_) => session.pause_before_retry().await,
            }
        }
    }
}
