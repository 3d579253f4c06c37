//! The guardian: a task that watches our own node, so that its removal by an operator ends the hold, and that tells when
//! its data was changed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tracing::warn;
use zookeeper_client as zk;

use super::super::request::stat_and_watcher;
use crate::session::{End, Interrupted, LossReason, Session};

/// How long a hold goes unwatched. What is shorter costs no watch.
const MOMENT: Duration = Duration::from_millis(20);

/// Pause after a refused watch, which only a change of ACLs can cause.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Watches `path` until `end` is reached, and publishes the version of its data. The first request is sent before this
/// returns, so that it precedes whatever the caller sends next.
pub(super) fn spawn(session: &Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    let mut guardian = Box::pin(watch(Arc::clone(session), path, end, version));
    if guardian.as_mut().now_or_never().is_none() {
        session.runtime().spawn(guardian);
    }
}

/// As [`spawn`], after a moment: a node that is removed by then costs no request.
pub(super) fn spawn_soon(session: &Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    let guardian = watch(Arc::clone(session), path, end, version);
    session.runtime().spawn(async move {
        // Not cut short by a release, which would have to wake this task only to end it.
        tokio::time::sleep(MOMENT).await;
        guardian.await;
    });
}

async fn watch(session: Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    while end.reason().is_none() {
        // A release does not interrupt the request: the watch is used up by the delete, while taking it back would cost
        // one more request.
        match stat_and_watcher(&session, &path).await {
            Ok((Some(stat), watcher)) if stat.ephemeral_owner == session.id() => {
                version.send_if_modified(|seen| std::mem::replace(seen, stat.version) != stat.version);
                match watcher.changed().await.event_type {
                    zk::EventType::NodeDeleted => return removed(&path, &end),
                    zk::EventType::Session => return,
                    _ => {}
                }
            }
            Ok(_) => return removed(&path, &end),
            Err(Interrupted::Lost(_)) => return,
            Err(Interrupted::Failed(error)) => {
                warn!(error = &error as &dyn std::error::Error, "cannot watch our own node");
                if session.sleep(REFUSED_PAUSE).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn removed(path: &str, end: &End) {
    if end.set(LossReason::NodeRemoved) && !end.is_deliberate() {
        warn!(path, "our node was removed by an operator or another client");
    }
}
