//! The guardian: a task that watches our own node, so that its removal by somebody else ends the hold, and that tells
//! when somebody changed its data.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tracing::{debug, warn};
use zookeeper_client as zk;

use crate::session::{End, LossReason, ReplyStatus, Session, classify};

/// How long a hold goes unwatched. What is shorter costs no watch.
const MOMENT: Duration = Duration::from_millis(20);

/// Pause after a refused watch, which only a change of ACLs can cause.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Watches `path` until `end` is reached, and publishes the version of its data. The first request is sent before this
/// returns, so that it precedes whatever the caller sends next.
pub(in crate::znode) fn spawn(session: &Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    let mut guardian = Box::pin(watch(Arc::clone(session), path, end, version));
    if guardian.as_mut().now_or_never().is_none() {
        session.runtime().spawn(guardian);
    }
}

/// As [`spawn`], after a moment: a node that is removed by then costs no request.
pub(in crate::znode) fn spawn_soon(session: &Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    let guardian = watch(Arc::clone(session), path, end, version);
    session.runtime().spawn(async move {
        // Not cut short by a release, which would have to wake this task only to end it.
        tokio::time::sleep(MOMENT).await;
        guardian.await;
    });
}

async fn watch(session: Arc<Session>, path: String, end: Arc<End>, version: watch::Sender<i32>) {
    while end.reason().is_none() {
        let Ok(client) = session.client() else { return };
        let answer = tokio::select! {
            // The request goes out with the first poll, so it comes first. A release does not interrupt it: the
            // watch is used up by the delete, while taking it back would cost one more request.
            biased;
            answer = client.check_and_watch_stat(&path) => answer,
            _ = session.ended() => return,
        };
        drop(client);
        match answer {
            Ok((Some(stat), _)) if stat.ephemeral_owner != session.id() => return removed(&path, &end),
            Ok((Some(stat), watcher)) => {
                version.send_if_modified(|seen| std::mem::replace(seen, stat.version) != stat.version);
                match watcher.changed().await.event_type {
                    zk::EventType::NodeDeleted => return removed(&path, &end),
                    zk::EventType::Session => return,
                    _ => {}
                }
            }
            Ok((None, _)) => return removed(&path, &end),
            Err(error) if classify(&error) == ReplyStatus::Refused => {
                warn!(path, %error, "cannot watch our own node");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Err(error) => {
                debug!(path, %error, "watch on our own node is set again");
                session.pause_before_retry().await;
            }
        }
    }
}

fn removed(path: &str, end: &End) {
    if end.set(LossReason::NodeRemoved) && !end.is_deliberate() {
        warn!(path, "our node was removed by somebody else");
    }
}
