//! Who hears of which change. Pure: connections are numbers, events are returned.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::acl::AclList;
use crate::tree::{Change, path};
use crate::wire::EventType;

/// A connection; watches belong to connections, not to sessions.
pub(crate) type ConnectionId = u64;

/// What happens when a connection watches the same node in more than one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchModes {
    /// The latest watch replaces the one before, so that a read with a watch ends a persistent watch on the same
    /// node with the next event. ZooKeeper up to 3.8 does that, see
    /// [ZOOKEEPER-4466](https://issues.apache.org/jira/browse/ZOOKEEPER-4466).
    #[default]
    Replace,
    /// Each watch stays what it is, as from ZooKeeper 3.9 on.
    Coexist,
}

/// How a watch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    OneShot = 1,
    Persistent = 2,
    Recursive = 4,
}

/// Which watches to remove or to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Children,
    Data,
    Any,
}

impl Kind {
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Children),
            2 => Some(Self::Data),
            3 => Some(Self::Any),
            _ => None,
        }
    }
}

/// An event for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) connection: ConnectionId,
    pub(crate) kind: EventType,
    pub(crate) path: String,
    /// Who may hear of it; `None` where that is already settled.
    pub(crate) acl: Option<AclList>,
}

/// All watches on one tree.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// Woken by creation, deletion and new data of the node itself.
    data: Table,
    /// Woken by deletion of the node and by changes of its list of children.
    child: Table,
}

impl Watches {
    pub(crate) fn new(modes: WatchModes) -> Self {
        Self {
            data: Table::new(modes),
            child: Table::new(modes),
        }
    }

    /// A one-shot watch on the node.
    pub(crate) fn watch_data(&mut self, path: &str, connection: ConnectionId) {
        self.data.add(path, connection, Mode::OneShot);
    }

    /// A one-shot watch on the children of the node.
    pub(crate) fn watch_children(&mut self, path: &str, connection: ConnectionId) {
        self.child.add(path, connection, Mode::OneShot);
    }

    /// A watch that stays.
    pub(crate) fn watch_persistently(&mut self, path: &str, connection: ConnectionId, mode: Mode) {
        self.data.add(path, connection, mode);
        self.child.add(path, connection, mode);
    }

    /// Removes watches; false if there was none.
    pub(crate) fn remove(&mut self, path: &str, connection: ConnectionId, kind: Kind) -> bool {
        match kind {
            Kind::Data => self.data.remove(path, connection),
            Kind::Children => self.child.remove(path, connection),
            Kind::Any => self.data.remove(path, connection) | self.child.remove(path, connection),
        }
    }

    /// Whether there is a watch.
    pub(crate) fn contains(&self, path: &str, connection: ConnectionId, kind: Kind) -> bool {
        match kind {
            Kind::Data => self.data.contains(path, connection),
            Kind::Children => self.child.contains(path, connection),
            Kind::Any => self.data.contains(path, connection) || self.child.contains(path, connection),
        }
    }

    /// Removes everything a connection watches.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.data.forget(connection);
        self.child.forget(connection);
    }

    /// Moves everything a connection watches to `other`.
    pub(crate) fn hand_over(&mut self, connection: ConnectionId, other: &mut Self) {
        self.data.hand_over(connection, &mut other.data);
        self.child.hand_over(connection, &mut other.child);
    }

    /// How many watches there are.
    pub(crate) fn len(&self) -> usize {
        self.data.len() + self.child.len()
    }

    /// The events of one change, in the order in which a connection gets them.
    pub(crate) fn trigger(&mut self, change: &Change, events: &mut Vec<Event>) {
        use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
        let mut emit = |connections: BTreeSet<ConnectionId>, kind, path: &str, acl: &AclList| {
            events.extend(connections.into_iter().map(|connection| {
                let acl = Some(acl.clone());
                Event {
                    connection,
                    kind,
                    path: path.to_owned(),
                    acl,
                }
            }));
        };
        match change {
            Change::Created { path, acl, .. } => emit(self.data.trigger(path, NodeCreated), NodeCreated, path, acl),
            Change::DataChanged { path, acl } => {
                emit(self.data.trigger(path, NodeDataChanged), NodeDataChanged, path, acl);
            }
            Change::Deleted { path, acl, .. } => {
                // Whoever watches both the node and its children hears of the deletion once.
                let mut connections = self.data.trigger(path, NodeDeleted);
                connections.extend(self.child.trigger(path, NodeDeleted));
                emit(connections, NodeDeleted, path, acl);
            }
        }
        if let Change::Created { path, parent_acl, .. } | Change::Deleted { path, parent_acl, .. } = change {
            if let Some((parent, _)) = path::split(path) {
                let parent = path::normal(parent);
                let connections = self.child.trigger(parent, NodeChildrenChanged);
                emit(connections, NodeChildrenChanged, parent, parent_acl);
            }
        }
    }
}

