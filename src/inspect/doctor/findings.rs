//! What a doctor tells.

use std::fmt;
use std::time::SystemTime;

use super::super::cycles::{Confidence, Cycle};
use super::super::graph::WaitGraph;
use crate::line::Contender;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Processes that wait in a circle.
    DeadLock,
    /// A process that waits behind itself.
    SelfWait,
    /// A session without a connection. It needs an AdminServer.
    Ghost,
    /// Names on one path that do not see each other.
    MixedLayouts,
    /// A child that Curator takes for the first in line.
    BlocksJava,
    /// Sequence numbers that come near 2147483647.
    Sequence,
    /// A line that Java's client soon cannot list.
    LineSize,
    /// A session whose watches soon do not fit into one request.
    WatchBytes,
    /// A hold that is old.
    LongHold,
    /// A wait that is old.
    LongWait,
    /// More permits out than there are.
    Semaphore,
    /// An election that changes hands too often.
    Flapping,
    /// A work queue that is paused, has dead letters, or is late.
    Queue,
    /// The ensemble's clock is ahead of ours.
    Clock,
    /// Session timeouts. It needs an AdminServer.
    Timeouts,
    /// A directory that may not be listed.
    Rights,
    /// Many empty directories.
    EmptyDirectories,
}

impl Check {
    /// All checks.
    pub const ALL: [Self; 17] = [
        Self::DeadLock,
        Self::SelfWait,
        Self::Ghost,
        Self::MixedLayouts,
        Self::BlocksJava,
        Self::Sequence,
        Self::LineSize,
        Self::WatchBytes,
        Self::LongHold,
        Self::LongWait,
        Self::Semaphore,
        Self::Flapping,
        Self::Queue,
        Self::Clock,
        Self::Timeouts,
        Self::Rights,
        Self::EmptyDirectories,
    ];
}

/// Its name on the command line: `deadlock`, `self-wait` and so on.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DeadLock => "deadlock",
            Self::SelfWait => "self-wait",
            Self::Ghost => "ghost",
            Self::MixedLayouts => "mixed-layouts",
            Self::BlocksJava => "blocks-java",
            Self::Sequence => "sequence",
            Self::LineSize => "line-size",
            Self::WatchBytes => "watch-bytes",
            Self::LongHold => "long-hold",
            Self::LongWait => "long-wait",
            Self::Semaphore => "semaphore",
            Self::Flapping => "flapping",
            Self::Queue => "queue",
            Self::Clock => "clock",
            Self::Timeouts => "timeouts",
            Self::Rights => "acl",
            Self::EmptyDirectories => "empty-dirs",
        })
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Info,
    /// It will hurt.
    Warn,
    /// It hurts.
    Error,
}

/// `info`, `warn` or `error`.
impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        })
    }
}

/// Something that is wrong, or may be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// How bad it is.
    pub severity: Severity,
    /// The path of the place.
    pub path: String,
    /// What it is.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Since when, by the ensemble's clock, where that is known.
    pub since: Option<SystemTime>,
    /// How sure a circle is to be a dead-lock.
    pub confidence: Option<Confidence>,
    /// The circle.
    pub cycle: Option<Cycle>,
    /// Whom it is about.
    pub contenders: Vec<Contender>,
}

impl Finding {
    pub(super) fn new(check: Check, severity: Severity, path: &str, message: impl Into<String>, remedy: &str) -> Self {
        Self {
            check,
            severity,
            path: path.to_owned(),
            message: message.into(),
            remedy: remedy.to_owned(),
            since: None,
            confidence: None,
            cycle: None,
            contenders: Vec::new(),
        }
    }

    pub(super) fn about(mut self, contender: &Contender) -> Self {
        self.since = Some(contender.since);
        self.contenders.push(contender.clone());
        self
    }
}

/// A check that was not made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SkippedCheck {
    /// Which one.
    pub check: Check,
    /// Why.
    pub because: &'static str,
}

/// What a doctor found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What was not looked at.
    pub skipped: Vec<SkippedCheck>,
    /// How many places were recognised.
    pub places: usize,
    /// How many sessions have a contender there.
    pub sessions: usize,
    /// How many requests it cost, but for those of work queues.
    pub requests: u64,
    /// The waits between processes.
    pub graph: WaitGraph,
}

impl Diagnosis {
    /// Returns the worst severity; `None` if nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}
