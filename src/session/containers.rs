//! What differs between servers about the nodes above ours: containers.
//!
//! A container is removed by the server some time after its last child. Servers that know none (ZooKeeper before 3.5.3,
//! ClickHouse Keeper) say so, refuse the arguments, or close the connection. There the directories are persistent nodes,
//! which this process removes when they are empty.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use futures::future;
use tokio::time;
use tracing::{debug, info};
use zookeeper_client as zk;

use super::config::SessionConfig;
use super::core::Session;
use super::request::Reply;
use super::state::lock;

/// How many directories one look tries to remove.
const AT_ONCE: usize = 64;

/// How long a server that closed connections is taken for one that knows no containers. It may have had another reason.
const SUSPECTED_FOR: Duration = Duration::from_secs(600);

/// How a server shows that it knows no containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoContainers {
    /// It said so.
    Refused,
    /// It closed connections at the request.
    Closed,
}

/// Whether the servers of a coordinator know containers, and what stands in their place.
#[derive(Debug, Default)]
pub(super) struct Containers {
    lack: Mutex<Option<(NoContainers, Instant)>>,
    /// Directories that this process made as persistent nodes.
    made: Mutex<BTreeSet<String>>,
}

/// The session that owns a node; 0 if none does. Some servers show an owner of containers and of nodes with a time to
/// live, which is no session.
pub(crate) fn owning_session(stat: &zk::Stat) -> i64 {
    const TIME_TO_LIVE: i64 = 0xff;
    match stat.ephemeral_owner {
        i64::MIN => 0,
        owner if (owner >> 56) & 0xff == TIME_TO_LIVE => 0,
        owner => owner,
    }
}

impl Session {
    /// Whether it is worth while to ask for a container.
    pub(crate) fn may_know_containers(&self) -> bool {
        match *lock(&self.config().containers.lack) {
            None => true,
            Some((NoContainers::Refused, _)) => false,
            Some((NoContainers::Closed, since)) => since.elapsed() > SUSPECTED_FOR,
        }
    }

    /// The server knows no containers. This is remembered for all servers of the coordinator.
    pub(crate) fn knows_no_containers(&self, shown: NoContainers) {
        let before = lock(&self.config().containers.lack).replace((shown, Instant::now()));
        if before.is_none() {
            info!(
                ?shown,
                "the server knows no containers; directories are persistent nodes, removed by this process when they are empty"
            );
        }
    }

    /// This process has made a persistent node where a container belongs; it is removed when it is empty.
    pub(crate) fn made_directory(self: &Arc<Self>, path: &str) {
        let is_first = {
            let mut made = lock(&self.config().containers.made);
            made.insert(path.to_owned());
            made.len() == 1
        };
        if is_first {
            let sweeping = sweep(Arc::downgrade(self.config()), self.timeout() * 6);
            self.runtime().spawn(sweeping);
        }
    }
}

impl Containers {
    /// Forgets the directories, the deepest ones first.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.made)).into_iter().rev().collect()
    }
}

/// Removes directories that are empty, as a server does with containers, until none is left.
async fn sweep(config: Weak<SessionConfig>, interval: Duration) {
    let mut after = String::new();
    loop {
        time::sleep(interval).await;
        let Some(config) = config.upgrade() else { return };
        let next = {
            let made = lock(&config.containers.made);
            if made.is_empty() {
                return;
            }
            // From the end to the beginning: children come before their parents.
            let mut next: Vec<String> = match after.as_str() {
                "" => made.iter().rev().take(AT_ONCE).cloned().collect(),
                after => made.range(..after.to_owned()).rev().take(AT_ONCE).cloned().collect(),
            };
            after = match next.len() {
                AT_ONCE => next.last().cloned().unwrap_or_default(),
                _ => String::new(),
            };
            next.sort_by_key(|path| std::cmp::Reverse(path.matches('/').count()));
            next
        };
        let Some(session) = config.open_sessions().into_iter().next() else {
            continue;
        };
        for path in next {
            let target = path.as_str();
            let removed = session.write(|client| async move { client.delete(target, None).await });
            if let Ok(Reply::Answer(()) | Reply::Refused(zk::Error::NoNode)) = removed.await {
                debug!(path, "removed an empty directory");
                lock(&config.containers.made).remove(&path);
            }
        }
    }
}

/// Removes what is empty of the directories, with the last requests of a session.
pub(super) async fn remove_empty(client: &zk::Client, directories: &[String]) {
    // Sent in this order, and so applied: a directory after those in it.
    let removals = directories.iter().map(|path| client.delete(path, None));
    let refused = future::join_all(removals)
        .await
        .into_iter()
        .filter(Result::is_err)
        .count();
    debug!(refused, all = directories.len(), "removed empty directories");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_removed_after_those_in_them() {
        let containers = Containers::default();
        for path in ["/a", "/a/b", "/a/b/c", "/b"] {
            lock(&containers.made).insert(path.to_owned());
        }
        assert_eq!(containers.take(), ["/b", "/a/b/c", "/a/b", "/a"]);
    }
}
