//! The end of a coordinator in good order: nothing more is taken, work is finished, all is given back.

use std::future::Future;
use std::time::Duration;

use futures::future;
use tokio::sync::watch;

use super::coordinator::Coordinator;
use super::moment::Moment;
use crate::error::Error;

/// Whether the coordinator is being shut down, and what has to be finished before.
#[derive(Debug)]
pub(crate) struct Draining {
    begun: watch::Sender<bool>,
    /// How many pieces of work are to be finished that no held node shows.
    unfinished: watch::Sender<usize>,
}

/// A piece of work that a shutdown waits for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(watch::Sender<usize>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Default for Draining {
    fn default() -> Self {
        Self {
            begun: watch::Sender::new(false),
            unfinished: watch::Sender::new(0),
        }
    }
}

impl Draining {
    pub(crate) fn begin(&self) {
        self.begun.send_replace(true);
    }

    pub(crate) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Resolves once it has begun, or the coordinator is gone.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let mut begun = self.begun.subscribe();
        async move {
            let _ = begun.wait_for(|begun| *begun).await;
        }
    }

    /// Counts a piece of work that is to be finished.
    pub(crate) fn unfinished(&self) -> Unfinished {
        self.unfinished.send_modify(|count| *count += 1);
        Unfinished(self.unfinished.clone())
    }

    /// Waits until all of it is finished.
    pub(crate) async fn finished(&self) {
        // An error is impossible: the sender is borrowed.
        let _ = self.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// How a [`Coordinator::shutdown`] went.
///
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) {
/// let report = zk.shutdown(std::time::Duration::from_secs(10)).await;
/// if !report.is_finished {
///     println!("work was dropped after {:?}", report.took);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Whether all work under holds came to its end by itself. Otherwise its holds were lost with
    /// [`LossReason::Closed`](crate::LossReason::Closed).
    pub is_finished: bool,
    /// Whether the ensemble has confirmed the end of every session that owns nodes. Otherwise what is left goes when the session
    /// expires.
    pub is_closed: bool,
    /// How long it took.
    pub took: Duration,
}

impl Coordinator {
    /// Shuts all recipes of this coordinator down in good order, within `bound`:
    ///
    /// 1. *Stop taking*. Calls that wait for a lock, a permit, a leadership, a turn, a barrier or an item of a queue fail with
    ///    [`Error::Closed`], as new ones do; their places in line are given up. Workers begin nothing more. Leaders under
    ///    [`run`](crate::LeaderElection::run) resign once the run of a [`Schedule`](crate::Schedule) that goes on is
    ///    finished. [`shutting_down`](Self::shutting_down) resolves, for loops of your own.
    /// 2. *Finish*. Guards and deliveries are waited for until they are given back. Work may read and write meanwhile. A
    ///    third of the bound, or a third of the session timeout where that is less, is kept for the next step.
    /// 3. *Close*, as [`close`](Self::close) does. What is still held is lost, so that `run` and `run_until_lost` drop
    ///    their work.
    ///
    /// With a connection, the next contender is granted as soon as the work is done. Without one this returns when the
    /// bound is over, and others wait until the session expires.
    ///
    /// Await what was started before the process exits: this returns when the ensemble has everything back, not when
    /// your tasks have ended. **[`std::process::exit`] and SIGKILL shut nothing down.**
    ///
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let serving = tokio::spawn(serve(zk.clone()));
    /// tokio::signal::ctrl_c().await?;
    /// zk.shutdown(Duration::from_secs(10)).await;
    /// serving.await?;
    /// # async fn serve(_: zookeeper_recipes::Coordinator) {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Once polled, the shutdown goes on if the future is dropped.
    pub async fn shutdown(self, bound: Duration) -> ShutdownReport {
        let runtime = self.runtime().clone();
        let began = Moment::now();
        let report = runtime.spawn(self.shut_down_within(bound)).await;
        // An error means that the runtime was shut down, and with it every session has ended.
        report.unwrap_or(ShutdownReport {
            is_finished: false,
            is_closed: false,
            took: Moment::now() - began,
        })
    }

    async fn shut_down_within(self, bound: Duration) -> ShutdownReport {
        let began = Moment::now();
        self.draining().begin();
        let reserve = (self.session_timeout() / 3).min(bound / 3);
        let finished = self.timeout(bound - reserve, self.finished()).await;
        let left = bound.saturating_sub(Moment::now() - began);
        let closed = self.timeout(left, self.close_confirmed()).await;
        ShutdownReport {
            is_finished: finished.is_some(),
            is_closed: closed == Some(true),
            took: Moment::now() - began,
        }
    }

    /// Waits until nothing is held any more, and nothing is to be finished.
    async fn finished(&self) {
        self.draining().finished().await;
        let sessions = self.sessions_in_use();
        let ends = sessions.iter().map(|session| session.registry().nothing_held());
        future::join_all(ends).await;
    }

    /// Resolves when the coordinator is being shut down or closed, for loops of your own: begin nothing more, and give
    /// back what you hold.
    ///
    /// ```no_run
    /// # async fn example(zk: zookeeper_recipes::Coordinator) {
    /// let mut shutting_down = std::pin::pin!(zk.shutting_down());
    /// loop {
    ///     tokio::select! {
    ///         () = &mut shutting_down => break,
    ///         () = one_piece_of_work() => {}
    ///     }
    /// }
    /// # async fn one_piece_of_work() {}
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn shutting_down(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.draining().begun()
    }

    /// Waits for `taking`, unless the coordinator is being shut down: nothing more is taken then.
    pub(crate) async fn unless_draining<T, E: From<Error>>(
        &self,
        taking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if self.draining().has_begun() {
            return Err(self.ended().unwrap_or(Error::Closed).into());
        }
        tokio::select! {
            biased;
            taken = taking => taken,
            () = self.draining().begun() => Err(self.ended().unwrap_or(Error::Closed).into()),
        }
    }
}
