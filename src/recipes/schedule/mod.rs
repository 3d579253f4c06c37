//! [`Schedule`]: a job once per due time, whatever process leads.
//!
//! * `timetable` – [`Timetable`], when a job is due
//! * `options` – [`ScheduleBuilder`], [`Misfire`], [`Starts`]
//! * `record` – what the node says; `decide` – what a leader does next, pure
//! * `follow` – the leader's loop
//! * `local` – what this process does, for [`Schedule::health`]
//! * `once` – [`once_per`], for services without a leader

mod decide;
mod follow;
mod local;
mod once;
mod options;
mod record;
mod timetable;

use std::future::{self, Future};
use std::sync::Arc;
use std::time::SystemTime;

use self::follow::Follower;
use self::local::LocalSchedule;
use self::options::Rules;
use self::record::RunRecord;
use crate::error::{Error, classify};
use crate::session::{Coordinator, Interrupted, Lost};
use crate::znode::{FencingToken, Hold, Register};

pub use self::once::{OncePerError, once_per};
pub use self::options::{Misfire, ScheduleBuilder, Starts};
pub use self::timetable::Timetable;

/// A job that is run when it is due, by the process that leads: cron in a cluster.
///
/// The leader [records](Self::progress) each due time in one node, in a transaction that commits only while it leads,
/// and then starts the run. So each due time is **recorded exactly once**, as started or as skipped. A leader that is
/// late records nothing.
///
/// # How often a run starts
/// Nothing outside the ensemble can be exactly once. [`Starts`] says what becomes of a run whose leader is lost:
/// started again, or not. Let what the run writes to check [`DueRun::term`], and use [`DueRun::due`] as its id.
///
/// # Whose clock
/// A due time has come when a write of the leader has shown it: the time is that of the ensemble's leader. No clock of
/// a worker is read; between two writes the leader only measures how much time has passed.
///
/// The last record never goes back. **If the ensemble's clock is set back**, by a new leader of the ensemble or by an
/// operator, nothing runs again: the job waits until that clock has passed the last record. If the clock is set
/// forward, the due times in between have come, and the [misfire policy](Misfire) decides; after it is set right again,
/// the job waits as above. Keep the clocks of the ensemble's servers together.
///
/// # A run that is longer than its period
/// Runs of one schedule never overlap while one process leads. What came due in the meantime is missed, and the misfire
/// policy decides. After a loss the old run is dropped at once, but a frozen process does not notice; see
/// [`ScheduleBuilder::at_most`].
///
/// # Cost
/// Four writes for each run: the time, the start, the end, the time again. While nothing is due: one write in ten
/// minutes.
///
/// # When the session is lost
/// [`run`](Self::run) ends with [`ScheduleError::Lost`], and its work is dropped. The next leader goes on.
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use std::ops::ControlFlow;
/// use std::time::Duration;
/// use zookeeper_recipes::{LeaderElection, Schedule, Timetable};
///
/// let every_minute = Timetable::every(Duration::from_secs(60))?;
/// let invoices = Schedule::new(&zk, "/jobs/invoices", every_minute)?;
/// LeaderElection::new(&zk, "/scheduler")?
///     .run("scheduler-7", |leadership| {
///         let invoices = &invoices;
///         async move {
///             let ended = invoices
///                 .run(&leadership, |run| async move {
///                     println!("send invoices of {:?}, attempt {}, term {}", run.due, run.attempt, run.term);
///                 })
///                 .await;
///             match ended {
///                 Err(error) if !error.is_lost() => ControlFlow::Break(Err(error)),
///                 Err(_) => ControlFlow::Continue(()),
///                 Ok(()) => ControlFlow::Break(Ok(())),
///             }
///         }
///     })
///     .await??;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ShedLock")]
#[derive(Clone, Debug)]
pub struct Schedule {
    register: Register,
    rules: Rules,
    local: Arc<LocalSchedule>,
}

/// One run of a job, as it was recorded.
///
/// ```no_run
/// # fn example(run: zookeeper_recipes::DueRun) {
/// println!("due {:?}, attempt {}, for {} due times, term {}", run.due, run.attempt, run.covers, run.term);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DueRun {
    /// When it was due: the id of the run.
    pub due: SystemTime,
    /// 1, and more for a run whose leader was lost before.
    pub attempt: u32,
    /// How many due times it stands for: more than 1 if some were missed.
    pub covers: u64,
    /// The ensemble's time right before the run was recorded, at or after `due`.
    pub now: SystemTime,
    /// The term of the leader: the token to write with.
    pub term: FencingToken,
}

