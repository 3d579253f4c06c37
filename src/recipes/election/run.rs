//! Campaigning, working and resigning, again and again.

use std::future::{Future, pending};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, info, warn};

use super::{LeaderElection, Leadership};
use crate::error::Error;
use crate::session::Lost;
use crate::znode::{ReleaseError, until};

/// A leader whose work gives up sooner after its election than this has failed.
const SOON: Duration = Duration::from_secs(10);

/// How a leadership came to its end.
enum TermEnd<B> {
    Worked(ControlFlow<B>),
    Lost(Lost),
    NeverReady,
    Outranked,
    Shutdown,
}

impl LeaderElection {
    /// Campaigns, runs `work` while leading, and campaigns again, until `work` says [`ControlFlow::Break`], whose
    /// value this returns after resigning.
    ///
    /// Whenever leadership is lost, `work` is dropped at that moment, wherever it was. Only when `work` is done or was
    /// dropped is the node deleted. After a [`ControlFlow::Continue`] the leader hands over to the next candidate, and
    /// stands again behind all others. So at most one `work` of all processes at this path is running at any time, as far
    /// as the ensemble can tell: let what it writes to check [`token`](crate::Hold::token).
    ///
    /// A task that `work` has spawned is its own to end. If it has kept a clone of the leadership, leadership lasts
    /// until that is dropped or lost.
    ///
    /// # Back-off
    /// A leader fails whose work says `Continue` within ten seconds of its election, or that is not ready
    /// [in time](super::LeaderElectionBuilder::ready_within). It resigns at once, so that another candidate leads, and
    /// pauses before it stands again: 2 to 4 s, then twice as long each time, up to a minute. A term of ten seconds
    /// ends the sequence. [`backoff`](super::LeaderElectionBuilder::backoff) sets the pauses.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help. Losing the leadership is none. [`Error::Closed`] once the coordinator is
    /// [shut down](crate::Coordinator::shutdown): the work is dropped, and the leader resigns.
    ///
    /// # Cancel safety
    /// Dropping the future drops `work` first and then resigns, or withdraws the candidate, in the background.
    pub async fn run<F, Fut, B>(&self, value: impl Into<Bytes>, work: F) -> Result<B, Error>
    where
        F: FnMut(Arc<Leadership>) -> Fut,
        Fut: Future<Output = ControlFlow<B>>,
    {
        match self.run_until(pending(), value, work).await? {
            Some(output) => Ok(output),
            // No shutdown of its own: that of the coordinator.
            None => Err(self.line.zk().ended().unwrap_or(Error::Closed)),
        }
    }

    /// As [`run`](Self::run), until `shutdown` ends, or the coordinator is [shut down](crate::Coordinator::shutdown): then `work` is dropped, or the candidate withdraws, and this returns
    /// `None` once the node is gone.
    ///
    /// It waits half a second at most for the removal of a candidate, and not at all on a dead link: the rest goes on in
    /// the background. Work that has to come to an orderly end waits for the same signal itself and says `Break`.
    ///
    /// ```no_run
    /// # async fn example(election: zookeeper_recipes::LeaderElection) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::ops::ControlFlow;
    ///
    /// let shutdown = async { _ = tokio::signal::ctrl_c().await };
    /// let done: Option<()> = election
    ///     .run_until(shutdown, "scheduler-7", |leadership| async move {
    ///         schedule(leadership.token()).await;
    ///         ControlFlow::Continue(())
    ///     })
    ///     .await?;
    /// # async fn schedule(_: zookeeper_recipes::FencingToken) {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As `run`.
    ///
    /// # Cancel safety
    /// As `run`.
    pub async fn run_until<S, F, Fut, B>(
        &self,
        shutdown: S,
        value: impl Into<Bytes>,
        mut work: F,
    ) -> Result<Option<B>, Error>
    where
        S: Future<Output = ()>,
        F: FnMut(Arc<Leadership>) -> Fut,
        Fut: Future<Output = ControlFlow<B>>,
    {
        let value = value.into();
        let zk = self.line.zk();
        let shutdown = async {
            tokio::select! {
                () = shutdown => {}
                // A run of a schedule that goes on is finished first.
                () = zk.shutting_down() => zk.draining().finished().await,
            }
        };
        let mut shutdown = pin!(shutdown);
        let mut failures = 0;
        loop {
            let Some(leadership) = self.campaign_until(shutdown.as_mut(), &value).await? else {
                return Ok(None);
            };
            let (leadership, began) = (Arc::new(leadership), Instant::now());
            let term = self.lead(&leadership, work(Arc::clone(&leadership)), shutdown.as_mut());
            let has_failed = match term.await {
                TermEnd::Lost(lost) => {
                    info!(path = self.path(), reason = %lost.reason, "leadership lost; standing again");
                    continue;
                }
                TermEnd::Worked(ControlFlow::Break(output)) => {
                    self.hand_over(leadership).await;
                    return Ok(Some(output));
                }
                TermEnd::Shutdown => {
                    self.hand_over(leadership).await;
                    return Ok(None);
                }
                TermEnd::Worked(ControlFlow::Continue(())) => began.elapsed() < SOON,
                TermEnd::NeverReady => {
                    warn!(path = self.path(), "the leader was not ready in time; resigning");
                    true
                }
                TermEnd::Outranked => {
                    info!(path = self.path(), "making way to a candidate of higher rank");
                    false
                }
            };
            self.hand_over(leadership).await;
            failures = if has_failed { failures + 1 } else { 0 };
            if self.pause(failures, shutdown.as_mut()).await?.is_break() {
                return Ok(None);
            }
        }
    }

