//! Making the directories above a node.

use std::sync::Arc;

use zookeeper_client as zk;

use super::path::NodePath;
use super::request::create;
use crate::session::{Interrupted, NoContainers, Reply, Retry, Session, Unanswered, refused};

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
    if parents == Parents::Persistent {
        return create(session, path, &[], zk::CreateMode::Persistent).await;
    }
    if session.may_know_containers() {
        match create_container(session, path).await? {
            Container::Answer(answer) => return Ok(answer),
            Container::Unknown(shown) => session.knows_no_containers(shown),
        }
    }
    let made = create(session, path, &[], zk::CreateMode::Persistent).await?;
    if made.is_ok() {
        session.made_directory(path);
    }
    Ok(made)
}

/// What asking for a container brought.
enum Container {
    Answer(Result<(), zk::Error>),
    Unknown(NoContainers),
}

/// How many connections may break at a request for a container, until a server is taken for one that knows none.
const BREAKS: usize = 2;

async fn create_container(session: &Arc<Session>, path: &str) -> Result<Container, Interrupted> {
    let options = &zk::CreateMode::Container.with_acls(session.acls());
    let mut retry = Retry::new(session, path, 0);
    let mut breaks = 0;
    loop {
        let send = |client: zk::Client| async move { client.create(path, &[], options).await.map(|_| ()) };
        match session.write(send).await? {
            Reply::Answer(()) => return Ok(Container::Answer(Ok(()))),
            // ClickHouse Keeper says that the arguments are bad.
            Reply::Refused(zk::Error::Unimplemented | zk::Error::BadArguments(_)) => {
                return Ok(Container::Unknown(NoContainers::Refused));
            }
            Reply::Refused(source) => return Ok(Container::Answer(Err(source))),
            Reply::Unanswered(unanswered) => {
                breaks += usize::from(unanswered == Unanswered::Unknown { blamed: true });
                if breaks == BREAKS {
                    return Ok(Container::Unknown(NoContainers::Closed));
                }
                retry.after(unanswered).await?;
            }
        }
    }
}
