//! Histories of holds, and whether they kept the promises: exclusion, growing tokens, fair order.
//!
//! This is about *belief*: what the guards said, on the one clock of the machine that ran all contenders. Record a grant
//! after `acquire` has returned, and its end before the release begins or at the moment the guard says lost; then an
//! overlap in the history is one of the guards, never of the recording. What the server saw comes from
//! [`ServerTruth`](crate::ServerTruth).

mod check;
pub mod linear;
pub mod things;

pub use check::{Summary, Violation};

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock;

/// Records holds from any number of tasks and threads. Clones record into the same history.
#[derive(Debug, Clone)]
pub struct History {
    started: Instant,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    grants: Vec<Grant>,
    deletions: Vec<Deletion>,
}

/// One hold, from the moment it was believed in until it was no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What is held.
    pub path: String,
    /// The name of the holder, for the reader.
    pub who: String,
    /// With whom it may be shared.
    pub mode: Mode,
    /// The fencing token: the czxid of the holder's node.
    pub token: i64,
    /// Since the history's start.
    pub granted_at: Duration,
    /// Since the history's start; `None` is a hold that never ended.
    pub ended_at: Option<Duration>,
}

/// With whom a hold may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// With no other.
    Exclusive,
    /// With other shared holds: a reader.
    Shared,
    /// With others, as long as together they have no more than `limit`.
    Permits {
        /// How many this hold has.
        taken: u32,
        /// How many there are.
        limit: u32,
    },
}

impl Mode {
    /// Whether two holds of these modes exclude one another.
    pub fn conflicts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Shared, Self::Shared) => false,
            (
                Self::Permits { taken, limit },
                Self::Permits {
                    taken: other,
                    limit: other_limit,
                },
            ) => taken.saturating_add(other) > limit.min(other_limit),
            _ => true,
        }
    }
}

/// The server has removed the node of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) czxid: i64,
    pub(crate) seen_at: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            records: Arc::default(),
        }
    }
}

impl History {
    /// An empty history, which starts now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a hold from now on. It ends with [`Held::end`], or when the record is dropped.
    pub fn record_grant(&self, path: &str, who: impl fmt::Display, mode: Mode, token: i64) -> Held {
        let granted_at = self.started.elapsed();
        let grant = Grant {
            path: path.to_owned(),
            who: who.to_string(),
            mode,
            token,
            granted_at,
            ended_at: None,
        };
        let mut records = lock(&self.records);
        records.grants.push(grant);
        Held {
            history: self.clone(),
            index: records.grants.len() - 1,
        }
    }

    /// Records a hold that was observed elsewhere, such as in another process.
    pub fn record(&self, grant: Grant) {
        lock(&self.records).grants.push(grant);
    }

    /// The moment from which the times of grants count.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// All holds recorded so far, in the order of recording.
    pub fn grants(&self) -> Vec<Grant> {
        lock(&self.records).grants.clone()
    }

    /// Whether all promises were kept: holds that exclude one another are disjoint and their tokens grow in the order of
    /// the grants, which is the fair order; permits stay within their limit; no token comes twice; no hold is believed in
    /// after the server has removed its node. Otherwise, every break with the parties to it.
    pub fn check(&self) -> Result<Summary, Vec<Violation>> {
        let records = lock(&self.records);
        check::check(&records.grants, &records.deletions)
    }

    /// [`check`](Self::check), and a panic with all violations if there are any.
    #[track_caller]
    pub fn assert_sound(&self) -> Summary {
        self.check().unwrap_or_else(|violations| {
            let lines: Vec<String> = violations.iter().map(|violation| format!("  {violation}")).collect();
            panic!("{} violations:\n{}", violations.len(), lines.join("\n"))
        })
    }

    pub(crate) fn record_deletion(&self, czxid: i64, seen: Instant) {
        let seen_at = seen.saturating_duration_since(self.started);
        lock(&self.records).deletions.push(Deletion { czxid, seen_at });
    }
}

/// A hold that is believed in now.
#[derive(Debug)]
#[must_use = "the hold ends in the history when this is dropped"]
pub struct Held {
    history: History,
    index: usize,
}

impl Held {
    /// The hold is believed in no more. Say so before the release begins.
    pub fn end(self) {}

    /// The hold was believed in no more at `moment`, which is known only now.
    pub fn end_at(self, moment: Instant) {
        self.set_end(moment);
    }

    fn set_end(&self, moment: Instant) {
        let ended_at = moment.saturating_duration_since(self.history.started);
        lock(&self.history.records).grants[self.index]
            .ended_at
            .get_or_insert(ended_at);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set_end(Instant::now());
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            who,
            mode,
            token,
            granted_at,
            ..
        } = self;
        write!(
            f,
            "{who} held {path} ({mode:?}, token {token}) from {:.6} s",
            granted_at.as_secs_f64()
        )?;
        match self.ended_at {
            Some(ended_at) => write!(f, " to {:.6} s", ended_at.as_secs_f64()),
            None => write!(f, " on"),
        }
    }
}
