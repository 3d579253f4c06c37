//! [`WaitGraph`]: which process waits for which.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::place::{PlaceInfo, PlaceKind};
use crate::line::{Contender, Mode};
use crate::session::GuidPrefix;

/// A contender behind waiters has edges to so many holders; the waiter ahead of it has edges to all.
const HOLDERS: usize = 8;

/// Which process waits for which, and the places where they meet.
///
/// A process is a session, or, of this crate, all sessions of one coordinator. It may serve several tasks, and the
/// graph cannot tell them apart.
#[derive(Clone, Debug, Default)]
pub struct WaitGraph {
    processes: Vec<WaitingProcess>,
    by_key: HashMap<ProcessKey, usize>,
    pub(super) waits: Vec<Wait>,
}

/// One process in a [`WaitGraph`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitingProcess {
    /// Its sessions.
    pub sessions: BTreeSet<i64>,
    /// What one of its contenders says of itself.
    pub identity: bytes::Bytes,
}

/// One contender waits for another one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wait {
    /// The process that waits: its index in [`WaitGraph::processes`].
    pub from: usize,
    /// The process that it waits for. The same one, if a process waits for itself.
    pub to: usize,
    /// The path of the place.
    pub path: String,
    /// The contender that waits.
    pub waiter: Arc<Contender>,
    /// The contender that it waits for: a holder, or a waiter ahead of it.
    pub blocker: Arc<Contender>,
    /// The release of any one such blocker may be enough, as of a semaphore's permits.
    pub any: bool,
}

impl Wait {
    /// Whether it waits for a holder. Else it waits for a waiter ahead of it.
    pub fn is_hard(&self) -> bool {
        self.blocker.is_holder
    }
}

/// What tells one process from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ProcessKey {
    Coordinator(GuidPrefix),
    Session(i64),
}

impl ProcessKey {
    fn of(contender: &Contender) -> Self {
        GuidPrefix::of(&contender.path).map_or(Self::Session(contender.session_id), Self::Coordinator)
    }
}

impl WaitingProcess {
    /// Returns its identity as one line of text, or its session.
    pub fn label(&self) -> String {
        let identity = std::str::from_utf8(&self.identity).unwrap_or_default();
        let session = self.sessions.first().copied().unwrap_or_default();
        match identity {
            "" | "__REVOKE__" => format!("{session:#x}"),
            identity => identity.chars().flat_map(char::escape_debug).take(64).collect(),
        }
    }
}

impl WaitGraph {
    /// The graph of these places.
    pub fn of<'a>(places: impl IntoIterator<Item = &'a PlaceInfo>) -> Self {
        let mut graph = Self::default();
        places.into_iter().for_each(|place| graph.add(place));
        graph
    }

    /// Returns the processes, in no particular order.
    pub fn processes(&self) -> &[WaitingProcess] {
        &self.processes
    }

    /// Returns the waits. In a long line not all are there, but what can be reached from a process is as if they were.
    pub fn waits(&self) -> &[Wait] {
        &self.waits
    }

    /// Returns contenders that wait behind their own process with no other in between: two tasks of one process, or one
    /// that waits for itself for ever, since locks are not reentrant.
    pub fn self_waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.iter().filter(|wait| wait.from == wait.to && wait.is_hard())
    }

    /// Adds the waits at `place`.
    pub fn add(&mut self, place: &PlaceInfo) {
        if place.waiters().next().is_none() {
            return;
        }
        match place.kind {
            PlaceKind::Semaphore => self.add_semaphore(place),
            kind if kind.is_line() => self.add_line(place),
            _ => {}
        }
    }

    fn add_line(&mut self, place: &PlaceInfo) {
        let contenders: Vec<_> = place.contenders.iter().cloned().map(Arc::new).collect();
        let holders: Vec<_> = contenders.iter().filter(|one| one.is_holder).cloned().collect();
        let (mut last, mut last_exclusive) = (None, None);
        for one in &contenders {
            let conflicts = |other: &Contender| one.mode == Mode::Exclusive || other.mode == Mode::Exclusive;
            let nearest: Option<&Arc<Contender>> = match one.mode {
                Mode::Exclusive => last,
                Mode::Shared => last_exclusive,
            };
            if let (false, Some(nearest)) = (one.is_holder, nearest) {
                let limit = if nearest.is_holder { usize::MAX } else { HOLDERS };
                let blockers = holders.iter().filter(|holder| conflicts(holder)).take(limit);
                for blocker in blockers {
                    self.wait(&place.path, one, blocker, false);
                }
                if !nearest.is_holder {
                    self.wait(&place.path, one, nearest, false);
                }
            }
            last = Some(one);
            if one.mode == Mode::Exclusive {
                last_exclusive = Some(one);
            }
        }
    }

    /// The first in line waits for any of the holders, the others for the one ahead of them.
    fn add_semaphore(&mut self, place: &PlaceInfo) {
        let holders: Vec<_> = place.holders().cloned().map(Arc::new).collect();
        let is_lease = |one: &Contender| one.path.contains("/leases/");
        let line = place.waiters().filter(|one| !is_lease(one)).cloned().map(Arc::new);
        let mut last: Option<Arc<Contender>> = None;
        for one in line {
            match &last {
                None => holders
                    .iter()
                    .for_each(|holder| self.wait(&place.path, &one, holder, true)),
                Some(ahead) => self.wait(&place.path, &one, ahead, false),
            }
            last = Some(one);
        }
    }

    fn wait(&mut self, path: &str, waiter: &Arc<Contender>, blocker: &Arc<Contender>, any: bool) {
        let (from, to) = (self.process(waiter), self.process(blocker));
        self.waits.push(Wait {
            from,
            to,
            path: path.to_owned(),
            waiter: Arc::clone(waiter),
            blocker: Arc::clone(blocker),
            any,
        });
    }

    fn process(&mut self, contender: &Contender) -> usize {
        let Self { processes, by_key, .. } = self;
        let index = *by_key.entry(ProcessKey::of(contender)).or_insert_with(|| {
            processes.push(WaitingProcess {
                sessions: BTreeSet::new(),
                identity: contender.identity.clone(),
            });
            processes.len() - 1
        });
        processes[index].sessions.insert(contender.session_id);
        index
    }
}
