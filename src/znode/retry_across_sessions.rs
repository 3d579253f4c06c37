//! As many sessions as it takes.

use std::future::Future;
use std::sync::Arc;

use tracing::debug;

use super::ephemeral::Interrupted;
use crate::error::Error;
use crate::session::{Coordinator, Session};

/// Makes `attempt` in one session after the other until one of them sees it through.
pub(crate) async fn retry_across_sessions<T, F: Future<Output = Result<T, Interrupted>>>(
    zk: &Coordinator,
    // Not an `AsyncFn`: the future of one that borrows is not known to be `Send` (rust-lang/rust#110338).
    attempt: impl Fn(Arc<Session>) -> F,
) -> Result<T, Error> {
    loop {
        let session = zk.session().await?;
        match attempt(session).await {
            Ok(value) => return Ok(value),
            // A failure that stems from the end of the coordinator is reported as that.
            Err(Interrupted::Failed(error)) => return Err(zk.ended().unwrap_or(error)),
            Err(Interrupted::Lost(lost)) => debug!(reason = %lost.reason, "lost what was under way; beginning again"),
        }
    }
}
