//! What is wrong in a tree: dead-lock candidates, layouts that do not see each other, limits that come near.
//!
//! * `findings` – what is told
//! * `ghosts` – sessions without a connection, which servers have to tell
//! * `places` – checks of one place, pure
//! * `sessions` – checks of what sessions have in many places, pure

mod findings;
mod ghosts;
mod places;
mod sessions;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use self::findings::{Check, Diagnosis, Finding, Severity, SkippedCheck};
use self::sessions::SessionSums;
use super::cycles::{Confidence, Cycle};
use super::place::{Detail, PlaceInfo, PlaceKind};
use super::{Inspector, WaitGraph};
use crate::error::Error;
use crate::recipes::queue::{QueueStats, WorkQueue};

/// Checks a tree for what is wrong with it. Looking never writes.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::inspect::Inspector;
/// use zookeeper_recipes::inspect::doctor::Doctor;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let diagnosis = Doctor::new(&Inspector::new(&zk)).diagnose("/accounts").await?;
/// for finding in &diagnosis.findings {
///     println!("{} {} {}", finding.severity, finding.check, finding.message);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a doctor does nothing until `diagnose` is called"]
pub struct Doctor {
    inspector: Inspector,
    pub(super) limits: Limits,
    only: BTreeSet<Check>,
}

/// From when on something is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) min_age: Duration,
    pub(super) max_hold: Option<Duration>,
    pub(super) max_wait: Option<Duration>,
    pub(super) max_item_age: Option<Duration>,
    pub(super) all: bool,
}

impl Doctor {
    /// A doctor that makes all checks. Nothing is sent.
    pub fn new(inspector: &Inspector) -> Self {
        Self {
            inspector: inspector.clone(),
            limits: Limits {
                min_age: Duration::from_secs(10),
                max_hold: None,
                max_wait: None,
                max_item_age: None,
                all: false,
            },
            only: BTreeSet::new(),
        }
    }

    /// Makes these checks alone.
    pub fn only(mut self, checks: impl IntoIterator<Item = Check>) -> Self {
        self.only.extend(checks);
        self
    }

    /// Tells of circles whose youngest wait is at least so old: 10 seconds by default. A younger one mostly ends by itself.
    pub fn min_age(mut self, age: Duration) -> Self {
        self.limits.min_age = age;
        self
    }

    /// Warns of holds that are certainly older.
    pub fn max_hold(mut self, age: Duration) -> Self {
        self.limits.max_hold = Some(age);
        self
    }

    /// Warns of waits that are older.
    pub fn max_wait(mut self, age: Duration) -> Self {
        self.limits.max_wait = Some(age);
        self
    }

    /// Warns of work queues whose oldest item is older.
    pub fn max_item_age(mut self, age: Duration) -> Self {
        self.limits.max_item_age = Some(age);
        self
    }

    /// Tells of unlikely circles as well.
    pub fn all(mut self, all: bool) -> Self {
        self.limits.all = all;
        self
    }

