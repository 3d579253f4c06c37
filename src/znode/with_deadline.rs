//! What every call with a limit has in common: one deadline for all of it.

use std::future::Future;
use std::time::Duration;

use tokio::time;
use tracing::debug;

use crate::session::{CleanupToken, CleanupWait};

/// How much longer than its deadline a timed call may take to see its nodes removed.
pub(crate) const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

/// Gives `acquire` until `limit`; then `None`, and no node is left that was registered with its token, unless the link is
/// dead, in which case the reaper has it.
pub(crate) async fn with_deadline<T, E, F: Future<Output = Result<T, E>>>(
    limit: Duration,
    acquire: impl FnOnce(CleanupToken) -> F,
) -> Result<Option<T>, E> {
    let (cleanup, mut removal) = CleanupWait::new();
    if let Ok(acquired) = time::timeout(limit, acquire(cleanup)).await {
        return acquired.map(Some);
    }
    if time::timeout(WITHDRAWAL_GRACE, removal.finished()).await.is_err() {
        debug!("timed out; what is left is left to the reaper");
    }
    Ok(None)
}
