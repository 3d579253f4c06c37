//! Properties of the tree under random writes.

use rand::prelude::*;

use super::*;
use crate::wire::{Acl, CreateKind, ErrorCode, Id, Stat, WriteOp};

const SESSIONS: [i64; 3] = [1, 2, 3];

/// A tree, the transactions that led to it and what they reported.
struct Run {
    random: StdRng,
    tree: Tree,
    log: Vec<(TxnHeader, Txn)>,
    changes: Vec<Change>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            tree: Tree::new(),
            log: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn path(&mut self) -> String {
        let depth = self.random.random_range(1..4);
        (0..depth)
            .map(|_| format!("/{}", self.random.random_range(b'a'..b'd') as char))
            .collect()
    }

    fn op(&mut self) -> WriteOp {
        let (path, version) = (self.path(), *[-1, -1, 0, 1].choose(&mut self.random).unwrap());
        match self.random.random_range(0..6) {
            0..3 => {
                let kind = if self.random.random_bool(0.2) {
                    CreateKind::Container
                } else {
                    CreateKind::Create
                };
                let acl = vec![Acl {
                    perms: 31,
                    id: Id::new("world", "anyone"),
                }];
                let flags = self.random.random_range(0..4);
                WriteOp::Create {
                    kind,
                    path,
                    data: None,
                    acl,
                    flags,
                }
            }
            3 => WriteOp::Delete { path, version },
            4 => WriteOp::SetData {
                path,
                data: None,
                version,
            },
            _ => WriteOp::Check { path, version },
        }
    }

    fn write(&mut self) -> Result<(), ErrorCode> {
        let author = Author {
            session: *SESSIONS.choose(&mut self.random).unwrap(),
            ids: &[],
        };
        let ops: Vec<WriteOp> = (0..self.random.random_range(1..4)).map(|_| self.op()).collect();
        let mut overlay = Overlay::new(&self.tree);
        let txns: Result<Vec<Txn>, ErrorCode> = ops.iter().map(|op| overlay.prepare(op, author)).collect();
        self.commit(Txn::Multi(txns?));
        Ok(())
    }

    fn commit(&mut self, txn: Txn) {
        let header = TxnHeader {
            zxid: self.tree.last_zxid() + 1,
            time: self.log.len() as i64,
        };
        self.tree.apply(header, &txn, &mut self.changes);
        self.log.push((header, txn));
    }
}

fn stats(tree: &Tree) -> BTreeMap<String, Stat> {
    tree.nodes
        .iter()
        .map(|(path, node)| (path.to_string(), node.stat()))
        .collect()
}

fn check_invariants(tree: &Tree) {
    for (path, node) in &tree.nodes {
        let below = tree
            .nodes
            .keys()
            .filter(|key| path::split(key).is_some_and(|(p, name)| path::normal(p) == &**path && !name.is_empty()));
        assert_eq!(below.count(), node.children.len(), "{path}");
        for name in node.children.iter() {
            let child = if &**path == path::ROOT {
                format!("/{name}")
            } else {
                format!("{path}/{name}")
            };
            assert!(tree.get(&child).is_some(), "{child}");
        }
        assert!(node.czxid <= node.mzxid && node.pzxid <= tree.last_zxid());
        match node.owner {
            Owner::Session(session) => {
                assert!(node.children.is_empty());
                assert!(tree.ephemerals_of(session).any(|own| own == &**path));
            }
            Owner::Container => assert!(tree.reapable.contains(path)),
            Owner::None | Owner::Ttl(_) => {}
        }
    }
    for (_, paths) in tree.ephemerals() {
        assert!(!paths.is_empty() && paths.iter().all(|path| tree.get(path).is_some()));
    }
}

#[test]
fn the_tree_is_consistent_after_every_write_and_a_failed_one_changes_nothing() {
    let (mut done, mut failed) = (0, 0);
    for seed in 0..20 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            let before = stats(&run.tree);
            match run.write() {
                Ok(()) => done += 1,
                Err(_) => {
                    assert_eq!(stats(&run.tree), before);
                    failed += 1;
                }
            }
            check_invariants(&run.tree);
        }
        for session in SESSIONS {
            run.commit(Txn::CloseSession(session));
            check_invariants(&run.tree);
        }
        assert_eq!(run.tree.ephemerals().len(), 0);
    }
    assert!(done > 300 && failed > 300, "{done} {failed}");
}

#[test]
fn a_replica_that_applies_the_same_transactions_ends_up_the_same() {
    for seed in 0..20 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            let _ = run.write();
        }
        run.commit(Txn::CloseSession(SESSIONS[0]));
        let mut replica = Tree::new();
        let mut changes = Vec::new();
        for (header, txn) in &run.log {
            replica.apply(*header, txn, &mut changes);
        }
        assert_eq!(stats(&replica), stats(&run.tree));
        assert_eq!(changes, run.changes);
    }
}
