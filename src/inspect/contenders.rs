//! The nodes of a place, read and put in order.

use super::place::{PlaceInfo, PlaceKind};
use super::reading::{ReadNode, Reader};
use crate::error::Error;
use crate::line::{Contender, Mode, ReadContender, contenders_of};
use crate::session::owning_session;
use crate::znode::{ChildName, Sequence, Tag};

/// Whose children stand in one line; of a place with doubts all that may.
const LOCKS: &[(Tag, Mode)] = &[
    (Tag::Lock, Mode::Exclusive),
    (Tag::KazooLock, Mode::Exclusive),
    (Tag::KazooReadLock, Mode::Shared),
    (Tag::Write, Mode::Exclusive),
    (Tag::Read, Mode::Shared),
    (Tag::Latch, Mode::Exclusive),
];

const LEASES: &[(Tag, Mode)] = &[(Tag::Lease, Mode::Shared)];

/// A path below `dir`, which may be the root.
pub(super) fn join(dir: &str, name: &str) -> String {
    match dir {
        "/" => format!("/{name}"),
        _ => format!("{dir}/{name}"),
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn parse<'a>(name: &'a str, known: &[(Tag, Mode)]) -> Option<(ChildName<'a>, Mode)> {
    let name = ChildName::parse(name, known.iter().map(|(tag, _)| *tag))?;
    let (_, mode) = known.iter().find(|(tag, _)| *tag == name.tag)?;
    Some((name, *mode))
}

/// The number in a child's name, whatever is in front of it.
pub(super) fn number(name: &str) -> Option<Sequence> {
    let split = |length| Sequence::parse(name.get(name.len().checked_sub(length)?..)?);
    split(11).or_else(|| split(10))
}

impl Reader {
    /// Reads the contenders at `place`, whose children have `names`.
    pub(super) async fn fill(&self, place: &mut PlaceInfo, names: &[String]) -> Result<(), Error> {
        match place.kind {
            PlaceKind::Lock | PlaceKind::ReadWriteLock | PlaceKind::Election | PlaceKind::Mixed => {
                place.contenders = self.line_of(&place.path, names, LOCKS).await?;
                if place.contenders.is_empty() {
                    place.contenders = self.unknown_line(&place.path, names).await?;
                }
            }
            PlaceKind::Line => place.contenders = self.unknown_line(&place.path, names).await?,
            PlaceKind::Relay => {
                let line = join(&place.path, "line");
                let names = self.children(&line).await?.unwrap_or_else(nothing).0;
                place.contenders = self.line_of(&line, &names, LOCKS).await?;
            }
            PlaceKind::Semaphore => self.fill_semaphore(place).await?,
            PlaceKind::Group | PlaceKind::DoubleBarrier => {
                place.contenders = self.members(&place.path, names).await?;
            }
            _ => {}
        }
        if place.kind == PlaceKind::Relay || place.kind == PlaceKind::Semaphore {
            place.count = place.contenders.len();
        }
        Ok(())
    }

    async fn line_of(&self, dir: &str, names: &[String], known: &[(Tag, Mode)]) -> Result<Vec<Contender>, Error> {
        let standing = names.iter().filter(|name| parse(name, known).is_some());
        let nodes = self.read_all(standing.map(|name| join(dir, name)).collect()).await?;
        let read = nodes.iter().filter_map(|node| {
            let (name, mode) = parse(name_of(&node.path), known)?;
            Some(ReadContender {
                name,
                mode,
                path: node.path.clone(),
                data: node.data.clone(),
                stat: node.stat,
            })
        });
        Ok(contenders_of(read.collect()))
    }

    /// Contenders of a kind that we do not know: by their numbers, and the first holds.
    async fn unknown_line(&self, dir: &str, names: &[String]) -> Result<Vec<Contender>, Error> {
        let standing = names.iter().filter(|name| number(name).is_some());
        let mut nodes = self.read_all(standing.map(|name| join(dir, name)).collect()).await?;
        let numbers = nodes.iter().filter_map(|node| number(name_of(&node.path)));
        if let Some(oldest) = Sequence::oldest(numbers) {
            let distance = |node: &ReadNode| {
                let number = number(name_of(&node.path));
                number.map(|number| number.distance_from(oldest).cast_unsigned())
            };
            nodes.sort_by_key(distance);
        }
        let contenders = nodes.into_iter().enumerate();
        let contender = |(position, node): (usize, ReadNode)| {
            Contender::new(node.path, &node.data, &node.stat, position, position == 0)
        };
        Ok(contenders.map(contender).collect())
    }

    /// All children, each of which is there by its own right.
    async fn members(&self, dir: &str, names: &[String]) -> Result<Vec<Contender>, Error> {
        let nodes = self
            .read_all(names.iter().map(|name| join(dir, name)).collect())
            .await?;
        let mut nodes: Vec<_> = nodes
            .into_iter()
            .filter(|node| owning_session(&node.stat) != 0)
            .collect();
        nodes.sort_by_key(|node| node.stat.czxid);
        let members = nodes.into_iter().enumerate();
        Ok(members
            .map(|(position, node)| {
                let mut member = Contender::new(node.path, &node.data, &node.stat, position, true);
                member.mode = Mode::Shared;
                member
            })
            .collect())
    }

    /// The permits that are out, then the line.
    async fn fill_semaphore(&self, place: &mut PlaceInfo) -> Result<(), Error> {
        let (leases_dir, locks_dir) = (join(&place.path, "leases"), join(&place.path, "locks"));
        let leases = self.children(&leases_dir).await?.unwrap_or_else(nothing).0;
        let locks = self.children(&locks_dir).await?.unwrap_or_else(nothing).0;
        let mut holders = self.line_of(&leases_dir, &leases, LEASES).await?;
        let mut waiters = self.line_of(&locks_dir, &locks, LOCKS).await?;
        if let Some(head) = waiters.first() {
            // Curator's waiter makes its lease before it may have it, and keeps its place in line until then.
            let waits = |lease: &Contender| lease.session_id == head.session_id && lease.token > head.token;
            holders
                .iter_mut()
                .filter(|lease| waits(lease))
                .for_each(|lease| lease.is_holder = false);
        }
        waiters.iter_mut().for_each(|waiter| waiter.is_holder = false);
        holders.append(&mut waiters);
        for (position, contender) in holders.iter_mut().enumerate() {
            contender.position = position;
        }
        place.contenders = holders;
        Ok(())
    }
}

/// What is not there has no children.
pub(super) fn nothing() -> super::reading::ListedChildren {
    let stat = zookeeper_client::Stat {
        czxid: 0,
        mzxid: 0,
        pzxid: 0,
        ctime: 0,
        mtime: 0,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: 0,
        data_length: 0,
        num_children: 0,
    };
    (Vec::new(), stat)
}
