//! Checks of what sessions have in many places: pure.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::graph::WaitGraph;
use super::super::place::{PlaceInfo, PlaceKind};
use super::findings::{Check, Finding, Severity};
use crate::line::Contender;

/// How many bytes of watched paths a client restores after a reconnect, and from how many on is warned.
const WATCHED: (usize, usize) = (98_304, 131_072);

/// From so many empty directories on they are told.
const EMPTY: usize = 1_000;

/// A wait behind oneself is told with more weight from this age on.
const LONG_SELF_WAIT: Duration = Duration::from_secs(300);

/// The clock of the ensemble is told from this difference on.
const CLOCK: Duration = Duration::from_secs(1);

/// What is summed up over a whole tree.
#[derive(Debug, Default)]
pub(super) struct SessionSums {
    /// The bytes of paths that each session owns or watches.
    watched: HashMap<i64, usize>,
    /// A contender of each.
    owners: HashMap<i64, Contender>,
    empty: usize,
    newest: i64,
}

impl SessionSums {
    pub(super) fn add(&mut self, place: &PlaceInfo) {
        let is_line = place.kind.is_line();
        let mut ahead = 0;
        for contender in &place.contenders {
            let own = contender.path.len();
            let watches = if is_line && !contender.is_holder { ahead } else { 0 };
            *self.watched.entry(contender.session_id).or_default() += own + watches;
            // A persistent node has no session that could be gone.
            if contender.session_id != 0 {
                self.owners
                    .entry(contender.session_id)
                    .or_insert_with(|| contender.clone());
            }
            ahead = own;
        }
        let is_empty = place.kind == PlaceKind::Node && place.count == 0 && place.stat.data_length == 0;
        self.empty += usize::from(is_empty);
        self.newest = self.newest.max(place.stat.ctime).max(place.stat.mtime);
    }

    pub(super) fn into_owners(self) -> HashMap<i64, Contender> {
        self.owners
    }

    pub(super) fn sessions(&self) -> usize {
        self.watched.len()
    }

    pub(super) fn check(&self, tree: &str, now: SystemTime, findings: &mut Vec<Finding>) {
        for (session, bytes) in self.watched.iter().filter(|(_, bytes)| **bytes > WATCHED.0) {
            let message = format!(
                "the session {session:#x} owns or watches paths of {bytes} bytes; a client that restores more than {} may \
                 lose it at a reconnect",
                WATCHED.1
            );
            let remedy = "spread its places over more sessions";
            findings.push(Finding::new(Check::WatchBytes, Severity::Warn, tree, message, remedy));
        }
        if self.empty >= EMPTY {
            let message = format!("{} nodes without children and data", self.empty);
            let remedy =
                "directories of locks stay where servers have no containers, and behind kazoo: remove them by hand";
            findings.push(Finding::new(
                Check::EmptyDirectories,
                Severity::Info,
                tree,
                message,
                remedy,
            ));
        }
        let newest = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.newest).unwrap_or_default());
        if let Ok(ahead) = newest.duration_since(now)
            && ahead > CLOCK
        {
            let message = format!(
                "the ensemble's clock is at least {:.1} s ahead of ours",
                ahead.as_secs_f64()
            );
            findings.push(Finding::new(
                Check::Clock,
                Severity::Warn,
                tree,
                message,
                "ages are off by that; set the clocks",
            ));
        }
    }
}

/// Processes that wait behind themselves.
pub(super) fn check_self_waits(graph: &WaitGraph, now: SystemTime, findings: &mut Vec<Finding>) {
    for wait in graph.self_waits() {
        let age = now.duration_since(wait.waiter.since).unwrap_or_default();
        let severity = if age > LONG_SELF_WAIT {
            Severity::Warn
        } else {
            Severity::Info
        };
        let message = format!("a process has waited behind itself for {} s", age.as_secs());
        let remedy =
            "two tasks of it take turns, which is no fault; or it waits for ever, since locks are not reentrant";
        findings.push(Finding::new(Check::SelfWait, severity, &wait.path, message, remedy).about(&wait.waiter));
    }
}
