//! The guardian: a task that watches our own node, so that its removal by an operator ends the hold, and that tells when
//! its data was changed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tracing::warn;

use super::super::request::{own_stat, sync};
use super::super::watch::{PlacedWatch, WatchOutcome};
use super::version::SeenVersion;
use crate::session::{End, Interrupted, LossReason, Session, WatchedFor};

/// How long a hold goes unwatched. What is shorter costs no watch.
const MOMENT: Duration = Duration::from_millis(20);

/// Pause after a refused watch, which only a change of ACLs can cause.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Watches `path` until `end` is reached, and publishes the version of its data. The first request is sent before this
/// returns, so that it precedes whatever the caller sends next.
pub(super) fn spawn(session: &Arc<Session>, path: String, end: Arc<End>, version: SeenVersion) {
    let mut guardian = Box::pin(watch(Arc::clone(session), path, end, version));
    if guardian.as_mut().now_or_never().is_none() {
        session.runtime().spawn(guardian);
    }
}

/// As [`spawn`], after a moment: a node that is removed by then costs no request.
pub(super) fn spawn_soon(session: &Arc<Session>, path: String, end: Arc<End>, version: SeenVersion) {
    let owner = Arc::clone(session);
    session.runtime().spawn(async move {
        // Not cut short by a release, which would have to wake this task only to end it.
        tokio::time::sleep(MOMENT).await;
        watch(owner, path, end, version).await;
    });
}

async fn watch(session: Arc<Session>, path: String, end: Arc<End>, version: SeenVersion) {
    while end.reason().is_none() {
        match watch_once(&session, &path, &end, &version).await {
            Ok(()) => {}
            Err(Interrupted::Lost(_)) => return,
            Err(Interrupted::Failed(error)) => {
                warn!(error = &error as &dyn std::error::Error, "cannot watch our own node");
                if Box::pin(session.sleep(REFUSED_PAUSE)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Watches the node until it is gone, which sets its end, or until it is to be looked at again.
async fn watch_once(session: &Arc<Session>, path: &str, end: &End, version: &SeenVersion) -> Result<(), Interrupted> {
    // A release does not interrupt the request: the watch is used up by the delete, while taking it back would cost one
    // more request.
    // Boxed, as below, since what waits for months is to be small.
    let seen = Box::pin(PlacedWatch::set(session, path, WatchedFor::Hold)).await?;
    if let Some((stat, watch)) = seen.filter(|(stat, _)| stat.ephemeral_owner == session.id()) {
        if watch.is_elsewhere() && version.get() != stat.version {
            // A reader of the new version asks the owner.
            Box::pin(sync(session, path)).await?;
        }
        version.set(stat.version);
        if let WatchOutcome::Deleted = watch.outcome(session).await {
            removed(path, end);
        }
        return Ok(());
    }
    // Another session may have seen it: the owner has the last word.
    if end.reason().is_none() && Box::pin(own_stat(session, path)).await?.is_none() {
        removed(path, end);
    }
    Ok(())
}

fn removed(path: &str, end: &End) {
    if end.set(LossReason::NodeRemoved) && !end.is_deliberate() {
        warn!(path, "our node was removed by an operator or another client");
    }
}
