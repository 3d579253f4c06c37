//! What every call with a limit has in common: one deadline for all of it.

use std::future::Future;
use std::time::Duration;

use tokio::time;
use tracing::debug;

use crate::session::{Removal, Witness};

/// How much longer than its deadline a timed call may take to see its nodes removed.
pub(crate) const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

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
