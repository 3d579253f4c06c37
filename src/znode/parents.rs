//! Making the directories above a node.

use std::sync::Arc;

use zookeeper_client as zk;

use super::ephemeral::Interrupted;
use super::path::NodePath;
use crate::error::Error;
use crate::session::{ReplyStatus, Session, classify};

/// What kind of nodes parents are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parents {
    /// Containers, which the server removes some time after their last child; persistent where it has none.
    Containers,
    /// Persistent nodes, for peers that create parents once and do not expect them to vanish (kazoo).
    Persistent,
}

/// Creates `path` and what is missing above it.
pub(crate) async fn ensure(session: &Arc<Session>, path: &NodePath, parents: Parents) -> Result<(), Interrupted> {
    let mut mode = match parents {
        Parents::Containers => zk::CreateMode::Container,
        Parents::Persistent => zk::CreateMode::Persistent,
    };
    loop {
        let client = session.client()?;
        let options = mode.with_acls(session.acls());
        let result = tokio::select! {
            result = client.mkdir(path.as_str(), &options) => result,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match result {
            Ok(()) => return Ok(()),
            Err(zk::Error::Unimplemented) if mode == zk::CreateMode::Container => mode = zk::CreateMode::Persistent,
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                return Err(Error::from_answer(path.as_str(), error).into());
            }
            Err(_) => session.pause_before_retry().await,
        }
    }
}
