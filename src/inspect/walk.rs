//! A tree, directory by directory.

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::contenders::{join, number};
use super::place::{Detail, PlaceInfo, PlaceKind};
use super::reading::{ListedChildren, Reader};
use super::recognise::{Recognised, Shape, permits, recognise};
use crate::error::Error;
use crate::session::owning_session;
use crate::znode::Sequence;

/// More data than any recipe puts beside its children is not read.
const DATA_LIMIT: i32 = 4096;

/// A directory of more children that are not recognised is listed, but not entered.
const ENTERED: usize = 10_000;

/// How many names of children that do not fit are told.
const MISFITS: usize = 16;

/// Of so many children it is asked whether they are ephemeral.
const MEMBERS: usize = 1_000;

/// Which places are wanted, and what of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct WantedPlaces {
    pub(super) kind: fn(PlaceKind) -> bool,
    pub(super) detail: Detail,
}

impl Reader {
    /// Visits each place at and below `tree` that is wanted.
    pub(super) async fn walk(
        &self,
        tree: &str,
        wanted: WantedPlaces,
        mut visit: impl FnMut(PlaceInfo),
    ) -> Result<(), Error> {
        self.sync(tree).await?;
        let (mut paths, mut looks) = (vec![tree.to_owned()], FuturesUnordered::new());
        loop {
            while looks.len() < self.limit()
                && let Some(path) = paths.pop()
            {
                let reader = self.clone();
                looks.push(async move { reader.look(&path, wanted).await });
            }
            let Some(look) = looks.next().await else {
                return Ok(());
            };
            let Some((place, below)) = look? else { continue };
            paths.extend(below);
            if (wanted.kind)(place.kind) {
                visit(place);
            }
        }
    }

    /// What stands at `path`, and the paths below it that have to be looked at for themselves; `None` if nothing stands
    /// there for itself.
    pub(super) async fn look(
        &self,
        path: &str,
        wanted: WantedPlaces,
    ) -> Result<Option<(PlaceInfo, Vec<String>)>, Error> {
        match self.children(path).await {
            Ok(Some(listing)) => self.look_at(path, listing, wanted).await,
            Ok(None) => Ok(None),
            Err(Error::Denied { .. }) => Ok(Some((no_rights(path), Vec::new()))),
            Err(error) => Err(error),
        }
    }

    /// As [`look`](Self::look), at what was listed already.
    pub(super) async fn look_at(
        &self,
        path: &str,
        (names, stat): ListedChildren,
        wanted: WantedPlaces,
    ) -> Result<Option<(PlaceInfo, Vec<String>)>, Error> {
        if owning_session(&stat) != 0 {
            return Ok(None);
        }
        let data = match stat.data_length {
            1..=DATA_LIMIT => self.data(path).await?,
            _ => Vec::new(),
        };
        let mut recognised = recognise(&names, &data);
        if recognised.kind == PlaceKind::Node && self.are_ephemeral(path, &names).await? {
            recognised = Recognised {
                kind: PlaceKind::Group,
                certain: false,
                because: "all its children are ephemeral",
                ..recognised
            };
        }
        let below = match recognised.kind {
            PlaceKind::Node if names.len() <= ENTERED => below(path, &names),
            _ => Vec::new(),
        };
        let mut place = place(path, recognised, &data, (names, stat));
        if wanted.detail == Detail::Contenders && (wanted.kind)(place.0.kind) {
            self.fill(&mut place.0, &place.1).await?;
        }
        Ok(Some((place.0, below)))
    }

