//! What a session is going through, and how a hold learns that it is over.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Sleep;

use super::moment::Moment;
use crate::error::classify;

/// State of a [`Coordinator`](crate::Coordinator)'s session, for display and logging.
///
/// No hold depends on it: a guard that is [`Suspended`](Self::Suspended) holds on while its lease runs, and a guard
/// says for itself when it is lost ([`Hold::lost`](crate::Hold::lost)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum SessionState {
    /// The first session is being opened, see [`ConnectOptions::lazy`](crate::ConnectOptions::lazy).
    Connecting,
    /// The session is connected to a server.
    Connected,
    /// The connection is lost and being replaced; the session may still be alive.
    Suspended,
    /// The session is over. A new one is being opened; waiters will join it, holds are lost.
    Lost,
    /// The coordinator was closed, or gave up because its credentials were refused. Nothing follows.
    Closed,
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Suspended => "suspended",
            Self::Lost => "lost",
            Self::Closed => "closed",
        })
    }
}

/// Why a hold ended without being released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// The ensemble expired the session, or put another one in its place.
    SessionExpired,
    /// No quorum of the ensemble confirmed the session in time, so that it may have expired.
    LeaseLapsed,
    /// An operator or another client deleted the node of this hold, or the server closed its session while the client was
    /// connected: then the news of the node comes first, and the loss is told at once, not when its cause is known.
    NodeRemoved,
    /// Another contender asked for the place, and the holder gave it up for that
    /// ([`FairLock::run_revocable`](crate::FairLock::run_revocable)).
    Revoked,
    /// The coordinator was closed.
    Closed,
    /// The session was given up, because one of its nodes may not be deleted: its ACL denies DELETE on the directory. The
    /// end of the session removes that node, and all others.
    GivenUp,
    /// The guard itself was released or dropped; seen by a kept [`LostSignal`] of it.
    Released,
}

impl LossReason {
    /// The label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::SessionExpired => "session_expired",
            Self::LeaseLapsed => "lease_lapsed",
            Self::NodeRemoved => "node_removed",
            Self::Revoked => "revoked",
            Self::Closed => "closed",
            Self::GivenUp => "given_up",
            Self::Released => "released",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionExpired => "the session expired",
            Self::LeaseLapsed => "the lease lapsed before the ensemble confirmed the session again",
            Self::NodeRemoved => "the node was removed by an operator or another client, or its session was closed",
            Self::Revoked => "it was revoked",
            Self::Closed => "the coordinator was closed",
            Self::GivenUp => "the session was given up, because a node of it may not be deleted",
            Self::Released => "it was released",
        })
    }
}

/// The hold is lost: another contender may have it by now.
///
/// Stop the protected work; acquire again if it still has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hold lost: {reason}")]
pub struct Lost {
    /// Why it is lost.
    pub reason: LossReason,
}

classify!(Lost, lost => Nature { is_lost: true, is_closed: lost.reason == LossReason::Closed, ..Nature::OTHER });

impl Lost {
    pub(crate) fn because(reason: LossReason) -> Self {
        Self { reason }
    }
}

/// A future that resolves when a hold ends, with the reason. Clones wait independently.
///
/// It resolves at the moment at which the ensemble may give the place away, not when it is known to have done so. It has
/// a timer of its own: it needs no other task to run, and may be polled outside a runtime.
///
/// # Examples
/// ```no_run
/// # async fn example(hold: zookeeper_recipes::Hold) -> Result<(), Box<dyn std::error::Error>> {
/// let lost = hold.lost();
/// if let Some(reason) = lost.reason() {
///     println!("lost already: {reason}");
/// }
/// println!("lost: {}", lost.await);
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct LostSignal {
    state: watch::Receiver<Option<LossReason>>,
    lease: Option<Arc<dyn Lease>>,
    waiting: Pin<Box<dyn Future<Output = LossReason> + Send + Sync>>,
}

/// What a hold rests on: a time that runs out unless it is prolonged.
pub(crate) trait Lease: Send + Sync {
    /// How long it lasts if it is not prolonged. A lease that is found to have run out ends what rests on it.
    fn remaining(&self) -> Duration;

    /// A timer, which the caller need not be on a runtime for.
    fn sleep(&self, pause: Duration) -> Sleep;
}

impl LostSignal {
    /// The reason, if the hold has ended already.
    pub fn reason(&self) -> Option<LossReason> {
        *self.state.borrow()
    }

    fn new(state: watch::Receiver<Option<LossReason>>, lease: Option<Arc<dyn Lease>>) -> Self {
        let waiting = Box::pin(ended(state.clone(), lease.clone()));
        Self { state, lease, waiting }
    }
}

async fn ended(mut state: watch::Receiver<Option<LossReason>>, lease: Option<Arc<dyn Lease>>) -> LossReason {
    loop {
        let remaining = lease.as_ref().map(|lease| lease.remaining());
        let look_again = async {
            match (&lease, remaining) {
                // One that has run out has ended what rests on it; what does not rest on it any more ends otherwise.
                (Some(lease), Some(remaining)) if !remaining.is_zero() => {
                    lease.sleep(remaining.max(SHORTEST_LOOK)).await;
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // An error means that the hold is gone, and with it what could end it otherwise.
            reason = state.wait_for(Option::is_some) => return reason.ok().and_then(|reason| *reason).unwrap_or(LossReason::Released),
            () = look_again => {}
        }
    }
}

/// The shortest time between two looks at a lease.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

impl Clone for LostSignal {
    fn clone(&self) -> Self {
        Self::new(self.state.clone(), self.lease.clone())
    }
}

impl fmt::Debug for LostSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LostSignal").field("reason", &self.reason()).finish()
    }
}