/// Watches of one sort: data or child.
#[derive(Debug, Default)]
struct Table {
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
    fn new(modes: WatchModes) -> Self {
        Self {
            modes,
            ..Self::default()
        }
    }

    fn len(&self) -> usize {
        self.by_path.values().map(BTreeMap::len).sum()
    }

    fn add(&mut self, path: &str, connection: ConnectionId, mode: Mode) {
        let before = self
            .by_path
            .get(path)
            .and_then(|watchers| watchers.get(&connection))
            .copied()
            .unwrap_or_default();
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

    fn remove(&mut self, path: &str, connection: ConnectionId) -> bool {
        let found = self
            .by_path
            .get(path)
            .is_some_and(|watchers| watchers.contains_key(&connection));
        self.set(path, connection, ModeSet::default());
        found
    }

    fn contains(&self, path: &str, connection: ConnectionId) -> bool {
        self.by_path.get(path).is_some_and(|watchers| match self.modes {
            // ZooKeeper 3.8 takes the watch of any connection for the caller's.
            WatchModes::Replace => true,
            WatchModes::Coexist => watchers.contains_key(&connection),
        })
    }

    fn forget(&mut self, connection: ConnectionId) {
        for path in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            self.set(&path, connection, ModeSet::default());
        }
    }

    fn hand_over(&mut self, connection: ConnectionId, other: &mut Self) {
        for path in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            if let Some(modes) = self.by_path.get(&path).and_then(|watchers| watchers.get(&connection)) {
                other.set(&path, connection, *modes);
            }
            self.set(&path, connection, ModeSet::default());
        }
    }

    /// Who hears of it; their one-shot watches are spent.
    fn trigger(&mut self, path: &str, event: EventType) -> BTreeSet<ConnectionId> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl;

    fn events(watches: &mut Watches, change: Change) -> Vec<(ConnectionId, EventType, String)> {
        let mut events = Vec::new();
        watches.trigger(&change, &mut events);
        events
            .into_iter()
            .map(|event| (event.connection, event.kind, event.path))
            .collect()
    }

    fn created(path: &str) -> Change {
        Change::Created {
            path: path.to_owned(),
            acl: acl::open(),
            parent_acl: acl::open(),
        }
    }

    #[test]
    fn a_one_shot_watch_fires_once() {
        let mut watches = Watches::new(WatchModes::Replace);
        watches.watch_data("/a", 1);
        assert_eq!(
            events(&mut watches, created("/a")),
            [(1, EventType::NodeCreated, "/a".to_owned())]
        );
        assert_eq!(events(&mut watches, created("/a")), []);
        assert_eq!(watches.len(), 0);
    }

    #[test]
    fn a_deletion_is_heard_once_by_who_watches_node_and_children() {
        let mut watches = Watches::new(WatchModes::Replace);
        watches.watch_data("/a", 1);
        watches.watch_children("/a", 1);
        watches.watch_children("/", 1);
        assert_eq!(
            events(
                &mut watches,
                Change::Deleted {
                    path: "/a".to_owned(),
                    acl: acl::open(),
                    parent_acl: acl::open()
                }
            ),
            [
                (1, EventType::NodeDeleted, "/a".to_owned()),
                (1, EventType::NodeChildrenChanged, "/".to_owned())
            ]
        );
        assert_eq!(watches.len(), 0);
    }

    #[test]
    fn a_recursive_watch_hears_of_descendants_but_not_of_lists() {
        let mut watches = Watches::new(WatchModes::Replace);
        watches.watch_persistently("/a", 1, Mode::Recursive);
        for _ in 0..2 {
            assert_eq!(
                events(&mut watches, created("/a/b/c")),
                [(1, EventType::NodeCreated, "/a/b/c".to_owned())]
            );
        }
        assert_eq!(events(&mut watches, created("/ab")), []);
        assert!(watches.remove("/a", 1, Kind::Any));
        assert_eq!(events(&mut watches, created("/a/b")), []);
    }

    #[test]
    fn a_one_shot_watch_over_a_persistent_one_replaces_it_or_leaves_it() {
        for (modes, left) in [(WatchModes::Replace, 0), (WatchModes::Coexist, 1)] {
            let mut watches = Watches::new(modes);
            watches.watch_persistently("/a", 1, Mode::Persistent);
            watches.watch_data("/a", 1);
            assert_eq!(events(&mut watches, created("/a")).len(), 1);
            assert_eq!(events(&mut watches, created("/a")).len(), left, "{modes:?}");
        }
    }

    #[test]
    fn a_connection_that_ends_leaves_no_watch() {
        let mut watches = Watches::new(WatchModes::Coexist);
        watches.watch_data("/a", 1);
        watches.watch_persistently("/", 1, Mode::Recursive);
        watches.watch_data("/a", 2);
        watches.forget(1);
        assert_eq!(watches.len(), 1);
        assert_eq!(
            events(&mut watches, created("/a")),
            [(2, EventType::NodeCreated, "/a".to_owned())]
        );
    }
}
