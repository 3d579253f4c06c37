//! From a request to a transaction: every check a write has to pass, in ZooKeeper's order.

use std::collections::HashMap;

use super::node::Owner;
use super::path;
use super::{Tree, Txn};
use crate::acl::{self, AclList};
use crate::wire::{Acl, CreateKind, ErrorCode, Id, WriteOp};

/// The longest time to live, in milliseconds.
const MAX_TTL: i64 = 0xff_ffff_ffff;

/// The requester of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author<'a> {
    pub(crate) session: i64,
    pub(crate) ids: &'a [Id],
}

/// The tree as it would be after the operations prepared so far, none of which is applied yet.
///
/// A multi is all or nothing because only the last step, once every operation is prepared, touches the tree.
#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    tree: &'a Tree,
    pending: HashMap<String, Option<Record>>,
}

/// What the checks need to know of a node.
#[derive(Clone, Debug)]
struct Record {
    version: i32,
    aversion: i32,
    creations: i32,
    children: usize,
    owner: Owner,
    acl: AclList,
}

/// The `flags` of a create.
#[derive(Clone, Copy, Debug)]
struct Mode {
    ephemeral: bool,
    sequential: bool,
    ttl: bool,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            pending: HashMap::new(),
        }
    }

    /// Checks one operation on top of those before it.
    pub(crate) fn prepare(&mut self, op: &WriteOp, author: Author<'_>) -> Result<Txn, ErrorCode> {
        match op {
            WriteOp::Create {
                kind,
                path,
                data,
                acl,
                flags,
            } => {
                let (path, acl, owner, creations) = self.prepare_create(*kind, path, acl, *flags, author)?;
                let with_stat = *kind != CreateKind::Create;
                Ok(Txn::Create {
                    path,
                    data: data.clone(),
                    acl,
                    owner,
                    creations,
                    with_stat,
                })
            }
            WriteOp::Delete { path, version } => {
                self.prepare_delete(path, *version, author)?;
                Ok(Txn::Delete { path: path.clone() })
            }
            WriteOp::SetData { path, data, version } => {
                let version = self.prepare_set_data(path, *version, author)?;
                let (path, data) = (path.clone(), data.clone());
                Ok(Txn::SetData { path, data, version })
            }
            WriteOp::SetAcl { path, acl, version } => {
                let (acl, version) = self.prepare_set_acl(path, acl, *version, author)?;
                let path = path.clone();
                Ok(Txn::SetAcl { path, acl, version })
            }
            WriteOp::Check { path, version } => {
                let record = self.valid_record(path)?;
                acl::check(&record.acl, acl::READ, author.ids)?;
                next_version(record.version, *version)?;
                Ok(Txn::Check)
            }
        }
    }

    fn prepare_delete(&mut self, path: &str, version: i32, author: Author<'_>) -> Result<(), ErrorCode> {
        let (parent, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') || path::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        let mut parent_record = self.record(parent)?;
        acl::check(&parent_record.acl, acl::DELETE, author.ids)?;
        let record = self.record(path)?;
        next_version(record.version, version)?;
        if record.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        parent_record.children = parent_record.children.saturating_sub(1);
        self.pending
            .insert(path::normal(parent).to_owned(), Some(parent_record));
        self.pending.insert(path.to_owned(), None);
        Ok(())
    }

    /// The version that the data has then.
    fn prepare_set_data(&mut self, path: &str, version: i32, author: Author<'_>) -> Result<i32, ErrorCode> {
        let mut record = self.valid_record(path)?;
        acl::check(&record.acl, acl::WRITE, author.ids)?;
        let version = next_version(record.version, version)?;
        record.version = version;
        self.pending.insert(path.to_owned(), Some(record));
        Ok(version)
    }

    /// The list and the version that it has then.
    fn prepare_set_acl(
        &mut self,
        path: &str,
        acl: &[Acl],
        version: i32,
        author: Author<'_>,
    ) -> Result<(AclList, i32), ErrorCode> {
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let acl = acl::fix_up(acl, author.ids)?;
        let mut record = self.record(path)?;
        acl::check(&record.acl, acl::ADMIN, author.ids)?;
        let version = next_version(record.aversion, version)?;
        record.aversion = version;
        self.pending.insert(path.to_owned(), Some(record));
        Ok((acl, version))
    }

    fn prepare_create(
        &mut self,
        kind: CreateKind,
        path: &str,
        acl: &[Acl],
        flags: i32,
        author: Author<'_>,
    ) -> Result<(String, AclList, Owner, i32), ErrorCode> {
        if kind == CreateKind::TtlWithoutTime {
            return Err(ErrorCode::MarshallingError);
        }
        let mode = Mode::from_flags(flags).ok_or(ErrorCode::BadArguments)?;
        let owner = mode.owner(kind, author.session).ok_or(ErrorCode::BadArguments)?;
        let (parent, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let acl = acl::fix_up(acl, author.ids)?;
        let mut parent_record = self.record(parent)?;
        acl::check(&parent_record.acl, acl::CREATE, author.ids)?;
        let path = if mode.sequential {
            format!("{path}{:010}", parent_record.creations)
        } else {
            path.to_owned()
        };
        if !path::is_valid(&path) {
            return Err(ErrorCode::BadArguments);
        }
        if self.record(&path).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if let Owner::Session(_) = parent_record.owner {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let creations = parent_record.creations.wrapping_add(1);
        parent_record.creations = creations;
        parent_record.children += 1;
        let record = Record {
            version: 0,
            aversion: 0,
            creations: 0,
            children: 0,
            owner,
            acl: acl.clone(),
        };
        self.pending
            .insert(path::normal(parent).to_owned(), Some(parent_record));
        self.pending.insert(path.clone(), Some(record));
        Ok((path, acl, owner, creations))
    }

    fn valid_record(&self, path: &str) -> Result<Record, ErrorCode> {
        if path::is_valid(path) {
            self.record(path)
        } else {
            Err(ErrorCode::BadArguments)
        }
    }

    fn record(&self, path: &str) -> Result<Record, ErrorCode> {
        let path = path::normal(path);
        if let Some(pending) = self.pending.get(path) {
            return pending.clone().ok_or(ErrorCode::NoNode);
        }
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        Ok(Record {
            version: node.version,
            aversion: node.aversion,
            creations: node.creations,
            children: node.children.len(),
            owner: node.owner,
            acl: node.acl.clone(),
        })
    }
}

impl Mode {
    fn from_flags(flags: i32) -> Option<Self> {
        let mode = |ephemeral, sequential, ttl| {
            Some(Self {
                ephemeral,
                sequential,
                ttl,
            })
        };
        match flags {
            0 | 4 => mode(false, false, false),
            1 => mode(true, false, false),
            2 => mode(false, true, false),
            3 => mode(true, true, false),
            5 => mode(false, false, true),
            6 => mode(false, true, true),
            _ => None,
        }
    }

    /// What the node goes away with; the kind of request decides, the flags have to agree on a time to live.
    fn owner(self, kind: CreateKind, session: i64) -> Option<Owner> {
        match kind {
            CreateKind::Ttl(ttl) if self.ttl && (1..=MAX_TTL).contains(&ttl) => Some(Owner::Ttl(ttl)),
            CreateKind::Ttl(_) | CreateKind::TtlWithoutTime => None,
            _ if self.ttl => None,
            CreateKind::Container => Some(Owner::Container),
            CreateKind::Create | CreateKind::Create2 if self.ephemeral => Some(Owner::Session(session)),
            CreateKind::Create | CreateKind::Create2 => Some(Owner::None),
        }
    }
}

fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current {
        Err(ErrorCode::BadVersion)
    } else {
        Ok(current.wrapping_add(1))
    }
}
