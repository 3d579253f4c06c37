//! What a leader does: writes records that commit only while it leads, and runs what they say is due.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use super::decide::{ScheduleStep, decide};
use super::record::RunRecord;
use super::timetable::from_millis;
use super::{DueRun, Schedule, ScheduleError};
use crate::error::Error;
use crate::metrics;
use crate::session::Retry;
use crate::znode::{Expected, FencedWriteError, Hold, WriteOutcome, read, sync};

/// The longest time without a look at the ensemble's clock, which may be set forward.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A leader's view of the node. Its version is part of each write, so that a view that is out of date is noticed.
struct RecordView {
    record: RunRecord,
    version: i32,
}

/// A record that was written: when, by the ensemble's clock, and when that answer came, by ours.
struct RecordWrite {
    time: i64,
    sent: tokio::time::Instant,
    answered: tokio::time::Instant,
}

pub(super) struct Follower<'a> {
    pub(super) schedule: &'a Schedule,
    pub(super) hold: &'a Hold,
}

impl Follower<'_> {
    /// Runs what is due until no due time is left, or until `shutdown` and the end of the run that goes on then.
    pub(super) async fn follow<F, Fut>(
        &self,
        mut shutdown: Pin<&mut (impl Future<Output = ()> + Send)>,
        mut work: F,
    ) -> Result<(), ScheduleError>
    where
        F: FnMut(DueRun) -> Fut,
        Fut: Future<Output = ()>,
    {
        let mut view = self.read().await?;
        loop {
            // Each decision is about a time that the ensemble has shown in a write of this leader.
            let same = view.record.clone();
            let Some(now) = self.write(&mut view, same).await? else {
                continue;
            };
            match decide(&self.schedule.rules, &view.record, now.time) {
                ScheduleStep::Done => return Ok(()),
                ScheduleStep::WaitUntil(until) => {
                    let wait = u64::try_from(until.saturating_sub(now.time)).unwrap_or(0);
                    let wait = Duration::from_millis(wait).min(LONGEST_WAIT);
                    let pause = wait.saturating_sub(now.answered.elapsed());
                    tokio::select! {
                        biased;
                        () = shutdown.as_mut() => return Ok(()),
                        slept = self.hold.session().sleep(pause) => slept?,
                    }
                }
                ScheduleStep::Write(record) => {
                    info!(path = self.path(), %record, "due times recorded, none started");
                    let skipped = record.skipped.saturating_sub(view.record.skipped);
                    if self.write(&mut view, record).await?.is_some() {
                        self.count("skipped", skipped);
                    }
                }
                ScheduleStep::Start(record) => {
                    // A shutdown of the coordinator waits for what is recorded from here on.
                    let _unfinished = self.schedule.register.zk().unfinished();
                    // Nothing waits while the leader is behind, so that no wait would see it.
                    if shutdown.as_mut().now_or_never().is_some() {
                        return Ok(());
                    }
                    let skipped = record.skipped.saturating_sub(view.record.skipped);
                    if self.write(&mut view, record).await?.is_some() {
                        self.count("skipped", skipped);
                        self.start(&mut view, &now, &mut work).await?;
                    }
                }
            }
        }
    }

    /// Starts the run that was recorded, and records its end.
    async fn start<F, Fut>(&self, view: &mut RecordView, now: &RecordWrite, work: &mut F) -> Result<(), ScheduleError>
    where
        F: FnMut(DueRun) -> Fut,
        Fut: Future<Output = ()>,
    {
        let Some(open) = view.record.run.clone() else {
            return Ok(());
        };
        let run = DueRun {
            due: from_millis(open.due),
            attempt: open.attempt,
            covers: open.covers,
            now: from_millis(now.time),
            term: self.hold.token(),
        };
        self.count("started", 1);
        let late = Duration::from_millis(u64::try_from(now.time - open.due).unwrap_or(0));
        let user = self.hold.metrics_name();
        metrics::observe(metrics::SCHEDULE_LATENESS, Some(user), &[], late.as_secs_f64());
        // Counted from before the ensemble's time was asked for: it ends before the next leader may start.
        let limit = self.schedule.rules.at_most;
        let limit = limit.map(|limit| limit.saturating_sub(now.sent.elapsed()));
        let _running = self.schedule.local.run(&run);
        let work = work(run);
        match limit {
            None => work.await,
            Some(limit) => {
                if self.schedule.register.zk().timeout(limit, work).await.is_none() {
                    self.count("dropped", 1);
                    warn!(path = self.path(), "a run took longer than at_most and was dropped");
                }
            }
        }
        loop {
            let ended = RunRecord {
                run: None,
                ..view.record.clone()
            };
            if self.write(view, ended).await?.is_some() {
                return Ok(());
            }
            debug!(path = self.path(), "another client has written the record");
            if view.record.run.as_ref() != Some(&open) {
                return Ok(());
            }
        }
    }

    /// Writes the record while we lead, exactly once. `None` if another client has written, and the view is read again.
    async fn write(&self, view: &mut RecordView, record: RunRecord) -> Result<Option<RecordWrite>, ScheduleError> {
        let (term, write) = (self.hold.token().as_i64(), view.record.write.wrapping_add(1));
        let record = RunRecord { term, write, ..record };
        let data = record.to_string();
        // The earliest that the ensemble can have stamped it.
        let sent = tokio::time::Instant::now();
        let mut retry = Retry::new(self.hold.session(), self.path(), data.len());
        loop {
            let mut writer = self.hold.fenced();
            writer.add_set_data(self.path(), data.as_bytes(), Some(view.version));
            let written = match writer.commit().await {
                Ok(results) => match results.first() {
                    Some(zk::MultiWriteResult::SetData { stat }) => (stat.version, stat.mtime),
                    _ => return Err(Error::layout(self.path(), "the server gave no state of it").into()),
                },
                // The same again: both have the same version, so that only one of them can be applied.
                Err(FencedWriteError::Indeterminate) => {
                    retry.raced().await?;
                    continue;
                }
                Err(FencedWriteError::Refused { source, .. })
                    if !matches!(source, zk::Error::BadVersion | zk::Error::NoNode) =>
                {
                    return Err(Error::from_answer(self.path(), source).into());
                }
                Err(FencedWriteError::Refused { .. }) => {
                    let (found, stored) = self.read_stored().await?;
                    let is_ours = found.record == record && found.version == view.version.wrapping_add(1);
                    if !is_ours {
                        *view = found;
                        return Ok(None);
                    }
                    (found.version, stored)
                }
                Err(FencedWriteError::Lost(lost)) => return Err(lost.into()),
                Err(FencedWriteError::Error(error)) => return Err(error.into()),
            };
            let (version, time) = written;
            *view = RecordView { record, version };
            let answered = tokio::time::Instant::now();
            return Ok(Some(RecordWrite { time, sent, answered }));
        }
    }

    async fn read(&self) -> Result<RecordView, ScheduleError> {
        Ok(self.read_stored().await?.0)
    }

    /// The record, at nothing older than this call, and when it was written. It is made where there is none.
    async fn read_stored(&self) -> Result<(RecordView, i64), ScheduleError> {
        let register = &self.schedule.register;
        sync(self.hold.session(), self.path()).await?;
        loop {
            if let Some((data, stat)) = read(self.hold.session(), self.path()).await? {
                let Some(record) = RunRecord::parse(&data) else {
                    return Err(
                        Error::layout(self.path(), "it holds no record of a schedule; choose another path").into(),
                    );
                };
                let view = RecordView {
                    record,
                    version: stat.version,
                };
                return Ok((view, stat.mtime));
            }
            self.hold.check()?;
            let first = Bytes::from(RunRecord::default().to_string());
            if register.write(Expected::Nothing, &first).await? == WriteOutcome::Indeterminate {
                debug!(path = self.path(), "it is not known whether the record was made");
            }
        }
    }

    fn count(&self, outcome: &'static str, by: u64) {
        if by > 0 {
            let user = self.hold.metrics_name();
            metrics::count(metrics::SCHEDULE_RUNS, Some(user), &[("outcome", outcome)], by);
        }
    }

    fn path(&self) -> &str {
        self.schedule.path()
    }
}
