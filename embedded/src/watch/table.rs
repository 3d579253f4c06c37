//! Watches of one sort, found by path and by connection.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{ConnectionId, WatchModes};
use crate::tree::path;
use crate::wire::EventType;

/// Watches of one sort: data or child.
#[derive(Debug, Default)]
pub(super) struct Table {
    modes: WatchModes,
    by_path: HashMap<String, BTreeMap<ConnectionId, ModeSet>>,
    by_connection: HashMap<ConnectionId, HashSet<String>>,
    /// How many of them are recursive: while there is none, a trigger need not look at ancestors.
    recursive: usize,
}

/// A set of [`Mode`]s, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ModeSet(u8);

impl ModeSet {
    fn has(self, mode: Mode) -> bool {
        self.0 & mode as u8 != 0
    }
}

impl Table {
    pub(super) fn new(modes: WatchModes) -> Self {
        Self {
            modes,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_path.values().map(BTreeMap::len).sum()
    }

    pub(super) fn paths_of(&self, connection: ConnectionId) -> impl Iterator<Item = &String> {
        self.by_connection.get(&connection).into_iter().flatten()
    }

    pub(super) fn add(&mut self, path: &str, connection: ConnectionId, mode: Mode) {
        let before = self.get(path, connection);
        let after = match self.modes {
            WatchModes::Replace => ModeSet(mode as u8),
            WatchModes::Coexist => ModeSet(before.0 | mode as u8),
        };
        self.set(path, connection, after);
    }

    fn set(&mut self, path: &str, connection: ConnectionId, modes: ModeSet) {
        let before = if modes == ModeSet::default() {
            let before = self
                .by_path
                .get_mut(path)
                .and_then(|watchers| watchers.remove(&connection));
            if self.by_path.get(path).is_some_and(BTreeMap::is_empty) {
                self.by_path.remove(path);
            }
            if let Some(paths) = self.by_connection.get_mut(&connection) {
                paths.remove(path);
                if paths.is_empty() {
                    self.by_connection.remove(&connection);
                }
            }
            before
        } else {
            self.by_connection
                .entry(connection)
                .or_default()
                .insert(path.to_owned());
            self.by_path
                .entry(path.to_owned())
                .or_default()
                .insert(connection, modes)
        };
        let was_recursive = before.unwrap_or_default().has(Mode::Recursive);
        self.recursive = self.recursive + usize::from(modes.has(Mode::Recursive)) - usize::from(was_recursive);
    }

    /// Removes watches kept in this mode, or in any; false if there was none.
    pub(super) fn remove(&mut self, path: &str, connection: ConnectionId, mode: Option<Mode>) -> bool {
        let before = self.get(path, connection);
        let removed = match (self.modes, mode) {
            // ZooKeeper 3.8 does not ask for the mode.
            (WatchModes::Replace, _) | (_, None) => before,
            (WatchModes::Coexist, Some(mode)) => ModeSet(before.0 & mode as u8),
        };
        self.set(path, connection, ModeSet(before.0 & !removed.0));
        removed != ModeSet::default()
    }

    /// Whether there are watches kept in this mode, or in any.
    pub(super) fn contains(&self, path: &str, connection: ConnectionId, mode: Option<Mode>) -> bool {
        match self.modes {
            // ZooKeeper 3.8 takes the watch of any connection for the caller's.
            WatchModes::Replace => self.by_path.contains_key(path),
            WatchModes::Coexist => {
                let modes = self.get(path, connection);
                mode.map_or(modes != ModeSet::default(), |mode| modes.has(mode))
            }
        }
    }

    fn get(&self, path: &str, connection: ConnectionId) -> ModeSet {
        self.by_path
            .get(path)
            .and_then(|watchers| watchers.get(&connection))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        for path in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            self.set(&path, connection, ModeSet::default());
        }
    }

    pub(super) fn hand_over(&mut self, connection: ConnectionId, other: &mut Self) {
        for path in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            if let Some(modes) = self.by_path.get(&path).and_then(|watchers| watchers.get(&connection)) {
                other.set(&path, connection, *modes);
            }
            self.set(&path, connection, ModeSet::default());
        }
    }

    /// The connections that hear of it; their one-shot watches are spent.
    pub(super) fn trigger(&mut self, path: &str, event: EventType) -> BTreeSet<ConnectionId> {
        let mut connections = BTreeSet::new();
        let watchers: Vec<_> = self
            .by_path
            .get(path)
            .into_iter()
            .flatten()
            .map(|(connection, modes)| (*connection, *modes))
            .collect();
        for (connection, modes) in watchers {
            if modes == ModeSet(Mode::Recursive as u8) && event == EventType::NodeChildrenChanged {
                continue;
            }
            connections.insert(connection);
            if modes.has(Mode::OneShot) {
                self.set(path, connection, ModeSet(modes.0 & !(Mode::OneShot as u8)));
            }
        }
        if self.recursive > 0 && event != EventType::NodeChildrenChanged {
            for ancestor in path::self_and_ancestors(path).skip(1) {
                let watchers = self.by_path.get(ancestor).into_iter().flatten();
                connections.extend(
                    watchers
                        .filter(|(_, modes)| modes.has(Mode::Recursive))
                        .map(|(connection, _)| *connection),
                );
            }
        }
        connections
    }
}

/// How a watch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    OneShot = 1,
    Persistent = 2,
    Recursive = 4,
}