impl Future for LostSignal {
    type Output = LossReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LossReason> {
        self.waiting.as_mut().poll(cx)
    }
}

/// What the sessions of a coordinator go through, taken together: the worst of it.
#[derive(Debug)]
pub(crate) struct States {
    each: Mutex<BTreeMap<usize, SessionState>>,
    worst: watch::Sender<SessionState>,
    since: Mutex<Moment>,
}

impl States {
    pub(crate) fn new() -> (Self, watch::Receiver<SessionState>) {
        let (worst, receiver) = watch::channel(SessionState::Connecting);
        let (each, since) = (Mutex::default(), Mutex::new(Moment::now()));
        (Self { each, worst, since }, receiver)
    }

    /// Says what the session with this number, or its successor, goes through. The first one stands for the coordinator:
    /// its end is that of all.
    pub(crate) fn set(&self, number: usize, state: SessionState) {
        let mut each = lock(&self.each);
        match state {
            SessionState::Closed if number > 0 => each.remove(&number),
            state => each.insert(number, state),
        };
        let rank = |state: &SessionState| match state {
            SessionState::Connected => 0,
            SessionState::Suspended => 1,
            SessionState::Connecting => 2,
            SessionState::Lost => 3,
            SessionState::Closed => 4,
        };
        let worst = each.values().copied().max_by_key(rank);
        // Under the lock, so that the last word is that of the last change.
        let before = self.worst.send_replace(worst.unwrap_or(state));
        if before != *self.worst.borrow() {
            *lock(&self.since) = Moment::now();
        }
    }

    /// How long the worst of them has been what it is.
    pub(crate) fn since(&self) -> Duration {
        Moment::now() - *lock(&self.since)
    }
}

/// The end of one thing (a session, a node), set once: the first reason stands.
pub(crate) struct End {
    state: watch::Sender<Option<LossReason>>,
    deliberate: AtomicBool,
    /// Dropped when the end comes: a share in the lease of the session.
    share: Mutex<Option<Box<dyn Send + Sync>>>,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}

impl End {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(None),
            deliberate: AtomicBool::new(false),
            share: Mutex::new(None),
        }
    }

    /// Keeps `share` until the end, or until it is [taken back](Self::drop_share).
    pub(crate) fn keep(&self, share: impl Send + Sync + 'static) {
        *lock(&self.share) = Some(Box::new(share));
        if self.reason().is_some() {
            self.drop_share();
        }
    }

    pub(crate) fn drop_share(&self) {
        // Outside the lock: what is dropped may end other things.
        let share = lock(&self.share).take();
        drop(share);
    }

    /// Says whether we are about to bring it about ourselves, in a transaction that may yet be refused.
    pub(crate) fn mark_deliberate(&self, deliberate: bool) {
        self.deliberate.store(deliberate, Ordering::Relaxed);
    }

    pub(crate) fn is_deliberate(&self) -> bool {
        self.deliberate.load(Ordering::Relaxed)
    }

    /// Sets the reason; true if none was set before.
    pub(crate) fn set(&self, reason: LossReason) -> bool {
        let first = self.state.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(reason);
            first
        });
        if first {
            self.drop_share();
        }
        first
    }

    pub(crate) fn reason(&self) -> Option<LossReason> {
        *self.state.borrow()
    }

    /// The end as an error; a release where it has not ended.
    pub(crate) fn lost(&self) -> Lost {
        Lost::because(self.reason().unwrap_or(LossReason::Released))
    }

    /// A signal of the end, which comes with that of `lease` at the latest, where one is given.
    pub(crate) fn signal(&self, lease: Option<Arc<dyn Lease>>) -> LostSignal {
        LostSignal::new(self.state.subscribe(), lease)
    }

    /// Waits for the end.
    pub(crate) async fn reached(&self) -> LossReason {
        // An error is impossible: the sender is borrowed.
        let reached = self
            .state
            .subscribe()
            .wait_for(Option::is_some)
            .await
            .map_or(None, |reason| *reason);
        reached.unwrap_or(LossReason::Released)
    }
}

/// Locks also after a panic elsewhere: what the locks of this crate protect is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_first_reason_stands() {
        let end = End::new();
        assert!(end.signal(None).now_or_never().is_none());
        assert!(end.set(LossReason::NodeRemoved));
        assert!(!end.set(LossReason::SessionExpired));
        assert_eq!(end.signal(None).now_or_never(), Some(LossReason::NodeRemoved));
    }

    #[test]
    fn the_state_of_several_sessions_is_the_worst() {
        let (states, worst) = States::new();
        states.set(0, SessionState::Connected);
        states.set(1, SessionState::Lost);
        states.set(0, SessionState::Suspended);
        assert_eq!(*worst.borrow(), SessionState::Lost);
        states.set(1, SessionState::Closed);
        assert_eq!(*worst.borrow(), SessionState::Suspended);
        states.set(0, SessionState::Closed);
        assert_eq!(*worst.borrow(), SessionState::Closed);
    }

    #[test]
    fn a_state_is_shown_as_one_word() {
        let shown = [
            SessionState::Connecting,
            SessionState::Connected,
            SessionState::Suspended,
            SessionState::Lost,
            SessionState::Closed,
        ]
        .map(|state| format!("{state:>9}|"));
        assert_eq!(
            shown,
            ["connecting|", "connected|", "suspended|", "     lost|", "   closed|"]
        );
    }

    #[tokio::test]
    async fn a_signal_kept_past_its_hold_resolves() {
        let end = End::new();
        let signal = end.signal(None);
        drop(end);
        assert_eq!(signal.await, LossReason::Released);
    }
}
