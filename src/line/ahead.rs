//! [`Ahead`]: the contender that an acquire waits behind, for the error that tells of it when the time is up.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{AcquireTimeoutError, Contender, Line};
use crate::error::Error;
use crate::session::{CleanupToken, Coordinator, lock};
use crate::znode::{Hold, WITHDRAWAL_GRACE, retry_across_sessions, with_deadline};

/// The path of the contender that one acquire waited behind last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    path: Arc<Mutex<Option<String>>>,
}

impl Ahead {
    pub(super) fn set(&self, path: Option<String>) {
        *lock(&self.path) = path;
    }

    /// What an acquire is told when its time is up: two more requests, if there is a connection and a blocker.
    pub(crate) async fn elapsed(
        &self,
        zk: &Coordinator,
        lines: &[Line],
        path: &str,
        after: Duration,
        began: Instant,
    ) -> AcquireTimeoutError {
        // A link that is silently dead has used up the grace already.
        let left = (after + WITHDRAWAL_GRACE).saturating_sub(began.elapsed());
        let connected = zk.is_connected();
        let ahead = lock(&self.path).clone();
        let line = |ahead: &String| lines.iter().find(|line| is_parent(line.path.as_str(), ahead));
        let blocker = match ahead
            .as_ref()
            .filter(|_| connected)
            .and_then(|ahead| Some((line(ahead)?, ahead)))
        {
            Some((line, ahead)) => zk.timeout(left, look_at(zk, line, ahead)).await.flatten(),
            None => None,
        };
        let path = path.to_owned();
        AcquireTimeoutError::Elapsed {
            path,
            after,
            connected,
            blocker: blocker.map(Box::new),
        }
    }
}

/// Runs `acquire` for at most `limit`. When the time is up, the error tells whom it waited for in one of `lines`.
pub(super) async fn acquire_within<F: Future<Output = Result<Hold, Error>>>(
    zk: &Coordinator,
    lines: &[Line],
    path: &str,
    limit: Duration,
    acquire: impl FnOnce(Ahead, CleanupToken) -> F,
) -> Result<Hold, AcquireTimeoutError> {
    let (ahead, began) = (Ahead::default(), Instant::now());
    match with_deadline(zk, limit, |cleanup| acquire(ahead.clone(), cleanup)).await? {
        Some(hold) => Ok(hold),
        None => Err(ahead.elapsed(zk, lines, path, limit, began).await),
    }
}

async fn look_at(zk: &Coordinator, line: &Line, ahead: &str) -> Option<Contender> {
    let looked = retry_across_sessions(zk, |session| async move { line.contender_at(&session, ahead).await });
    // What cannot be read is not told.
    looked.await.ok().flatten()
}

fn is_parent(directory: &str, path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(parent, _)| parent == directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_waited_for_last_is_remembered() {
        let ahead = Ahead::default();
        let noted = ahead.clone();
        ahead.set(Some("/l/a".to_owned()));
        ahead.set(Some("/l/b".to_owned()));
        assert_eq!(lock(&noted.path).as_deref(), Some("/l/b"));
    }

    #[test]
    fn a_contender_stands_in_its_own_directory_alone() {
        assert!(is_parent("/l", "/l/c") && is_parent("/l/m", "/l/m/c"));
        assert!(!is_parent("/l", "/l/m/c") && !is_parent("/l", "/ll/c") && !is_parent("/l", "c"));
    }
}
