//! Making the directories above a node.

use std::sync::Arc;

use zookeeper_client as zk;

use super::path::NodePath;
use super::request::write;
use crate::session::{Interrupted, Session, refused};

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
    let modes = match parents {
        Parents::Containers => [zk::CreateMode::Container, zk::CreateMode::Persistent],
        Parents::Persistent => [zk::CreateMode::Persistent; 2],
    };
    let path = path.as_str();
    for mode in modes {
        let options = &mode.with_acls(session.acls());
        let made = write(
            session,
            path,
            0,
            |client| async move { client.mkdir(path, options).await },
        );
        match made.await? {
            Ok(()) => return Ok(()),
            // A server that knows no containers.
            Err(zk::Error::Unimplemented) => {}
            Err(source) => return Err(refused(path, source)),
        }
    }
    Err(refused(path, zk::Error::Unimplemented))
}
