//! What the clock does to the core, and when it stands still: ticks, a freeze, a stop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Core;
use crate::faults::Scope;
use crate::session::SessionId;

impl Core {
    /// Ends the sessions that are due.
    pub(crate) fn expire_due(&mut self) {
        if self.frozen || self.stopped {
            return;
        }
        for session in self.sessions.due(self.now()) {
            tracing::debug!(session = %SessionId(session), "session expired");
            self.end_session(session);
        }
    }

    /// Removes containers and nodes whose time is over.
    pub(crate) fn reap(&mut self) {
        if self.frozen || self.stopped {
            return;
        }
        for path in self.main.tree.reapable(self.clock()) {
            self.commit(crate::tree::Txn::Delete { path }, None);
        }
    }

    /// How long until sessions can be due again.
    pub(crate) fn until_next_tick(&self) -> Duration {
        let tick = u64::try_from(self.settings.tick.as_millis()).unwrap_or(u64::MAX).max(1);
        let now = u64::try_from(self.now()).unwrap_or(0);
        Duration::from_millis(tick - now % tick)
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
    }

    pub(crate) fn thaw(&mut self) {
        if std::mem::take(&mut self.frozen) {
            self.expire_due();
        }
    }

    /// Ends all connections, frozen or not. Everything stays as it is until [`restarted`](Self::restarted).
    pub(crate) fn stopped(&mut self) {
        self.stopped = true;
        self.frozen = false;
        self.cut(Scope::All);
    }

    /// Goes on. Each session has its full timeout again.
    pub(crate) fn restarted(&mut self) {
        self.sessions.renew_all(self.now());
        self.stopped = false;
    }

    /// Milliseconds since the epoch, by the clock of this server.
    pub(super) fn clock(&self) -> i64 {
        wall_clock().saturating_add(self.clock_shift)
    }

    /// How long the server has been there.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Milliseconds on the clock that sessions are measured with.
    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Milliseconds since the epoch.
fn wall_clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