    async fn data(&self, path: &str) -> Result<Vec<u8>, Error> {
        match self.read(path).await {
            Ok(node) => Ok(node.map(|(data, _)| data).unwrap_or_default()),
            Err(Error::Denied { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether all children are ephemeral, and there are some. The first one is asked alone: mostly it is not.
    async fn are_ephemeral(&self, path: &str, names: &[String]) -> Result<bool, Error> {
        let Some((first, others)) = names.split_first() else {
            return Ok(false);
        };
        let is_member = |node: &super::reading::ReadNode| owning_session(&node.stat) != 0;
        let first = self.read_all(vec![join(path, first)]).await?;
        if names.len() > MEMBERS || !first.first().is_some_and(is_member) {
            return Ok(false);
        }
        let others = self
            .read_all(others.iter().map(|name| join(path, name)).collect())
            .await?;
        Ok(others.iter().all(is_member))
    }
}

fn below(path: &str, names: &[String]) -> Vec<String> {
    // The line beside a FIFO queue is a part of that.
    let is_part = |name: &str| {
        let queue = name.strip_suffix("-__fifo__");
        queue.is_some_and(|queue| names.iter().any(|other| other == queue))
    };
    let is_servers = |name: &str| path == "/" && name == "zookeeper";
    let entered = names.iter().filter(|name| !is_part(name) && !is_servers(name));
    entered.map(|name| join(path, name)).collect()
}

fn no_rights(path: &str) -> PlaceInfo {
    let recognised = Recognised {
        kind: PlaceKind::NoRights,
        certain: false,
        also: Vec::new(),
        because: "its ACL",
    };
    place(path, recognised, &[], super::contenders::nothing()).0
}

fn place(path: &str, recognised: Recognised, data: &[u8], (names, stat): ListedChildren) -> (PlaceInfo, Vec<String>) {
    let Recognised {
        kind,
        certain,
        also,
        because,
    } = recognised;
    let place = PlaceInfo {
        path: path.to_owned(),
        kind,
        certain,
        also,
        because,
        contenders: Vec::new(),
        count: names.len(),
        misfits: match kind {
            PlaceKind::Mixed => misfits(&names),
            _ => Vec::new(),
        },
        permits: match kind {
            PlaceKind::Semaphore => permits(data),
            _ => None,
        },
        next_sequence: next_sequence(&names, &stat),
        names_size: names.iter().map(|name| name.len() + 4).sum(),
        stat,
    };
    (place, names)
}

/// The rarer shapes among the children.
fn misfits(names: &[String]) -> Vec<String> {
    let same = |one: &Shape<'_>, other: &Shape<'_>| one == other;
    let shapes: Vec<_> = names.iter().map(|name| Shape::of(name)).take(ENTERED).collect();
    let count = |shape: &Shape<'_>| shapes.iter().take(64).filter(|other| same(shape, other)).count();
    let Some(usual) = shapes.iter().take(64).max_by_key(|shape| count(shape)) else {
        return Vec::new();
    };
    let unusual = names.iter().zip(&shapes).filter(|(_, shape)| !same(shape, usual));
    unusual.map(|(name, _)| name.clone()).take(MISFITS).collect()
}

/// The number that the next child gets: servers report as `cversion` twice their creates, less the children.
fn next_sequence(names: &[String], stat: &zookeeper_client::Stat) -> Option<i32> {
    let oldest = Sequence::oldest(names.iter().filter_map(|name| number(name)))?;
    let numbers = names.iter().filter_map(|name| number(name));
    let newest = numbers.max_by_key(|number| number.distance_from(oldest).cast_unsigned())?;
    let by_name = newest.next();
    let creates = (i64::from(stat.cversion) + i64::from(stat.num_children)) / 2;
    // Elsewhere the counter means something else.
    Some(
        i32::try_from(creates)
            .ok()
            .filter(|creates| *creates >= by_name)
            .unwrap_or(by_name),
    )
}

/// A place without anybody, for tests.
#[cfg(test)]
pub(super) fn empty_place(path: &str, kind: PlaceKind) -> PlaceInfo {
    let recognised = Recognised {
        kind,
        certain: true,
        also: Vec::new(),
        because: "a test",
    };
    place(path, recognised, &[], super::contenders::nothing()).0
}
