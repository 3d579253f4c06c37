//! The options of a schedule, before there is one.

use std::sync::Arc;
use std::time::Duration;

use super::Schedule;
use super::timetable::Timetable;
use crate::error::Error;
use crate::session::Coordinator;
use crate::znode::{NodePath, Register};

/// What becomes of due times that fell between two leaders, into an outage, or into a run that takes longer than its
/// period.
///
/// ```no_run
/// # fn example(zk: &zookeeper_recipes::Coordinator, every_hour: zookeeper_recipes::Timetable)
/// # -> Result<(), zookeeper_recipes::Error> {
/// use zookeeper_recipes::{Misfire, Schedule};
///
/// let bookkeeping = Schedule::builder(zk, "/jobs/bookkeeping", every_hour).misfire(Misfire::RunAll).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Misfire {
    /// One run, of the latest due time, stands for all that were missed.
    #[default]
    RunOnce,
    /// Each due time is run, in order, one after the other.
    RunAll,
    /// Missed due times are skipped. A due time is missed when the next one has come, or when it is later than the
    /// [grace](ScheduleBuilder::grace).
    Skip,
}

/// How often a recorded run is started if its leader is lost in the middle of it.
///
/// ```no_run
/// # fn example(zk: &zookeeper_recipes::Coordinator, every_hour: zookeeper_recipes::Timetable)
/// # -> Result<(), zookeeper_recipes::Error> {
/// use zookeeper_recipes::{Schedule, Starts};
///
/// let mails = Schedule::builder(zk, "/jobs/mails", every_hour).starts(Starts::AtMostOnce).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Starts {
    /// The next leader starts it again.
    #[default]
    AtLeastOnce,
    /// It is not started again. It may not have started, if its leader was lost right behind the record.
    AtMostOnce,
}

/// What every leader decides by.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) timetable: Timetable,
    pub(super) misfire: Misfire,
    pub(super) starts: Starts,
    pub(super) at_most: Option<Duration>,
    pub(super) at_least: Duration,
    pub(super) grace: Duration,
}

/// The options of a [`Schedule`]. All processes must use the same.
///
/// ```no_run
/// # fn example(zk: &zookeeper_recipes::Coordinator, every_hour: zookeeper_recipes::Timetable)
/// # -> Result<(), zookeeper_recipes::Error> {
/// use std::time::Duration;
/// use zookeeper_recipes::Schedule;
///
/// let reports = Schedule::builder(zk, "/jobs/reports", every_hour)
///     .at_most(Duration::from_secs(600))
///     .at_least(Duration::from_secs(60))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `build` is called"]
pub struct ScheduleBuilder {
    zk: Coordinator,
    path: String,
    rules: Rules,
}

impl ScheduleBuilder {
    pub(super) fn new(zk: &Coordinator, path: &str, timetable: Timetable) -> Self {
        let rules = Rules {
            timetable,
            misfire: Misfire::default(),
            starts: Starts::default(),
            at_most: None,
            at_least: Duration::ZERO,
            grace: Duration::from_secs(60),
        };
        let (zk, path) = (zk.clone(), path.to_owned());
        Self { zk, path, rules }
    }

    /// Chooses what becomes of missed due times. The default is [`Misfire::RunOnce`].
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.rules.misfire = misfire;
        self
    }

    /// Chooses what becomes of a run whose leader is lost. The default is [`Starts::AtLeastOnce`].
    pub fn starts(mut self, starts: Starts) -> Self {
        self.rules.starts = starts;
        self
    }

    /// Sets how long a run may take; it is dropped then. The next leader waits as long before it starts a run again whose
    /// leader was lost, so that the two do not overlap. ShedLock's `lockAtMostFor`. By default there is no limit, and no
    /// such wait.
    #[doc(alias = "lockAtMostFor")]
    pub fn at_most(mut self, limit: Duration) -> Self {
        self.rules.at_most = Some(limit);
        self
    }

    /// Sets the least time between the starts of two runs. ShedLock's `lockAtLeastFor`. The default is zero.
    #[doc(alias = "lockAtLeastFor")]
    pub fn at_least(mut self, pause: Duration) -> Self {
        self.rules.at_least = pause;
        self
    }

    /// Sets how late a run may start with [`Misfire::Skip`]. The default is 60 seconds.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.rules.grace = grace;
        self
    }

    /// Builds the schedule. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn build(self) -> Result<Schedule, Error> {
        let path = NodePath::new(&self.path)?;
        Ok(Schedule {
            register: Register::new(self.zk, path),
            rules: self.rules,
            local: Arc::default(),
        })
    }
}
