//! What this process does for a schedule, for [`Schedule::health`].

use std::sync::Mutex;
use std::time::Instant;

use super::{DueRun, Schedule};
use crate::session::{Health, Seconds, lock};

/// What this process does for one schedule.
#[derive(Debug, Default)]
pub(super) struct LocalSchedule {
    state: Mutex<FollowerState>,
}

#[derive(Debug, Default)]
struct FollowerState {
    /// How many leaders of this process follow it.
    followers: usize,
    /// The run that goes on: its attempt, and when it began.
    run: Option<(u32, Instant)>,
}

/// One follower, or one run, until this is dropped.
#[derive(Debug)]
pub(super) struct FollowerShare<'a> {
    local: &'a LocalSchedule,
    end: fn(&mut FollowerState),
}

impl Drop for FollowerShare<'_> {
    fn drop(&mut self) {
        (self.end)(&mut lock(&self.local.state));
    }
}

impl LocalSchedule {
    pub(super) fn follow(&self) -> FollowerShare<'_> {
        lock(&self.state).followers += 1;
        let end = |state: &mut FollowerState| state.followers -= 1;
        FollowerShare { local: self, end }
    }

    pub(super) fn run(&self, run: &DueRun) -> FollowerShare<'_> {
        lock(&self.state).run = Some((run.attempt, Instant::now()));
        let end = |state: &mut FollowerState| state.run = None;
        FollowerShare { local: self, end }
    }

    fn judge(&self) -> (bool, String) {
        let state = lock(&self.state);
        let message = match (state.followers, &state.run) {
            (_, Some((attempt, since))) => {
                format!("runs the job for {}, attempt {attempt}", Seconds(since.elapsed()))
            }
            (0, None) => "stands by".to_owned(),
            (_, None) => "waits for the next due time".to_owned(),
        };
        (true, message)
    }
}

impl Schedule {
    /// Returns whether this process does its part: running the job, waiting for the next due time, or standing by while
    /// another process leads. A snapshot of what this handle and its clones do; it costs no request.
    ///
    /// Not ready is a process without a connection, as [`Coordinator::health`](crate::Coordinator::health) says. Whether
    /// it stands for election is told by [`LeaderElection::health`](crate::LeaderElection::health).
    ///
    /// ```no_run
    /// # fn example(schedule: &zookeeper_recipes::Schedule) {
    /// // schedule /jobs/invoices: ready; runs the job for 3.2 s, attempt 1
    /// println!("{}", schedule.health());
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let judge = || self.local.judge();
        self.register.zk().health_of("schedule", self.path(), judge)
    }
}
