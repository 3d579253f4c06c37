//! What is asked as soon as the node ahead of a contender is gone or has changed.
//!
//! The watch's own task asks, on the session's runtime: the request is on its way before the waiter, on another thread, is
//! awake. The waiter may look at the answer at any time: it is younger than the event, and no contender joins ahead of one
//! that it shows.

use std::future::Future;
use std::sync::Arc;

use futures::future::{self, BoxFuture};
use tracing::{Instrument, Span};

use super::contender::{Enrolled, Purpose};
use super::places::Places;
use crate::session::{End, Interrupted, Session};
use crate::znode::WatchOutcome;

/// What the watch on the node ahead has brought.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) told: WatchOutcome,
    /// The answer to the list that was asked for right then; none in a long line, where the mark of the head may serve.
    pub(super) listed: Option<Result<Arc<Places>, Interrupted>>,
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

impl Enrolled<'_> {
    /// What the watch on the node ahead does once it is told of a deletion or a change.
    pub(super) fn wake_up(
        &self,
        purpose: Purpose,
    ) -> impl FnOnce(WatchOutcome) -> BoxFuture<'static, Woken> + Send + 'static {
        let (session, end) = (Arc::clone(self.node.session()), Arc::clone(self.node.end()));
        let (state, path, span) = (Arc::clone(&self.state), self.line.path.clone(), Span::current());
        move |told| {
            let asked = async move {
                // A long list is decoded by its waiter, not on the thread of the heartbeats.
                let listed = match state.is_long() {
                    true => None,
                    false => Some(beside_proof(&session, &end, purpose, state.list(&session, &path)).await),
                };
                Woken { told, listed }
            };
            Box::pin(asked.instrument(span))
        }
    }
}
