//! What a doctor tells.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

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
    pub because: Cow<'static, str>,
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
    /// A contender of each session.
    pub(super) owners: HashMap<i64, Contender>,
}

impl Diagnosis {
    /// Makes the check [`Check::Timeouts`]: tells what the lease margin allows with a server's `tickTime` and `syncLimit`.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(mut diagnosis: zookeeper_recipes::inspect::doctor::Diagnosis) {
    /// let (timeout, margin) = (Duration::from_secs(10), Duration::from_millis(2_600));
    /// diagnosis.tell_timeouts(timeout, margin, Duration::from_secs(2), Some(5));
    /// # }
    /// ```
    pub fn tell_timeouts(&mut self, timeout: Duration, margin: Duration, tick: Duration, sync_limit: Option<u32>) {
        if !self.was_skipped(Check::Timeouts) {
            return;
        }
        // What is left of a lease just before a heartbeat proves it again.
        let survives = (timeout * 54 / 100).saturating_sub(margin);
        let needed = tick / 2 + timeout / 100;
        let mut tell = |severity, message: String, remedy: &str| {
            self.findings
                .push(Finding::new(Check::Timeouts, severity, "/", message, remedy));
        };
        let [timeout_ms, margin_ms, tick_ms, needed_ms] = [timeout, margin, tick, needed].map(|time| time.as_millis());
        let facts = format!(
            "session {timeout_ms} ms, tick {tick_ms} ms, lease margin {margin_ms} ms, of which {needed_ms} ms are needed"
        );
        match margin < needed {
            true => tell(
                Severity::Warn,
                format!("{facts}: two may hold for a moment"),
                "raise the lease margin to what is needed",
            ),
            false => tell(
                Severity::Info,
                format!("{facts}; a hold outlives a cut of {} ms", survives.as_millis()),
                "a smaller lease margin lets holds outlive longer cuts",
            ),
        }
        let alone = tick * sync_limit.unwrap_or(0);
        if alone > timeout {
            let message = format!(
                "a follower without its leader goes on for {} ms, longer than the session",
                alone.as_millis()
            );
            let remedy = "clients without a lease, such as Curator and kazoo, may hold beside the next holder so long; lower \
                          syncLimit, or fence";
            tell(Severity::Info, message, remedy);
        }
        self.sort();
    }

    /// Takes a check off the list of those that were not made.
    pub(super) fn was_skipped(&mut self, check: Check) -> bool {
        let before = self.skipped.len();
        self.skipped.retain(|skipped| skipped.check != check);
        self.skipped.len() < before
    }

    /// Says why a check was not made, if it was to be made.
    pub fn skip(&mut self, check: Check, because: impl Into<Cow<'static, str>>) {
        if self.was_skipped(check) {
            let because = because.into();
            self.skipped.push(SkippedCheck { check, because });
        }
    }

    /// The worst first.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|one, other| {
            let key = |finding: &Finding| (std::cmp::Reverse(finding.severity), finding.check);
            key(one).cmp(&key(other)).then_with(|| one.path.cmp(&other.path))
        });
    }

    /// Returns the worst severity; `None` if nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}
