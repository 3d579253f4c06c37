//! [`Health`]: whether something works, for probes and people.

use std::fmt;
use std::time::Duration;

use super::coordinator::Coordinator;
use super::state::SessionState;

/// Whether a coordinator or a recipe works, at one moment: for probes of an orchestrator, and for people.
///
/// *Live* and *ready* are two answers. What is not live never works again: restart the process, or connect a new
/// coordinator. What is live and not ready is waiting for something that may come by itself, as the ensemble does: a
/// restart would not help. **A standby is ready**: it does its part, which is to wait.
///
/// It is a snapshot of what this process knows, and costs no request.
///
/// # Examples
/// ```no_run
/// # fn example(zk: &zookeeper_recipes::Coordinator, election: &zookeeper_recipes::LeaderElection) {
/// let parts = [zk.health(), election.health()];
/// let status = match (parts.iter().all(|part| part.is_live), parts.iter().all(|part| part.is_ready)) {
///     (false, _) => "restart it",
///     (true, false) => "send no traffic",
///     (true, true) => "ok",
/// };
/// for part in &parts {
///     // election /scheduler: ready; leads, term 17
///     println!("{part}");
/// }
/// # drop(status);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Health {
    /// What it is about: `coordinator`, or a recipe and its path, as `election /scheduler`.
    pub subject: String,
    /// Whether it works, or can come to work by itself.
    pub is_live: bool,
    /// Whether it does its part at this moment.
    pub is_ready: bool,
    /// What it does, or what it waits for: one line for people.
    pub message: String,
}

impl Health {
    /// That of what was closed, and never works again.
    pub(crate) fn closed(recipe: &str, path: &str, message: &str) -> Self {
        Self {
            subject: format!("{recipe} {path}"),
            is_live: false,
            is_ready: false,
            message: format!("closed, {message}"),
        }
    }
}

/// One line: the subject, `ready`, `not ready` or `dead`, and the message.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_live, self.is_ready) {
            (true, true) => "ready",
            (true, false) => "not ready",
            (false, _) => "dead",
        };
        write!(f, "{}: {state}; {}", self.subject, self.message)
    }
}

impl Coordinator {
    /// Returns whether the coordinator works: live unless it is closed, ready while a server is connected. A cheap
    /// snapshot that costs no request.
    ///
    /// ```no_run
    /// # fn example(zk: &zookeeper_recipes::Coordinator) {
    /// let health = zk.health();
    /// // coordinator: ready; connected, 3 holds, 1 waiter
    /// println!("{health}");
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let (state, since) = self.state_since();
        let health = |is_live, is_ready, message| Health {
            subject: "coordinator".to_owned(),
            is_live,
            is_ready,
            message,
        };
        if let Some(error) = self.ended() {
            return health(false, false, error.to_string());
        }
        let stats = self.stats();
        let holds = count(stats.holds, "hold");
        if self.draining().has_begun() {
            return health(true, false, format!("shutting down, {holds} left"));
        }
        let since = Seconds(since);
        match state {
            SessionState::Connected => {
                let waiters = count(stats.waiters, "waiter");
                let backlog = match stats.reaper_backlog {
                    0 => String::new(),
                    nodes => format!(", {} to be removed", count(nodes, "node")),
                };
                health(true, true, format!("connected, {holds}, {waiters}{backlog}"))
            }
            SessionState::Connecting => {
                let problem = self
                    .last_problem()
                    .map_or_else(String::new, |problem| format!(": {problem}"));
                health(
                    true,
                    false,
                    format!("not connected since its start {since} ago{problem}"),
                )
            }
            SessionState::Suspended => health(true, false, format!("no server answers since {since}, {holds}")),
            SessionState::Lost => health(true, false, format!("without a session since {since}; opening one")),
            SessionState::Closed => health(false, false, "closed".to_owned()),
        }
    }

    /// The health of a recipe, which `judge` tells where that of the coordinator does not: whether it is ready, and a
    /// message.
    pub(crate) fn health_of(&self, recipe: &str, path: &str, judge: impl FnOnce() -> (bool, String)) -> Health {
        let subject = format!("{recipe} {path}");
        let below = self.health();
        if !below.is_ready {
            return Health { subject, ..below };
        }
        let (is_ready, message) = judge();
        Health {
            subject,
            is_live: true,
            is_ready,
            message,
        }
    }
}

/// Seconds with one digit.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// A number of things, in the singular or the plural.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_one_line() {
        let line = |is_live, is_ready| {
            Health {
                subject: "election /a".to_owned(),
                is_live,
                is_ready,
                message: "stands by".to_owned(),
            }
            .to_string()
        };
        assert_eq!(line(true, true), "election /a: ready; stands by");
        assert_eq!(line(true, false), "election /a: not ready; stands by");
        assert_eq!(line(false, false), "election /a: dead; stands by");
        assert_eq!(count(1, "hold"), "1 hold");
        assert_eq!(count(0, "hold"), "0 holds");
    }
}
