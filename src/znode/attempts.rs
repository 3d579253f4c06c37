//! What every call that waits has in common: as many sessions as it takes, and one deadline for all of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time;
use tracing::debug;

use super::ephemeral::Interrupted;
use crate::error::Error;
use crate::session::{Coordinator, Removal, Session, Witness};

/// How much longer than its deadline a timed call may take to see its nodes removed.
const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

/// Makes `attempt` in one session after the other until one of them sees it through.
pub(crate) async fn persevere<T, F: Future<Output = Result<T, Interrupted>>>(
    coordinator: &Coordinator,
    // Not an `AsyncFn`: the future of one that borrows is not known to be `Send` (rust-lang/rust#110338).
    attempt: impl Fn(Arc<Session>) -> F,
) -> Result<T, Error> {
    loop {
        let session = coordinator.session().await?;
        match attempt(session).await {
            Ok(value) => return Ok(value),
            // A failure that stems from the end of the coordinator is reported as that.
            Err(Interrupted::Failed(error)) => return Err(coordinator.ended().unwrap_or(error)),
            Err(Interrupted::Lost(lost)) => debug!(reason = %lost.reason, "lost what was under way; beginning again"),
        }
    }
}

/// Gives `acquire` until `limit`; then `None`, and no node is left that was made with its witness, unless the link is
/// dead, in which case the reaper has it.
pub(crate) async fn in_time<T, E, F: Future<Output = Result<T, E>>>(
    limit: Duration,
    acquire: impl FnOnce(Witness) -> F,
) -> Result<Option<T>, E> {
    let (witness, mut removal) = Removal::new();
    if let Ok(acquired) = time::timeout(limit, acquire(witness)).await {
        return acquired.map(Some);
    }
    if time::timeout(WITHDRAWAL_GRACE, removal.finished()).await.is_err() {
        debug!("timed out; what is left is left to the reaper");
    }
    Ok(None)
}
