//! Making the directories above a node.

use std::sync::Arc;

use zookeeper_client as zk;

use super::path::NodePath;
use super::request::create;
use crate::session::{Interrupted, Session, refused};

/// What kind of nodes parents are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parents {
    /// Containers, which the server removes some time after their last child; persistent where it has none.
    Containers,
    /// Persistent nodes, for peers that create parents once and do not expect them to vanish (kazoo).
    Persistent,
}

/// Creates `path` and what is missing above it. The node itself is tried first: rights on what is above are needed only
/// where that is missing.
pub(crate) async fn ensure(session: &Arc<Session>, path: &NodePath, parents: Parents) -> Result<(), Interrupted> {
    let mut missing = vec![path.clone()];
    while let Some(next) = missing.pop() {
        match (create_one(session, next.as_str(), parents).await?, next.parent()) {
            (Ok(()) | Err(zk::Error::NodeExists), _) => {}
            (Err(zk::Error::NoNode), Some(parent)) => missing.extend([next, parent]),
            (Err(source), _) => return Err(refused(path.as_str(), source)),
        }
    }
    Ok(())
}

/// Creates one node.
async fn create_one(
    session: &Arc<Session>,
    path: &str,
    parents: Parents,
) -> Result<Result<(), zk::Error>, Interrupted> {
    if parents == Parents::Containers {
        match create(session, path, &[], zk::CreateMode::Container).await? {
            // A server that knows no containers.
            Err(zk::Error::Unimplemented) => {}
            answer => return Ok(answer),
        }
    }
    create(session, path, &[], zk::CreateMode::Persistent).await
}
