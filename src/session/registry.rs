//! The nodes that a session owns, or may own because a create is on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tracing::info;

use super::core::lock;
use super::state::{End, LossReason};

/// Identifies one owned node of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeKey(u64);

/// Where an owned node is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeLocation {
    /// A create was sent, or will be: a child of `parent` whose name contains `guid`, if it was applied.
    ByGuid { parent: String, guid: String },
    /// The exact path, whose name is unique for ever.
    Path(String),
    /// A path that others may use as well: the node there is meant only if this session owns it.
    OwnedPath { path: String, owner: i64 },
}

impl NodeLocation {
    /// The directory in which the node is, with a trailing slash.
    pub(crate) fn directory(&self) -> String {
        match self {
            Self::ByGuid { parent, .. } => format!("{}/", parent.trim_end_matches('/')),
            Self::Path(path) | Self::OwnedPath { path, .. } => path[..=path.rfind('/').unwrap_or_default()].to_owned(),
        }
    }
}

/// Held by everything that still has to remove a node; its waiter wakes when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct CleanupToken {
    _alive: mpsc::Sender<()>,
}

/// Waits until every node that was registered with its [`CleanupToken`] is gone.
#[derive(Debug)]
pub(crate) struct CleanupWait {
    done: mpsc::Receiver<()>,
}

impl CleanupWait {
    pub(crate) fn new() -> (CleanupToken, Self) {
        let (alive, done) = mpsc::channel(1);
        (CleanupToken { _alive: alive }, Self { done })
    }

    pub(crate) async fn finished(&mut self) {
        while self.done.recv().await.is_some() {}
    }
}

#[derive(Debug)]
struct RegisteredNode {
    location: NodeLocation,
    end: Arc<End>,
    /// A heartbeat has found it gone.
    gone: bool,
    _cleanup: Option<CleanupToken>,
}

/// All owned nodes of a session. An entry stays until its node is known to be gone.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<RegistryState>,
}

#[derive(Debug, Default)]
struct RegistryState {
    next: u64,
    entries: HashMap<NodeKey, RegisteredNode>,
    over: Option<LossReason>,
}

impl Registry {
    /// Registers a node before its create is sent, with its end, which several nodes may share.
    pub(crate) fn insert(&self, location: NodeLocation, cleanup: Option<CleanupToken>, end: Arc<End>) -> NodeKey {
        lock(&self.state).insert(location, cleanup, end)
    }

    /// Registers a node at a path that others may use, before its create is sent; `None` if one is registered there:
    /// the owner of a node is a session, which cannot tell two of its nodes at one path from each other.
    pub(crate) fn insert_named(
        &self,
        path: &str,
        owner: i64,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Option<NodeKey> {
        let mut state = lock(&self.state);
        let is_free = state.named(path).is_none();
        let path = path.to_owned();
        is_free.then(|| state.insert(NodeLocation::OwnedPath { path, owner }, cleanup, end))
    }

    /// The end of the node that is registered at a path that others may use.
    pub(crate) fn named(&self, path: &str) -> Option<Arc<End>> {
        lock(&self.state).named(path)
    }

    /// The node that is to be looked for by its guid is at `path`.
    pub(crate) fn found(&self, key: NodeKey, path: &str) {
        let mut state = lock(&self.state);
        let location = state.entries.get_mut(&key).map(|entry| &mut entry.location);
        if let Some(location @ NodeLocation::ByGuid { .. }) = location {
            *location = NodeLocation::Path(path.to_owned());
        }
    }

    pub(crate) fn remove(&self, key: NodeKey) {
        lock(&self.state).entries.remove(&key);
    }

    pub(crate) fn location(&self, key: NodeKey) -> Option<NodeLocation> {
        lock(&self.state).entries.get(&key).map(|entry| entry.location.clone())
    }

    /// Any node that is known to have been created, and that nobody is known to have removed.
    pub(crate) fn any_node(&self) -> Option<(NodeKey, NodeLocation)> {
        let state = lock(&self.state);
        let alive = |entry: &RegisteredNode| !entry.gone && entry.end.reason().is_none();
        let known = |entry: &RegisteredNode| matches!(entry.location, NodeLocation::Path(_));
        let found = state.entries.iter().find(|(_, entry)| alive(entry) && known(entry));
        found.map(|(key, entry)| (*key, entry.location.clone()))
    }

    /// The node is not there: it shows nothing any more. Whoever watches it hears of its end.
    pub(crate) fn gone(&self, key: NodeKey) {
        if let Some(entry) = lock(&self.state).entries.get_mut(&key) {
            entry.gone = true;
        }
    }

    /// Ends all nodes, those that are registered later included, and says which have yet to be removed.
    pub(crate) fn end_all(&self, reason: LossReason) -> Vec<NodeKey> {
        let mut state = lock(&self.state);
        state.over.get_or_insert(reason);
        for entry in state.entries.values() {
            if entry.end.set(reason) {
                info!(node = ?entry.location, %reason, "lost");
            }
        }
        state.entries.keys().copied().collect()
    }
}

impl RegistryState {
    fn insert(&mut self, location: NodeLocation, cleanup: Option<CleanupToken>, end: Arc<End>) -> NodeKey {
        let key = NodeKey(self.next);
        self.next += 1;
        if let Some(reason) = self.over {
            end.set(reason);
        }
        let entry = RegisteredNode {
            location,
            end,
            gone: false,
            _cleanup: cleanup,
        };
        self.entries.insert(key, entry);
        key
    }

    fn named(&self, path: &str) -> Option<Arc<End>> {
        let is_at = |location: &_| matches!(location, NodeLocation::OwnedPath { path: other, .. } if other == path);
        let found = self.entries.values().find(|entry| is_at(&entry.location));
        found.map(|entry| Arc::clone(&entry.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> NodeLocation {
        NodeLocation::ByGuid {
            parent: "/a".into(),
            guid: "g".into(),
        }
    }

    #[test]
    fn a_node_registered_after_the_end_is_lost_from_the_start() {
        let registry = Registry::default();
        registry.end_all(LossReason::SessionExpired);
        let end = Arc::new(End::new());
        registry.insert(sent(), None, Arc::clone(&end));
        assert_eq!(end.reason(), Some(LossReason::SessionExpired));
    }

    #[test]
    fn a_node_is_in_a_directory() {
        assert_eq!(NodeLocation::Path("/a/b/c".into()).directory(), "/a/b/");
        assert_eq!(NodeLocation::Path("/a".into()).directory(), "/");
        assert_eq!(sent().directory(), "/a/");
    }

    #[tokio::test]
    async fn a_removal_is_finished_when_the_last_node_is_gone() {
        let registry = Registry::default();
        let (cleanup, mut removal) = CleanupWait::new();
        let key = registry.insert(sent(), Some(cleanup), Arc::new(End::new()));
        tokio::select! {
            biased;
            () = removal.finished() => unreachable!("a node is left"),
            () = std::future::ready(()) => {}
        }
        registry.remove(key);
        removal.finished().await;
    }
}