/// What was recorded of a schedule so far.
///
/// ```no_run
/// # async fn example(schedule: zookeeper_recipes::Schedule) -> Result<(), zookeeper_recipes::Error> {
/// let progress = schedule.progress().await?;
/// println!("{} started, {} skipped, up to {:?}", progress.started, progress.skipped, progress.last);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleProgress {
    /// All due times up to this one are recorded; `None` before the first leader.
    pub last: Option<SystemTime>,
    /// How many due times were recorded as started.
    pub started: u64,
    /// How many due times were recorded as skipped, those included for which a later one stands.
    pub skipped: u64,
    /// The due time of the run that goes on, or whose leader was lost.
    pub running: Option<SystemTime>,
}

impl Schedule {
    /// A schedule whose record is the node at `path`, with default options. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str, timetable: Timetable) -> Result<Self, Error> {
        Self::builder(zk, path, timetable).build()
    }

    /// Starts to build a schedule with options, see [`ScheduleBuilder`].
    pub fn builder(zk: &Coordinator, path: &str, timetable: Timetable) -> ScheduleBuilder {
        ScheduleBuilder::new(zk, path, timetable)
    }

    /// The path of the record, from the chroot.
    pub fn path(&self) -> &str {
        self.register.path().as_str()
    }

    /// Runs `work` for each due time while `leadership` is held: a [`Leadership`](crate::Leadership) or another
    /// [`Hold`], **the same for all processes that run this schedule**. Due times count from the first call of all.
    ///
    /// Returns when the timetable has no further due time.
    ///
    /// # Errors
    /// * [`ScheduleError::Lost`]: the leadership is lost; the work was dropped at that moment.
    /// * [`ScheduleError::Error`]: what retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work. Its run is recorded; [`Starts`] says whether the next leader starts it
    /// again.
    pub async fn run<F, Fut>(&self, leadership: &Hold, work: F) -> Result<(), ScheduleError>
    where
        F: FnMut(DueRun) -> Fut,
        Fut: Future<Output = ()>,
    {
        self.run_until(leadership, future::pending(), work).await
    }

    /// As [`run`](Self::run), and returns once `shutdown` is done, or the coordinator is
    /// [shut down](crate::Coordinator::shutdown): a run that goes on then is finished first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_until<F, Fut>(
        &self,
        leadership: &Hold,
        shutdown: impl Future<Output = ()> + Send,
        work: F,
    ) -> Result<(), ScheduleError>
    where
        F: FnMut(DueRun) -> Fut,
        Fut: Future<Output = ()>,
    {
        let shutting_down = self.register.zk().shutting_down();
        let shutdown = async {
            tokio::select! {
                () = shutdown => {}
                () = shutting_down => {}
            }
        };
        let shutdown = std::pin::pin!(shutdown);
        let _following = self.local.follow();
        let follower = Follower {
            schedule: self,
            hold: leadership,
        };
        leadership.run_until_lost(follower.follow(shutdown, work)).await?
    }

    /// Returns what was recorded so far. One read.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help; [`Error::Layout`] if the node holds something else.
    pub async fn progress(&self) -> Result<ScheduleProgress, Error> {
        let Some(stored) = self.register.read().await? else {
            return Ok(ScheduleProgress::default());
        };
        let record = RunRecord::parse(&stored.data)
            .ok_or_else(|| Error::layout(self.path(), "it holds no record of a schedule; choose another path"))?;
        Ok(ScheduleProgress {
            last: record.last.map(timetable::from_millis),
            started: record.started,
            skipped: record.skipped,
            running: record.run.map(|run| timetable::from_millis(run.due)),
        })
    }
}

/// Why a schedule is not followed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The leadership is lost. The next leader goes on.
    #[error("the schedule is left to the next leader")]
    Lost(#[from] Lost),
    /// More time would not help.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(ScheduleError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());

impl From<Interrupted> for ScheduleError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Lost(lost) => Self::Lost(lost),
            Interrupted::Failed(error) => Self::Error(error),
        }
    }
}

/// For a fuzzer.
#[cfg(feature = "_model")]
pub(super) fn parse(data: &[u8]) {
    _ = RunRecord::parse(data);
}
