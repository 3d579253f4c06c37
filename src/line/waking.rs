//! What is asked for as soon as the node that a contender waits behind is gone or has changed: on the session's runtime, so
//! that the request is on its way before the waiter, on another thread, is awake.

use std::future::Future;
use std::sync::Arc;

use futures::future::{self, BoxFuture};

use super::contender::{Enrolled, Purpose};
use super::line_state::LineState;
use super::places::Places;
use crate::session::{End, Interrupted, Session};
use crate::znode::WatchOutcome;

/// What was told of the node ahead, and the list that was asked for right then. None where the mark of the head may serve,
/// and where the request failed, as the waiter's own will.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) told: WatchOutcome,
    pub(super) listed: Option<Arc<Places>>,
}

impl Woken {
    pub(super) const UNKNOWN: Self = Self {
        told: WatchOutcome::Unknown,
        listed: None,
    };
}

/// Asks the server. Most likely the place is ours now: the proof that a hold needs goes out together with the question.
pub(super) async fn beside_proof<T>(
    session: &Arc<Session>,
    end: &End,
    purpose: Purpose,
    question: impl Future<Output = Result<T, Interrupted>>,
) -> Result<T, Interrupted> {
    match purpose {
        Purpose::Hold => {
            let (answer, proven) = future::join(question, session.prove(end)).await;
            proven?;
            answer
        }
        Purpose::Turnstile => question.await,
    }
}

/// Whether the mark of the head may spare a list; see `head_mark`.
fn looks_for_mark(state: &LineState, takes_marks: bool, told: WatchOutcome) -> bool {
    takes_marks && state.is_long() && told == WatchOutcome::Deleted
}

impl Enrolled<'_> {
    /// What the watch on the node ahead does when it tells.
    pub(super) fn wake_up(
        &self,
        purpose: Purpose,
    ) -> impl FnOnce(WatchOutcome) -> BoxFuture<'static, Woken> + Send + 'static {
        let (session, end) = (Arc::clone(self.node.session()), Arc::clone(self.node.end()));
        let (state, path, takes_marks) = (Arc::clone(&self.state), self.line.path.clone(), self.takes_marks());
        move |told| {
            Box::pin(async move {
                let listed = match looks_for_mark(&state, takes_marks, told) {
                    true => None,
                    false => {
                        let list = state.list(&session, &path);
                        beside_proof(&session, &end, purpose, list).await.ok()
                    }
                };
                Woken { told, listed }
            })
        }
    }

    pub(super) fn looks_for_mark(&self, told: WatchOutcome) -> bool {
        looks_for_mark(&self.state, self.takes_marks(), told)
    }
}
