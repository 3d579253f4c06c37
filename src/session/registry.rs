//! The nodes that a session owns, or may own because a create is on its way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};
use tracing::{debug, warn};

use super::state::{End, LossReason, lock};
use crate::error::Error;

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

impl NodeLocation {
    /// The path of the node, or of its directory where its name is not known.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::ByGuid { parent, .. } => parent,
            Self::Path(path) | Self::OwnedPath { path, .. } => path,
        }
    }

    /// How long its path may be.
    fn path_bytes(&self) -> usize {
        match self {
            Self::ByGuid { parent, .. } => parent.len() + LONGEST_NAME,
            Self::Path(path) | Self::OwnedPath { path, .. } => path.len(),
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
    /// Something is held on it: after a loss it stays until that is dropped.
    held: bool,
    /// A heartbeat has found it gone.
    gone: bool,
    bytes: usize,
    _cleanup: Option<CleanupToken>,
}

/// The largest sum of the paths of a session's ephemeral nodes, in bytes, counted with chroot and 4 bytes each.
///
/// The end of a session is one transaction that names them all. One larger than `jute.maxbuffer` takes the whole
/// ensemble down, and it does not start again (ZOOKEEPER-4306): see `scripts/ephemeral-limit.sh`.
pub(crate) const EPHEMERAL_BYTES: usize = 786_432;

/// How many bytes a node at most counts whose directory is `path`.
pub(super) fn node_bytes(chroot_len: usize, path: &str) -> usize {
    chroot_len + path.len() + LONGEST_NAME + NODE_OVERHEAD
}

/// Which part of a session's bytes is for nodes that reserve nothing.
const UNRESERVED: usize = 16;

/// How much of `limit` can be reserved.
pub(super) fn reservable(limit: usize) -> usize {
    limit - limit / UNRESERVED
}

/// What a node adds to the transaction, beside its path.
const NODE_OVERHEAD: usize = 4;

/// The longest name that a node may get which is known by its guid only: that of a contender.
const LONGEST_NAME: usize = 64;

/// All owned nodes of a session. An entry stays until its node is known to be gone.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<RegistryState>,
    chroot_len: usize,
    limit: usize,
    /// Tells that entries have changed, once the session is over.
    changed: Notify,
}

#[derive(Debug, Default)]
struct RegistryState {
    next: u64,
    entries: HashMap<NodeKey, RegisteredNode>,
    /// Those whose path is known.
    by_path: HashMap<String, NodeKey>,
    bytes: usize,
    /// What operations that are under way may come to own.
    reserved: usize,
    /// Nothing is placed here any more.
    closed: bool,
    over: Option<LossReason>,
}

