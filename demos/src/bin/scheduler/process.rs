//! One scheduler process: a worker, and a candidate for the lead.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time;
use zookeeper_recipes::{
    Coordinator, DueRun, Group, GroupObserver, LeaderElection, Leadership, Membership, Misfire, Schedule, Starts,
    Timetable,
};

use crate::crontab::Crontab;
use crate::ledger::{Entry, Ledger};
use crate::{MINUTE, MINUTES, signal, worker};
use demos::commands::Commands;
use demos::print::say;
use demos::{BoxError, session};

const LEADER: &str = "/leader";
const WORKERS: &str = "/workers";
const MINUTES_OF_DAY: &str = "/minutes";

/// What a process needs to know.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) ledger: &'a Path,
    pub(crate) crontab: Crontab,
}

/// Works, and leads when elected, until it is told to end.
pub(crate) async fn run(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let stall = AtomicBool::new(false);
    let ended = follow_commands(&stall);
    tokio::pin!(ended);
    let (zk, listener, membership) = tokio::select! {
        joined = join(assignment) => joined?,
        ended = &mut ended => return ended,
    };
    tokio::select! {
        ended = worker::serve(listener, assignment.name.to_owned(), assignment.ledger) => ended?,
        led = lead_when_elected(&zk, assignment, &stall) => led?,
        ended = &mut ended => ended?,
    }
    membership.leave().await;
    zk.close().await;
    Ok(())
}

/// Becomes a member of the group of workers.
async fn join(assignment: &Assignment<'_>) -> Result<(Coordinator, TcpListener, Membership), BoxError> {
    let zk = session::connect(assignment.name, assignment.cluster).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let membership = Group::new(&zk, WORKERS)?.join(assignment.name, address).await?;
    Ok((zk, listener, membership))
}

/// Follows what the director says, until it tells us to end.
async fn follow_commands(stall: &AtomicBool) -> Result<(), BoxError> {
    let mut commands = Commands::listen();
    while let Some(command) = commands.next().await? {
        stall.store(command == "stall", Ordering::Relaxed);
    }
    Ok(())
}

async fn lead_when_elected(zk: &Coordinator, assignment: &Assignment<'_>, stall: &AtomicBool) -> Result<(), BoxError> {
    let election = LeaderElection::new(zk, LEADER)?;
    let workers = Group::new(zk, WORKERS)?;
    // What fell between two leaders is run, one minute after the other; one in whose middle a leader was lost, again.
    let minutes = Schedule::builder(zk, MINUTES_OF_DAY, Timetable::every(MINUTE)?)
        .misfire(Misfire::RunAll)
        .starts(Starts::AtLeastOnce)
        .build()?;
    let work = |leadership: Arc<Leadership>| {
        let (workers, minutes) = (&workers, &minutes);
        async move {
            match lead(&leadership, workers, minutes, assignment, stall).await {
                Ok(()) => ControlFlow::Break(Ok(())),
                // The lead is lost, though we do not know it yet.
                Err(Stop::Refused) => ControlFlow::Continue(()),
                Err(Stop::Failed(failure)) => ControlFlow::Break(Err(failure)),
            }
        }
    };
    election.run(assignment.name.to_owned(), work).await??;
    say!("done");
    // The director ends all processes together.
    std::future::pending().await
}

/// Why a leader stops before all is done.
enum Stop {
    /// The ledger has seen a later term.
    Refused,
    Failed(BoxError),
}

