//! The nodes below a queue, and what transactions make of them: all or nothing, as in ZooKeeper.

use std::collections::BTreeMap;

use zookeeper_recipes::model::queue::{ModelNode, ModelStep};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) data: Vec<u8>,
    pub(super) version: i32,
    /// The session of an ephemeral node.
    pub(super) owner: Option<u8>,
}

/// All but the queue's own node, its bell and its lane, which no step of the model changes in a way that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tree {
    pub(super) nodes: BTreeMap<String, Node>,
    sequence: u32,
}

impl Tree {
    /// The tree after a transaction of a session; none if an operation is refused.
    pub(super) fn after(&self, steps: &[ModelStep], fixed: &[String], session: u8) -> Option<Self> {
        let mut tree = self.clone();
        for step in steps {
            tree.apply(step, fixed, session)?;
        }
        Some(tree)
    }

    fn apply(&mut self, step: &ModelStep, fixed: &[String], session: u8) -> Option<()> {
        match step {
            ModelStep::Check(path, version) | ModelStep::Set(path, _, version) if fixed.contains(path) => {
                return version.is_none_or(|version| version == 0).then_some(());
            }
            ModelStep::Check(path, version) => self.node(path, *version).map(drop)?,
            ModelStep::Set(path, data, version) => {
                let node = self.node(path, *version)?;
                node.data.clone_from(data);
                node.version += 1;
            }
            ModelStep::Delete(path, version) => {
                self.node(path, *version)?;
                self.nodes.remove(path);
            }
            ModelStep::Create(path, data, true) => {
                let path = format!("{path}{:010}", self.sequence);
                self.sequence += 1;
                self.create(path, data, None)?;
            }
            ModelStep::Create(path, data, false) => self.create(path.clone(), data, None)?,
            ModelStep::CreateEphemeral(path, data) => self.create(path.clone(), data, Some(session))?,
        }
        Some(())
    }

    fn node(&mut self, path: &str, version: Option<i32>) -> Option<&mut Node> {
        let node = self.nodes.get_mut(path)?;
        version.is_none_or(|version| version == node.version).then_some(node)
    }

    fn create(&mut self, path: String, data: &[u8], owner: Option<u8>) -> Option<()> {
        let node = Node {
            data: data.to_vec(),
            version: 0,
            owner,
        };
        self.nodes.insert(path, node).is_none().then_some(())
    }

    pub(super) fn expire(&mut self, session: u8) {
        self.nodes.retain(|_, node| node.owner != Some(session));
    }

    pub(super) fn read(&self, path: &str) -> Option<ModelNode> {
        let node = self.nodes.get(path)?;
        Some((node.data.clone(), node.version))
    }

    /// The names below a node.
    pub(super) fn list(&self, parent: &str) -> Vec<String> {
        let below = self.nodes.keys().filter_map(|path| path.strip_prefix(parent));
        below
            .filter_map(|name| name.strip_prefix('/'))
            .map(str::to_owned)
            .collect()
    }
}
