//! A node for one run of a demo: it sees nothing of other runs, and nothing of it is left.

use std::time::Duration;

use futures::future;
use tokio::time;
use uuid::Uuid;
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::zookeeper_client::{Acls, Client, CreateMode, Error};

use crate::{BoxError, session};

/// How long the removal may take: for thousands of nodes, or for an ensemble that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Chroot {
    /// Sees the ensemble as it is.
    zk: Coordinator,
    path: String,
    cluster: String,
}

impl Chroot {
    /// Opens the session that makes the node, and removes it; nothing is made yet.
    pub(crate) async fn connect(cluster: &str, name: &str) -> Result<Self, BoxError> {
        let zk = session::connect(name, cluster).await?;
        let path = format!("/{name}-{}", Uuid::new_v4());
        Ok(Self {
            zk,
            cluster: format!("{}{path}", cluster.trim_end_matches('/')),
            path,
        })
    }

    /// Makes the node.
    ///
    /// A future that fails or is dropped may have made it, or make it yet; [`Chroot::remove`] removes it in each case:
    /// the server takes the requests of a session in their order, and none after its end.
    pub(crate) async fn create(&self) -> Result<(), BoxError> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let created = self.zk.client().await?.create(&self.path, &[], &options).await;
        created.map_err(|error| format!("cannot create {}: {error}", self.cluster))?;
        Ok(())
    }

    /// The connect string to it.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Removes it with all that is in it, also what dead processes hold.
    pub(crate) async fn remove(self) -> Result<(), BoxError> {
        let removed = async {
            loop {
                let client = self.zk.client().await?;
                match remove_tree(&client, &self.path).await {
                    Ok(true) => return Ok(()),
                    Err(error @ (Error::NoAuth | Error::AuthFailed)) => return Err(BoxError::from(error)),
                    // Something that was under way came in between, or the next session has to go on.
                    Ok(false) | Err(_) => time::sleep(PAUSE).await,
                }
            }
        };
        time::timeout(PATIENCE, removed)
            .await
            .map_err(|_| format!("{} is not removed after {PATIENCE:?}", self.cluster))??;
        self.zk.close().await;
        Ok(())
    }
}

/// Whether it is gone.
async fn remove_tree(client: &Client, root: &str) -> Result<bool, Error> {
    let mut levels = vec![vec![root.to_owned()]];
    while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
        let lists = future::join_all(level.iter().map(|path| client.list_children(path))).await;
        let lists = level.iter().zip(lists).flat_map(|(path, names)| {
            let names = names.unwrap_or_default();
            names.into_iter().map(move |name| format!("{path}/{name}"))
        });
        levels.push(lists.collect());
    }
    for level in levels[1..].iter().rev() {
        // The server removes empty containers, too.
        future::join_all(level.iter().map(|path| client.delete(path, None))).await;
    }
    match client.delete(root, None).await {
        Ok(()) | Err(Error::NoNode) => Ok(true),
        Err(Error::NotEmpty) => Ok(false),
        Err(error) => Err(error),
    }
}