    /// Campaigns; `None` after the shutdown, and then the candidate is gone, unless the link is dead.
    async fn campaign_until<S: Future<Output = ()>>(
        &self,
        shutdown: Pin<&mut S>,
        value: &Bytes,
    ) -> Result<Option<Leadership>, Error> {
        let zk = self.line.zk();
        let won = until(zk, shutdown, |cleanup| async move {
            self.campaign_with(value.clone(), Some(&cleanup)).await
        });
        match won.await {
            // Refused because of the shutdown.
            Err(Error::Closed) if zk.draining().has_begun() => Ok(None),
            won => won,
        }
    }

    /// Runs `work` until something ends the term, and drops it then.
    async fn lead<S: Future<Output = ()>, B>(
        &self,
        leadership: &Leadership,
        work: impl Future<Output = ControlFlow<B>>,
        shutdown: Pin<&mut S>,
    ) -> TermEnd<B> {
        let worked = tokio::select! {
            biased;
            reason = leadership.lost() => return TermEnd::Lost(Lost { reason }),
            () = shutdown => return TermEnd::Shutdown,
            () = self.never_ready(leadership) => return TermEnd::NeverReady,
            () = self.outranked(leadership) => return TermEnd::Outranked,
            flow = work => flow,
        };
        match leadership.check() {
            Ok(()) => TermEnd::Worked(worked),
            Err(lost) => TermEnd::Lost(lost),
        }
    }

    /// Ends when the leader should be ready and is not.
    async fn never_ready(&self, leadership: &Leadership) {
        let Some(limit) = self.options.ready_within else {
            return pending().await;
        };
        if self.line.zk().timeout(limit, leadership.became_ready()).await.is_some() {
            pending::<()>().await;
        }
    }

    /// Ends when a candidate of higher rank has asked, and the grace is over.
    async fn outranked(&self, leadership: &Leadership) {
        // The loss is looked at by itself.
        if leadership.outranked().await.is_ok() {
            let grace = self.options.rank.grace;
            self.line.zk().timeout(grace, pending::<()>()).await;
        } else {
            pending::<()>().await;
        }
    }

    /// Resigns. The work was done while leading; that the end came too late takes nothing from it.
    async fn hand_over(&self, leadership: Arc<Leadership>) {
        let Some(leadership) = Arc::into_inner(leadership) else {
            return debug!(
                path = self.path(),
                "the work is done, but a clone of its leadership is kept"
            );
        };
        if let Err(ReleaseError::Error(error)) = leadership.resign().await {
            warn!(
                path = self.path(),
                error = &error as &dyn std::error::Error,
                "could not resign"
            );
        }
    }

    /// Waits after as many failures in sequence; breaks at the shutdown.
    async fn pause<S: Future<Output = ()>>(
        &self,
        failures: u32,
        shutdown: Pin<&mut S>,
    ) -> Result<ControlFlow<()>, Error> {
        let pause = pause_after(failures, self.options.backoff, fastrand::f64());
        if pause.is_zero() {
            return Ok(ControlFlow::Continue(()));
        }
        info!(
            path = self.path(),
            failures,
            ?pause,
            "the leader has failed; standing again after a pause"
        );
        let _pausing = self.leading.back_off(failures, pause);
        let paused = async {
            let session = self.line.zk().session().await?;
            // The end of the session is seen by the next campaign.
            let _ = session.sleep(pause).await;
            Ok(ControlFlow::Continue(()))
        };
        tokio::select! {
            biased;
            () = shutdown => Ok(ControlFlow::Break(())),
            paused = paused => paused,
        }
    }
}

/// The pause after `failures` in sequence: between a half and the whole of a length that doubles. With full jitter, which
/// may be nothing, a lone candidate could campaign as fast as the ensemble answers.
fn pause_after(failures: u32, (first, longest): (Duration, Duration), random: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let length = first.saturating_mul(1 << doublings.min(20)).min(longest);
    length.mul_f64(0.5 + random / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = |failures, random| pause_after(failures, (2 * SECOND, 60 * SECOND), random);
        assert_eq!(pause(0, 0.5), Duration::ZERO);
        assert_eq!((pause(1, 0.0), pause(1, 1.0)), (SECOND, 2 * SECOND));
        assert_eq!((pause(4, 0.0), pause(4, 1.0)), (8 * SECOND, 16 * SECOND));
        assert_eq!(pause(u32::MAX, 1.0), 60 * SECOND);
    }

    #[test]
    fn the_shortest_pauses_allow_five_terms_a_minute() {
        let mut at = Duration::ZERO;
        let terms = (1..).take_while(|failures| {
            let begins = at;
            at += pause_after(*failures, (4 * SECOND, 60 * SECOND), 0.0);
            begins < 60 * SECOND
        });
        assert_eq!(terms.count(), 5);
    }
}