    /// Reads all that stands at and below `tree` and says what is wrong with it, the worst first.
    ///
    /// # Cost
    /// As of [`Inspector::places`]; of each circle four reads for each of its processes; of each work queue what
    /// [`WorkQueue::stats`] costs. It keeps the contenders that wait or are waited for.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn diagnose(&self, tree: &str) -> Result<Diagnosis, Error> {
        let requests = self.inspector.requests();
        let mut seen = SeenPlaces::at(SystemTime::now());
        let visit = |place: PlaceInfo| seen.add(&place, &self.limits);
        self.inspector.for_each(tree, Detail::Contenders, visit).await?;
        if self.makes(Check::Queue) {
            for path in std::mem::take(&mut seen.queues) {
                self.check_queue(&path, &mut seen.diagnosis).await?;
            }
        }
        let mut diagnosis = self.conclude(tree, seen).await?;
        diagnosis.requests = self.inspector.requests() - requests;
        Ok(diagnosis)
    }

    /// Says what is wrong with places that were read before, at and below `tree`, the worst first. Work queues are not asked,
    /// see [`examine_queue`](Self::examine_queue).
    ///
    /// # Cost
    /// Of each circle four reads for each of its processes, and nothing else.
    ///
    /// # Errors
    /// As [`diagnose`](Self::diagnose).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::inspect::doctor::Doctor;
    /// use zookeeper_recipes::inspect::{Detail, Inspector};
    /// use zookeeper_recipes::queue::WorkQueue;
    ///
    /// let inspector = Inspector::new(&zk);
    /// let mut places = Vec::new();
    /// inspector.for_each("/pay", Detail::Contenders, |place| places.push(place)).await?;
    /// let doctor = Doctor::new(&inspector);
    /// let mut findings = doctor.examine("/pay", &places).await?.findings;
    /// let stats = WorkQueue::new(&zk, "/pay/orders")?.stats().await?;
    /// findings.extend(doctor.examine_queue("/pay/orders", &stats));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn examine(&self, tree: &str, places: &[PlaceInfo]) -> Result<Diagnosis, Error> {
        let requests = self.inspector.requests();
        let mut seen = SeenPlaces::at(SystemTime::now());
        for place in places {
            seen.add(place, &self.limits);
        }
        let mut diagnosis = self.conclude(tree, seen).await?;
        diagnosis.requests = self.inspector.requests() - requests;
        Ok(diagnosis)
    }

    /// Says what is wrong with a work queue whose numbers were read before; nothing if [`Check::Queue`] is not asked for. Nothing
    /// is sent.
    pub fn examine_queue(&self, path: &str, stats: &QueueStats) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.makes(Check::Queue) {
            return findings;
        }
        let mut tell = |message: String, remedy: String| {
            findings.push(Finding::new(Check::Queue, Severity::Warn, path, message, &remedy));
        };
        if stats.paused {
            let reason = stats.pause_reason.as_ref();
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            tell(
                format!("the queue is paused{reason}"),
                format!("zkr queue resume {path}"),
            );
        }
        if stats.dead > 0 {
            tell(
                format!("{} dead letters", stats.dead),
                format!("zkr queue dead {path}; mend the cause, then zkr queue redrive {path}"),
            );
        }
        let is_old = |age: &Duration| self.limits.max_item_age.is_some_and(|limit| *age > limit);
        if let Some(age) = stats.oldest.filter(is_old) {
            tell(
                format!("the oldest item waits for {} s", age.as_secs()),
                format!("more consumers, or fewer items: zkr queue stats {path}"),
            );
        }
        findings
    }

    /// The checks of what stands in many places.
    async fn conclude(&self, tree: &str, seen: SeenPlaces) -> Result<Diagnosis, Error> {
        let SeenPlaces {
            now,
            mut diagnosis,
            graph,
            sums,
            ..
        } = seen;
        diagnosis.sessions = sums.sessions();
        sums.check(tree, now, &mut diagnosis.findings);
        sessions::check_self_waits(&graph, now, &mut diagnosis.findings);
        if self.makes(Check::DeadLock) {
            self.check_circles(&graph, now, &mut diagnosis).await?;
        }
        diagnosis.findings.retain(|finding| self.makes(finding.check));
        diagnosis.sort();
        diagnosis.owners = sums.into_owners();
        diagnosis.graph = graph;
        let unasked = [Check::Ghost, Check::Timeouts]
            .into_iter()
            .filter(|check| self.makes(*check));
        diagnosis.skipped.extend(unasked.map(|check| SkippedCheck {
            check,
            because: "it needs what the servers say of themselves, which the library does not ask".into(),
        }));
        Ok(diagnosis)
    }

    fn makes(&self, check: Check) -> bool {
        self.only.is_empty() || self.only.contains(&check)
    }

    async fn check_circles(&self, graph: &WaitGraph, now: SystemTime, diagnosis: &mut Diagnosis) -> Result<(), Error> {
        for cycle in graph.cycles() {
            let age = now.duration_since(cycle.since).unwrap_or_default();
            let is_told = cycle.confidence > Confidence::Unlikely || self.limits.all;
            if is_told && age >= self.limits.min_age && self.inspector.confirm(&cycle).await? {
                diagnosis.findings.push(dead_lock(cycle));
            }
        }
        Ok(())
    }

    async fn check_queue(&self, path: &str, diagnosis: &mut Diagnosis) -> Result<(), Error> {
        let queue = WorkQueue::<Bytes>::new(&self.inspector.reader.zk, path)?;
        let stats = match queue.stats().await {
            Ok(stats) => stats,
            Err(error @ Error::Closed) => return Err(error),
            // One queue that cannot be read must not hide what else is wrong.
            Err(error) => {
                let message = format!("the queue could not be read: {error}");
                let finding = Finding::new(
                    Check::Queue,
                    Severity::Warn,
                    path,
                    message,
                    "look at it with zkr queue stats",
                );
                diagnosis.findings.push(finding);
                return Ok(());
            }
        };
        diagnosis.findings.extend(self.examine_queue(path, &stats));
        Ok(())
    }
}

/// What is remembered of the places that were seen.
#[derive(Debug)]
struct SeenPlaces {
    now: SystemTime,
    diagnosis: Diagnosis,
    graph: WaitGraph,
    sums: SessionSums,
    /// The paths of work queues.
    queues: Vec<String>,
}

impl SeenPlaces {
    fn at(now: SystemTime) -> Self {
        Self {
            now,
            diagnosis: Diagnosis::default(),
            graph: WaitGraph::default(),
            sums: SessionSums::default(),
            queues: Vec::new(),
        }
    }

    fn add(&mut self, place: &PlaceInfo, limits: &Limits) {
        self.diagnosis.places += usize::from(place.kind != PlaceKind::Node);
        places::check(place, limits, self.now, &mut self.diagnosis.findings);
        self.sums.add(place);
        self.graph.add(place);
        if place.kind == PlaceKind::WorkQueue(2) {
            self.queues.push(place.path.clone());
        }
    }
}

fn dead_lock(cycle: Cycle) -> Finding {
    let count = cycle.members.len();
    let message = format!("{count} processes wait in a circle ({})", cycle.confidence);
    let remedy = match cycle.youngest() {
        Some(member) => format!(
            "stop one of them, or: zkr break {} --token {}",
            member.holds_at, member.holds.token
        ),
        None => String::new(),
    };
    let path = cycle
        .members
        .first()
        .map(|member| member.waits_at.clone())
        .unwrap_or_default();
    let mut finding = Finding::new(Check::DeadLock, Severity::Error, &path, message, &remedy);
    finding.since = Some(cycle.since);
    finding.confidence = Some(cycle.confidence);
    finding.cycle = Some(cycle);
    finding
}
