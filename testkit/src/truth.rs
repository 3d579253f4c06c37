//! What the server saw of the holders' nodes, to hold their belief against.

use std::collections::HashMap;
use std::time::Instant;

use tokio::task::JoinHandle;
use zookeeper_client::{AddWatchMode, Client, EventType, PersistentWatcher};

use crate::background;
use crate::history::History;

/// Watches a directory and records in a [`History`] when an ephemeral node below it is removed, which may be a holder's.
///
/// A removal is seen a little after it happened, so a hold that is believed in beyond it is a broken promise for sure. A
/// node that is gone before it could be looked at is left out.
#[derive(Debug)]
pub struct ServerTruth {
    watching: JoinHandle<()>,
}

impl ServerTruth {
    /// Records the removals below `dir` until dropped. `client` should not be one whose link is under attack.
    pub async fn record(client: &Client, dir: &str, history: &History) -> Self {
        let (client, dir, history) = (client.clone(), dir.to_owned(), history.clone());
        let watcher = background::run({
            let (client, dir) = (client.clone(), dir.clone());
            async move { client.watch(&dir, AddWatchMode::PersistentRecursive).await }
        });
        let watcher = watcher.await.unwrap_or_else(|err| panic!("cannot watch {dir}: {err}"));
        Self {
            watching: background::handle().spawn(follow(client, watcher, history)),
        }
    }
}

impl Drop for ServerTruth {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

async fn follow(client: Client, mut watcher: PersistentWatcher, history: History) {
    let mut czxids = HashMap::new();
    loop {
        let event = watcher.changed().await;
        match event.event_type {
            EventType::NodeCreated => {
                // Others may be made in the transaction that makes a holder's node, and have its token.
                let found = client.check_stat(&event.path).await.ok().flatten();
                if let Some(stat) = found.filter(|stat| stat.ephemeral_owner != 0) {
                    czxids.insert(event.path, stat.czxid);
                }
            }
            EventType::NodeDeleted => {
                if let Some(czxid) = czxids.remove(&event.path) {
                    history.record_deletion(czxid, Instant::now());
                }
            }
            EventType::Session if event.session_state.is_terminated() => return,
            _ => {}
        }
    }
}
