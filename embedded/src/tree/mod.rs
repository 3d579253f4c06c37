//! The data tree: a deterministic state machine without I/O and without a clock.

mod node;
pub(crate) mod path;
mod prepare;
#[cfg(test)]
mod tests;
mod txn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use node::{Node, Owner};
pub(crate) use prepare::{Author, Overlay};
pub(crate) use txn::{Change, Txn, TxnHeader};

use crate::acl::{self, AclList};
use crate::wire::OpResult;

/// All nodes, and what they go away with.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    nodes: HashMap<Arc<str>, Node>,
    ephemerals: BTreeMap<i64, BTreeSet<Arc<str>>>,
    /// Containers and nodes with a time to live.
    reapable: BTreeSet<Arc<str>>,
    last_zxid: i64,
    /// Whether the state of containers that are made from now on shows an owner.
    pub(crate) shows_container_owners: bool,
}

impl Tree {
    /// A tree with the nodes every ZooKeeper server has.
    pub(crate) fn new() -> Self {
        let mut tree = Self {
            nodes: HashMap::new(),
            ephemerals: BTreeMap::new(),
            reapable: BTreeSet::new(),
            last_zxid: 0,
            shows_container_owners: false,
        };
        for (path, children) in [
            ("/", &["zookeeper"][..]),
            ("/zookeeper", &["quota", "config"]),
            ("/zookeeper/quota", &[]),
            ("/zookeeper/config", &[]),
        ] {
            let mut node = Node::new(Some(Bytes::new()), acl::open(), Owner::None, 0, 0);
            for child in children {
                node.children.insert(child);
            }
            if path == "/zookeeper/config" {
                node.acl = acl::read_only();
                node.aversion = -1;
            }
            tree.nodes.insert(path.into(), node);
        }
        tree
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path::normal(path))
    }

    /// The zxid of the latest transaction applied here.
    pub(crate) fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The bytes of all paths and data.
    pub(crate) fn data_size(&self) -> usize {
        let size = |(path, node): (&Arc<str>, &Node)| path.len() + node.data.as_ref().map_or(0, Bytes::len);
        self.nodes.iter().map(size).sum()
    }

    /// How many nodes there are below `path`.
    pub(crate) fn count_below(&self, path: &str) -> usize {
        match path {
            path::ROOT => self.nodes.len() - 1,
            path => self.nodes.keys().filter(|key| is_below(key, path)).count(),
        }
    }

    /// The paths of all nodes, in no order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(|path| &**path)
    }

    /// The nodes that go away with this session.
    pub(crate) fn ephemerals_of(&self, session: i64) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(|path| &**path)
    }

    /// All nodes that go away with a session, by session.
    pub(crate) fn ephemerals(&self) -> impl ExactSizeIterator<Item = (i64, &BTreeSet<Arc<str>>)> {
        self.ephemerals.iter().map(|(session, paths)| (*session, paths))
    }

    /// Containers that lost their last child and nodes that outlived their time, at wall time `now`.
    pub(crate) fn reapable(&self, now: i64) -> Vec<String> {
        let is_due = |path: &&Arc<str>| {
            self.nodes.get(&***path).is_some_and(|node| {
                node.children.is_empty()
                    && match node.owner {
                        // Never reaped before the first child: its creator is about to add one.
                        Owner::Container => node.creations > 0,
                        Owner::Ttl(ttl) => now.saturating_sub(node.mtime) > ttl,
                        Owner::None | Owner::Session(_) => false,
                    }
            })
        };
        self.reapable.iter().filter(is_due).map(ToString::to_string).collect()
    }

    /// Applies a transaction and reports its changes in order.
    pub(crate) fn apply(&mut self, header: TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Vec<OpResult> {
        let results = self.apply_part(header, txn, changes);
        self.last_zxid = self.last_zxid.max(header.zxid);
        results
    }

    fn apply_part(&mut self, header: TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Vec<OpResult> {
        let result = match txn {
            Txn::Create { .. } => self.create(header, txn, changes),
            Txn::Delete { path } => {
                self.remove(path, header.zxid, changes);
                Some(OpResult::Delete)
            }
            Txn::SetData { path, data, version } => self.set_data(header, path, data.as_ref(), *version, changes),
            Txn::SetAcl { path, acl, version } => self.node_mut(path).map(|node| {
                node.acl = acl.clone();
                node.aversion = *version;
                OpResult::SetAcl(node.stat())
            }),
            Txn::Check => Some(OpResult::Check),
            Txn::Multi(parts) => {
                return parts
                    .iter()
                    .flat_map(|part| self.apply_part(header, part, changes))
                    .collect();
            }
            Txn::FailedMulti(errors) => return errors.iter().map(|error| OpResult::Error(*error)).collect(),
            Txn::CloseSession(session) => {
                for path in self.ephemerals.remove(session).unwrap_or_default() {
                    self.remove(&path, header.zxid, changes);
                }
                None
            }
            Txn::SetSequence { parent, next } => {
                if let Some(node) = self.node_mut(parent) {
                    node.creations = *next;
                }
                None
            }
            Txn::Failed | Txn::OpenSession => None,
        };
        result.into_iter().collect()
    }

    fn create(&mut self, header: TxnHeader, txn: &Txn, changes: &mut Vec<Change>) -> Option<OpResult> {
        let Txn::Create {
            path,
            data,
            acl,
            owner,
            creations,
            with_stat,
        } = txn
        else {
            return None;
        };
        let node = Node::new(data.clone(), acl.clone(), *owner, header.zxid, header.time);
        let stat = node.stat();
        let parent_acl = self.insert(path, node, *creations, header.zxid);
        let (path, acl) = (path.clone(), acl.clone());
        changes.push(Change::Created {
            path: path.clone(),
            acl,
            parent_acl,
        });
        Some(match with_stat {
            true => OpResult::Create2 { path, stat },
            false => OpResult::Create { path },
        })
    }

    fn set_data(
        &mut self,
        header: TxnHeader,
        path: &str,
        data: Option<&Bytes>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Option<OpResult> {
        let node = self.node_mut(path)?;
        node.data = data.cloned();
        node.version = version;
        node.mzxid = header.zxid;
        node.mtime = header.time;
        changes.push(Change::DataChanged {
            path: path.to_owned(),
            acl: node.acl.clone(),
        });
        Some(OpResult::SetData(node.stat()))
    }

    fn node_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path::normal(path))
    }

    /// Returns the access control list of the parent.
    fn insert(&mut self, path: &str, mut node: Node, creations: i32, zxid: i64) -> AclList {
        node.shows_owner = self.shows_container_owners;
        let mut parent_acl = acl::open();
        let path: Arc<str> = path.into();
        if let Some((parent, name)) = path::split(&path) {
            if let Some(parent) = self.node_mut(parent) {
                // The counter never goes back, so it does not wrap either: at i32::MAX it stays, with its pzxid.
                if creations > parent.creations {
                    parent.creations = creations;
                    parent.pzxid = zxid;
                }
                parent.children.insert(name);
                parent_acl = parent.acl.clone();
            }
        }
        match node.owner {
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(path.clone());
            }
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.insert(path.clone());
            }
            Owner::None => {}
        }
        self.nodes.insert(path, node);
        parent_acl
    }

    fn remove(&mut self, path: &str, zxid: i64, changes: &mut Vec<Change>) {
        let Some(node) = self.nodes.remove(path) else { return };
        let mut parent_acl = acl::open();
        if let Some((parent, name)) = path::split(path) {
            if let Some(parent) = self.node_mut(parent) {
                parent.children.remove(name);
                parent.pzxid = parent.pzxid.max(zxid);
                parent_acl = parent.acl.clone();
            }
        }
        match node.owner {
            Owner::Session(session) => {
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    paths.remove(path);
                    if paths.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.remove(path);
            }
            Owner::None => {}
        }
        changes.push(Change::Deleted {
            path: path.to_owned(),
            acl: node.acl,
            parent_acl,
        });
    }
}

/// Whether `path` lies below `ancestor`.
pub(crate) fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}