impl<E: Into<BoxError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Has every job run when it is due, and first those that were due while there was no leader.
async fn lead(
    leadership: &Leadership,
    workers: &Group,
    minutes: &Schedule,
    assignment: &Assignment<'_>,
    stall: &AtomicBool,
) -> Result<(), Stop> {
    let term = leadership.token().as_i64();
    let mut ledger = Ledger::open(assignment.ledger)?;
    if !ledger.begin_term(term, assignment.name)? {
        return Err(Stop::Refused);
    }
    say!("leads {term}");
    let dispatch = Dispatch::new(workers, term).await?;
    let leader = Mutex::new(Leader {
        leadership,
        assignment,
        stall,
        ledger,
        dispatch,
    });
    let (end, ended) = watch::channel(None);
    let run = |run: DueRun| {
        let (leader, end) = (&leader, &end);
        async move {
            match leader.lock().await.run(run.due).await {
                Ok(true) => {}
                Ok(false) => drop(end.send_replace(Some(Ok(())))),
                Err(stop) => drop(end.send_replace(Some(Err(stop)))),
            }
        }
    };
    let over = async {
        // The sender outlives this.
        let _ = ended.clone().wait_for(Option::is_some).await;
    };
    let followed = minutes.run_until(leadership, over, run).await;
    match (end.send_replace(None), followed) {
        (Some(end), _) => end,
        // The next leader goes on.
        (None, Err(error)) if error.is_lost() => Err(Stop::Refused),
        (None, followed) => Ok(followed?),
    }
}

/// What a leader works with.
struct Leader<'a> {
    leadership: &'a Leadership,
    assignment: &'a Assignment<'a>,
    stall: &'a AtomicBool,
    ledger: Ledger,
    dispatch: Dispatch,
}

impl Leader<'_> {
    /// Has the jobs of one minute run; false if there are no more minutes.
    async fn run(&mut self, due: SystemTime) -> Result<bool, Stop> {
        let due = due.duration_since(UNIX_EPOCH)?.as_millis();
        let minute = self.ledger.minute(i64::try_from(due)?)?;
        if minute >= MINUTES {
            return Ok(false);
        }
        if minute.is_multiple_of(15) {
            say!("has run {minute} of {MINUTES} minutes");
        }
        for job in self.assignment.crontab.due(minute) {
            // Run by a leader that was lost before it could say so.
            if self.ledger.has_run(job, minute)? {
                continue;
            }
            let entry = if self.stall.swap(false, Ordering::Relaxed) && self.leadership.is_held() {
                record_after_stall(
                    &mut self.ledger,
                    self.assignment,
                    job,
                    minute,
                    self.leadership.token().as_i64(),
                )?
            } else {
                self.dispatch.run(job, minute).await?
            };
            if let Entry::Refused { .. } = entry {
                return Err(Stop::Refused);
            }
        }
        Ok(minute + 1 < MINUTES)
    }
}

/// Hands jobs to the workers, to each in its turn.
struct Dispatch {
    workers: GroupObserver,
    term: i64,
    turn: usize,
}

impl Dispatch {
    async fn new(workers: &Group, term: i64) -> Result<Self, BoxError> {
        let workers = workers.observe().await?;
        Ok(Self { workers, term, turn: 0 })
    }

    /// Has one of the workers run a job, and another one if that does not answer.
    async fn run(&mut self, job: &str, minute: u32) -> Result<Entry, BoxError> {
        loop {
            let members = self.workers.members();
            self.turn += 1;
            let Some(worker) = members.get(self.turn % members.len().max(1)) else {
                // Not even we are a member: our session is gone, and the lead with it.
                time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let address = String::from_utf8_lossy(&worker.data);
            match worker::order(&address, job, minute, self.term).await {
                Ok(entry) => return Ok(entry),
                Err(error) => say!("no answer from {}: {error}", worker.id),
            }
        }
    }
}

/// For the demonstration: stops this process at the worst place, after the look at the guard and before the effect.
fn record_after_stall(
    ledger: &mut Ledger,
    assignment: &Assignment<'_>,
    job: &str,
    minute: u32,
    term: i64,
) -> Result<Entry, BoxError> {
    say!("stalls before {job} of minute {minute}");
    signal::send("STOP", std::process::id())?;
    let entry = ledger.record(job, minute, assignment.name, term)?;
    say!("revived {entry:?}");
    Ok(entry)
}