impl Registry {
    /// `chroot_len` is what the chroot adds to each path; `limit` is that of all paths, in bytes.
    pub(crate) fn new(chroot_len: usize, limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            chroot_len,
            limit,
            changed: Notify::new(),
        }
    }

    /// Registers a node before its create is sent, with its end, which several nodes may share.
    ///
    /// # Errors
    /// [`Error::TooManyEphemerals`] if the session may not own so many.
    pub(crate) fn insert(
        &self,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Result<NodeKey, Error> {
        self.insert_into(&mut lock(&self.state), location, cleanup, end)
    }

    /// Registers a node at a path that others may use, before its create is sent; `None` if one is registered there:
    /// the owner of a node is a session, which cannot tell two of its nodes at one path from each other.
    pub(crate) fn insert_named(
        &self,
        path: &str,
        owner: i64,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Result<Option<NodeKey>, Error> {
        let location = NodeLocation::OwnedPath {
            path: path.to_owned(),
            owner,
        };
        let mut state = lock(&self.state);
        match state.named(path) {
            Some(_) => Ok(None),
            None => self.insert_into(&mut state, location, cleanup, end).map(Some),
        }
    }

    fn insert_into(
        &self,
        state: &mut RegistryState,
        location: NodeLocation,
        cleanup: Option<CleanupToken>,
        end: Arc<End>,
    ) -> Result<NodeKey, Error> {
        let bytes = self.chroot_len + location.path_bytes() + NODE_OVERHEAD;
        if state.bytes + bytes > self.limit {
            return Err(Error::TooManyEphemerals {
                path: location.path().to_owned(),
                nodes: state.entries.len(),
                bytes: state.bytes,
                limit: self.limit,
            });
        }
        let key = NodeKey(state.next);
        state.next += 1;
        state.bytes += bytes;
        if let Some(reason) = state.over {
            end.set(reason);
        }
        let node = RegisteredNode {
            location,
            end,
            held: false,
            gone: false,
            bytes,
            _cleanup: cleanup,
        };
        if let NodeLocation::Path(path) | NodeLocation::OwnedPath { path, .. } = &node.location {
            state.by_path.insert(path.clone(), key);
        }
        state.entries.insert(key, node);
        Ok(key)
    }

    /// Reserves room for nodes of so many bytes, until it is [given back](Self::give_back): for as long as they are waited
    /// for. Those that are created by then count twice, since it is not known which of them are of this reservation.
    ///
    /// A part is never reserved. It is for nodes that live for a moment and reserve nothing, such as the marks of writes:
    /// they would take the room of a reservation otherwise.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let load = state.bytes.saturating_add(state.reserved);
        let is_reserved = load.saturating_add(bytes) <= reservable(self.limit) && !state.closed;
        if is_reserved {
            state.reserved = state.reserved.saturating_add(bytes);
        }
        is_reserved
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.reserved = state.reserved.saturating_sub(bytes);
    }

    /// Whether nothing is owned, and nothing will be by an operation that is under way.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.state).is_idle()
    }

    /// Places nothing here any more, if nothing is.
    pub(crate) fn close_if_idle(&self) -> bool {
        let mut state = lock(&self.state);
        state.closed = state.is_idle();
        state.closed
    }

    /// The end of the node that is registered at a path that others may use.
    pub(crate) fn named(&self, path: &str) -> Option<Arc<End>> {
        lock(&self.state).named(path)
    }

    /// The node that is to be looked for by its guid is at `path`.
    pub(crate) fn found(&self, key: NodeKey, path: &str) {
        let mut state = lock(&self.state);
        let RegistryState {
            entries,
            by_path,
            bytes,
            ..
        } = &mut *state;
        let Some(node) = entries.get_mut(&key) else { return };
        if let NodeLocation::ByGuid { .. } = node.location {
            node.location = NodeLocation::Path(path.to_owned());
            by_path.insert(path.to_owned(), key);
            let now = self.chroot_len + path.len() + NODE_OVERHEAD;
            *bytes = *bytes - node.bytes + now;
            node.bytes = now;
        }
    }

    /// The node at a path that others might have used as well was created, and no other will ever have its path.
    pub(crate) fn is_ours_alone(&self, key: NodeKey) {
        if let Some(node) = lock(&self.state).entries.get_mut(&key) {
            if let NodeLocation::OwnedPath { path, .. } = &mut node.location {
                node.location = NodeLocation::Path(std::mem::take(path));
            }
        }
    }

    pub(crate) fn remove(&self, key: NodeKey) {
        let removed = self.update(|state| {
            let removed = state.entries.remove(&key);
            let path = removed.as_ref().map_or("", |node| node.location.path());
            if state.by_path.get(path) == Some(&key) {
                state.by_path.remove(path);
            }
            state.bytes -= removed.as_ref().map_or(0, |node| node.bytes);
            removed
        });
        // Outside the lock: the end may hold a share in a lease.
        drop(removed);
    }

    /// Says whether something is held on the node.
    pub(crate) fn set_held(&self, key: NodeKey, held: bool) {
        self.update(|state| {
            if let Some(node) = state.entries.get_mut(&key) {
                node.held = held;
            }
        });
    }

    pub(crate) fn location(&self, key: NodeKey) -> Option<NodeLocation> {
        lock(&self.state).entries.get(&key).map(|entry| entry.location.clone())
    }

    /// Whether the session owns the node at `path`, and something is or was held on it.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let state = lock(&self.state);
        state.at(path).is_some_and(|node| node.held)
    }

    /// Any node that is known to have been created, and that is not known to have been removed.
    pub(crate) fn any_node(&self) -> Option<(NodeKey, NodeLocation)> {
        let state = lock(&self.state);
        let alive = |entry: &RegisteredNode| !entry.gone && entry.end.reason().is_none();
        let known = |entry: &RegisteredNode| matches!(entry.location, NodeLocation::Path(_));
        let found = state.entries.iter().find(|(_, entry)| alive(entry) && known(entry));
        found.map(|(key, entry)| (*key, entry.location.clone()))
    }

    /// The node is not there: it shows nothing any more. Its guardian hears of its end.
    pub(crate) fn gone(&self, key: NodeKey) {
        if let Some(entry) = lock(&self.state).entries.get_mut(&key) {
            entry.gone = true;
        }
    }

    /// Ends all nodes, those that are registered later included. Returns those on which nothing is held: they are to be
    /// removed at once.
    pub(crate) fn end_all(&self, reason: LossReason) -> Vec<NodeKey> {
        let (mut ends, mut loose) = (Vec::new(), Vec::new());
        {
            let mut state = lock(&self.state);
            state.over.get_or_insert(reason);
            for (key, node) in &state.entries {
                ends.push((Arc::clone(&node.end), node.held, node.location.clone()));
                if !node.held {
                    loose.push(*key);
                }
            }
        }
        // Outside the lock, since what is told may come back here.
        for (end, held, location) in ends {
            match (end.set(reason), held && reason != LossReason::Closed) {
                (true, true) => warn!(node = location.path(), %reason, "hold lost"),
                (true, false) => debug!(node = location.path(), %reason, "node ended"),
                (false, _) => {}
            }
        }
        loose
    }

    /// How many nodes are registered, and how many bytes their paths take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.entries.len(), state.bytes)
    }

    /// How many bytes the paths of all nodes may take.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// All nodes that have yet to be removed.
    pub(crate) fn keys(&self) -> Vec<NodeKey> {
        lock(&self.state).entries.keys().copied().collect()
    }

    /// Waits until nothing is held any more.
    pub(crate) async fn nothing_held(&self) {
        self.until(|state| state.entries.values().all(|node| !node.held)).await;
    }

    /// Waits until no node is left to be removed.
    pub(crate) async fn empty(&self) {
        self.until(|state| state.entries.is_empty()).await;
    }

    async fn until(&self, is_reached: impl Fn(&RegistryState) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_reached(&lock(&self.state)) {
                return;
            }
            changed.await;
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut RegistryState) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        self.changed.notify_waiters();
        changed
    }
}

impl RegistryState {
    fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.reserved == 0
    }

    fn at(&self, path: &str) -> Option<&RegisteredNode> {
        self.by_path.get(path).and_then(|key| self.entries.get(key))
    }

    fn named(&self, path: &str) -> Option<Arc<End>> {
        let is_named = |node: &&RegisteredNode| matches!(node.location, NodeLocation::OwnedPath { .. });
        self.at(path).filter(is_named).map(|node| Arc::clone(&node.end))
    }
}

#[cfg(test)]
mod tests;
