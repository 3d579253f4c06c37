//! As many sessions as it takes.

use std::future::Future;
use std::sync::Arc;

use tracing::debug;

use super::ephemeral::Interrupted;
use crate::error::Error;
use crate::session::{Coordinator, Session};

/// Makes `attempt` in one session after the other until one of them sees it through.
pub(crate) async fn persevere<T, Fut>(
    coordinator: &Coordinator,
    // Not an `AsyncFn`: the futures of its callers would not be `Send` where they are spawned (rust-lang/rust#110338).
    mut attempt: impl FnMut(Arc<Session>) -> Fut,
) -> Result<T, Error>
where
    Fut: Future<Output = Result<T, Interrupted>>,
{
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
