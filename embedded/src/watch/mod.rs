//! Which connection hears of which change. Pure: connections are numbers, events are returned.

mod table;

use std::collections::BTreeSet;

use crate::acl::AclList;
use crate::tree::{Change, path};
use crate::wire::EventType;
pub(crate) use table::Mode;
use table::Table;

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

/// Which watches to remove or to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Children,
    Data,
    Any,
    Persistent,
    PersistentRecursive,
}

/// An event for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) connection: ConnectionId,
    pub(crate) kind: EventType,
    pub(crate) path: String,
    /// What decides which connections may hear of it; `None` where that is already settled.
    pub(crate) acl: Option<AclList>,
}

/// All watches on one tree.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    modes: WatchModes,
    /// Woken by creation, deletion and new data of the node itself.
    data: Table,
    /// Woken by deletion of the node and by changes of its list of children.
    child: Table,
}

impl Watches {
    pub(crate) fn new(modes: WatchModes) -> Self {
        Self {
            modes,
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
        // A recursive watch hears of no lists; ZooKeeper 3.8 keeps it here all the same, which shows in its counts.
        if self.modes == WatchModes::Replace || mode != Mode::Recursive {
            self.child.add(path, connection, mode);
        }
    }

    /// The watches that a client means by this code, if it means any.
    pub(crate) fn kind(&self, code: i32) -> Option<Kind> {
        match (code, self.modes) {
            (1, _) => Some(Kind::Children),
            (2, _) => Some(Kind::Data),
            (3, _) => Some(Kind::Any),
            (4, WatchModes::Coexist) => Some(Kind::Persistent),
            (5, WatchModes::Coexist) => Some(Kind::PersistentRecursive),
            _ => None,
        }
    }

    /// Removes watches; false if there was none.
    pub(crate) fn remove(&mut self, path: &str, connection: ConnectionId, kind: Kind) -> bool {
        let Self { data, child, .. } = self;
        match kind {
            Kind::Data => data.remove(path, connection, Some(Mode::OneShot)),
            Kind::Children => child.remove(path, connection, Some(Mode::OneShot)),
            Kind::Any => data.remove(path, connection, None) | child.remove(path, connection, None),
            Kind::Persistent => {
                let mode = Some(Mode::Persistent);
                data.remove(path, connection, mode) | child.remove(path, connection, mode)
            }
            Kind::PersistentRecursive => data.remove(path, connection, Some(Mode::Recursive)),
        }
    }

    /// Whether there is a watch.
    pub(crate) fn contains(&self, path: &str, connection: ConnectionId, kind: Kind) -> bool {
        let Self { data, child, .. } = self;
        match kind {
            Kind::Data => data.contains(path, connection, Some(Mode::OneShot)),
            Kind::Children => child.contains(path, connection, Some(Mode::OneShot)),
            Kind::Any => data.contains(path, connection, None) || child.contains(path, connection, None),
            Kind::Persistent => data.contains(path, connection, Some(Mode::Persistent)),
            Kind::PersistentRecursive => data.contains(path, connection, Some(Mode::Recursive)),
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

    /// What a connection watches.
    pub(crate) fn paths_of(&self, connection: ConnectionId) -> BTreeSet<String> {
        let tables = [&self.data, &self.child];
        tables
            .into_iter()
            .flat_map(|table| table.paths_of(connection))
            .cloned()
            .collect()
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
                // A connection that watches both the node and its children hears of the deletion once.
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
    fn watches_that_coexist_are_removed_by_mode() {
        let mut watches = Watches::new(WatchModes::Coexist);
        watches.watch_persistently("/a", 1, Mode::Recursive);
        watches.watch_persistently("/a", 1, Mode::Persistent);
        watches.watch_data("/a", 1);
        for kind in [Kind::Data, Kind::Persistent, Kind::PersistentRecursive] {
            assert!(
                watches.contains("/a", 1, kind) && !watches.contains("/a", 2, kind),
                "{kind:?}"
            );
            assert!(
                watches.remove("/a", 1, kind) && !watches.remove("/a", 1, kind),
                "{kind:?}"
            );
            assert!(!watches.contains("/a", 1, kind), "{kind:?}");
        }
        assert!(!watches.contains("/a", 1, Kind::Any));
        assert_eq!(watches.len(), 0);
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
