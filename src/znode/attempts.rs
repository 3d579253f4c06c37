//! As many sessions as it takes, and one deadline for all of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::error::{Error, TimeoutError};
use crate::session::{CleanupToken, CleanupWait, Coordinator, Interrupted, Session};

/// How much longer than its deadline a timed call may take to see its nodes removed.
pub(crate) const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

/// Makes `attempt` in one session after the other until one of them sees it through.
pub(crate) async fn retry_across_sessions<T, E: From<Error>, F: Future<Output = Result<T, Interrupted<E>>>>(
    zk: &Coordinator,
    // Not an `AsyncFn`: the future of one that borrows is not known to be `Send` (rust-lang/rust#110338).
    attempt: impl Fn(Arc<Session>) -> F,
) -> Result<T, E> {
    loop {
        let session = zk.session().await?;
        match attempt(session).await {
            Ok(value) => return Ok(value),
            // A failure that stems from the end of the coordinator is reported as that.
            Err(Interrupted::Failed(error)) => return Err(zk.ended().map_or(error, E::from)),
            Err(Interrupted::Lost(lost)) => {
                debug!(reason = %lost.reason, "the attempt ended with its session; trying again");
            }
        }
    }
}

/// As [`retry_across_sessions`], where the attempt comes to own so many nodes at or below `path`: in sessions that have
/// room for them. Once the coordinator is being shut down, nothing more is taken.
pub(crate) async fn place_across_sessions<T, E: From<Error>, F: Future<Output = Result<T, Interrupted<E>>>>(
    zk: &Coordinator,
    place: (&str, usize),
    attempt: impl Fn(Arc<Session>) -> F,
) -> Result<T, E> {
    zk.unless_draining(place_in_one(zk, place, attempt)).await
}

async fn place_in_one<T, E: From<Error>, F: Future<Output = Result<T, Interrupted<E>>>>(
    zk: &Coordinator,
    (path, nodes): (&str, usize),
    attempt: impl Fn(Arc<Session>) -> F,
) -> Result<T, E> {
    loop {
        let room = zk.place(path, nodes).await?;
        match attempt(Arc::clone(room.session())).await {
            Ok(value) => return Ok(value),
            // A failure that stems from the end of the coordinator is reported as that.
            Err(Interrupted::Failed(error)) => return Err(zk.ended().map_or(error, E::from)),
            Err(Interrupted::Lost(lost)) => {
                debug!(reason = %lost.reason, "the attempt ended with its session; trying again");
            }
        }
    }
}

/// Gives `acquire` until `limit`; then `None`, and no node is left that was registered with its token, unless the link is
/// dead, in which case the reaper has it.
pub(crate) async fn with_deadline<T, E, F: Future<Output = Result<T, E>>>(
    zk: &Coordinator,
    limit: Duration,
    acquire: impl FnOnce(CleanupToken) -> F,
) -> Result<Option<T>, E> {
    let (cleanup, removal) = CleanupWait::new();
    if let Some(acquired) = zk.timeout(limit, acquire(cleanup)).await {
        return acquired.map(Some);
    }
    withdrawn(zk, removal).await;
    Ok(None)
}

/// As [`with_deadline`], until `end`.
pub(crate) async fn until<T, E, F: Future<Output = Result<T, E>>>(
    zk: &Coordinator,
    end: impl Future<Output = ()>,
    acquire: impl FnOnce(CleanupToken) -> F,
) -> Result<Option<T>, E> {
    let (cleanup, removal) = CleanupWait::new();
    tokio::select! {
        biased;
        () = end => {}
        acquired = acquire(cleanup) => return acquired.map(Some),
    }
    withdrawn(zk, removal).await;
    Ok(None)
}

/// Waits until what an acquire that was given up has left is removed.
async fn withdrawn(zk: &Coordinator, mut removal: CleanupWait) {
    if zk.timeout(WITHDRAWAL_GRACE, removal.finished()).await.is_none() {
        debug!("given up; what is left is left to the reaper");
    }
}

/// What a call about `path` is told when its time is up.
pub(crate) fn elapsed<E>(zk: &Coordinator, path: &str, after: Duration) -> TimeoutError<E> {
    TimeoutError::Elapsed {
        path: path.to_owned(),
        after,
        connected: zk.is_connected(),
    }
}
