//! [`Link`]: the connection of a session, what it has shown, and what is on its way.

use std::collections::BTreeMap;

use futures::FutureExt;
use zookeeper_client as zk;

/// Which connection this is, up to which one the session is known to be still the same, and the requests on it.
#[derive(Debug)]
pub(super) struct Link {
    states: zk::StateWatcher,
    connection: u64,
    verified: u64,
    next: u64,
    /// The requests without an answer, in the order in which they were sent, and the connection of each.
    unanswered: BTreeMap<u64, u64>,
    /// The latest connection on which a server has answered a request.
    answered: Option<u64>,
    /// The connection that broke last, and the request that was its oldest unanswered one.
    blamed: Option<(u64, u64)>,
}

impl Link {
    pub(super) fn new(states: zk::StateWatcher) -> Self {
        Self {
            states,
            connection: 0,
            verified: 0,
            next: 0,
            unanswered: BTreeMap::new(),
            // The opening of the session was an answer.
            answered: Some(0),
            blamed: None,
        }
    }

    /// Which connection the client is on. A change means that the session was re-attached, maybe to another one.
    pub(super) fn current(&mut self) -> u64 {
        while let Some(state) = self.states.changed().now_or_never() {
            self.connection += 1;
            if state.is_terminated() {
                break;
            }
        }
        self.connection
    }

    pub(super) fn is_up(&self) -> bool {
        self.states.peek_state() == zk::SessionState::SyncConnected
    }

    /// Whether the session is known to be ours on the current connection.
    pub(super) fn is_verified(&mut self) -> bool {
        self.current() == self.verified
    }

    pub(super) fn verify(&mut self, connection: u64) {
        self.verified = self.verified.max(connection);
    }

    /// Whether a server has answered on the current connection.
    pub(super) fn has_answered(&mut self) -> bool {
        Some(self.current()) == self.answered
    }

    /// A request is about to be sent: its number and its connection.
    pub(super) fn begin(&mut self) -> (u64, u64) {
        let (number, connection) = (self.next, self.current());
        self.next += 1;
        self.unanswered.insert(number, connection);
        (number, connection)
    }

    /// The request was answered.
    pub(super) fn answered(&mut self, number: u64, connection: u64) {
        self.unanswered.remove(&number);
        self.answered = self.answered.max(Some(connection));
    }

    /// The connection broke under the request; says whether that is put down to it. The others that fail with it, in
    /// whatever order they notice, are not blamed.
    pub(super) fn broke(&mut self, number: u64, connection: u64) -> bool {
        let known = self.blamed.filter(|(broken, _)| *broken == connection);
        let (_, oldest) = known.unwrap_or_else(|| {
            let mut on_it = self.unanswered.iter().filter(|(_, other)| **other == connection);
            let oldest = on_it.next().map_or(number, |(oldest, _)| *oldest);
            *self.blamed.insert((connection, oldest))
        });
        self.unanswered.remove(&number);
        oldest == number && self.answered == Some(connection)
    }

    /// The caller of the request is gone.
    pub(super) fn forget(&mut self, number: u64) {
        self.unanswered.remove(&number);
    }
}
