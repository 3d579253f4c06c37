//! The log of requests.

use std::collections::{BTreeMap, VecDeque};

use crate::session::SessionId;
use crate::tree::is_below;
use crate::wire::Op;

/// Only so many requests are kept, the latest.
const MAX_ENTRIES: usize = 100_000;
/// Only requests whose paths take so many bytes in total are kept.
const MAX_PATH_BYTES: usize = 32 << 20;

/// A request that arrived at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// The session that sent it; of a handshake the session that it asks for, `SessionId(0)` for a new one.
    pub session: SessionId,
    /// Its kind.
    pub op: Op,
    /// The paths it names: none for pings, several for a multi. A sequential create names the path without its number.
    pub paths: Vec<String>,
}

impl LoggedRequest {
    /// Whether one of its paths is `path` or lies below it.
    pub fn is_under(&self, path: &str) -> bool {
        self.paths
            .iter()
            .any(|own| path == "/" || own == path || is_below(own, path))
    }
}

/// The requests that arrived, in order: a snapshot that filters narrow down.
///
/// Holds at least the latest 100,000 requests, if their paths are not huge.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_embedded::{Op, Server};
///
/// let server = Server::start().await?;
/// let client = zookeeper_client::Client::connect(&server.connect_string()).await?;
/// server.reset_requests();
///
/// client.list_children("/").await?;
///
/// let requests = server.requests().without_pings();
/// assert_eq!(requests.len(), 1);
/// assert_eq!(requests.op(Op::LISTS).session(client.session_id().0).len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Requests {
    entries: Vec<LoggedRequest>,
}

impl Requests {
    /// Only those of this session.
    #[must_use]
    pub fn session(self, session: impl Into<SessionId>) -> Self {
        let session = session.into();
        self.matching(|request| request.session == session)
    }

    /// Only those of this kind, or of these kinds.
    #[must_use]
    pub fn op(self, ops: impl IntoIterator<Item = Op>) -> Self {
        let ops: Vec<Op> = ops.into_iter().collect();
        self.matching(|request| ops.contains(&request.op))
    }

    /// Only those that name this path or one below it.
    #[must_use]
    pub fn under(self, path: &str) -> Self {
        self.matching(|request| request.is_under(path))
    }

    /// All but pings and handshakes: what a client's calls cost.
    #[must_use]
    pub fn without_pings(self) -> Self {
        self.matching(|request| !matches!(request.op, Op::Ping | Op::Connect))
    }

    /// Only those for which `keep` holds.
    #[must_use]
    pub fn matching(mut self, keep: impl FnMut(&LoggedRequest) -> bool) -> Self {
        self.entries.retain(keep);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The requests in the order in which they arrived.
    pub fn iter(&self) -> std::slice::Iter<'_, LoggedRequest> {
        self.entries.iter()
    }

    /// How many there are of each kind.
    pub fn count_by_op(&self) -> BTreeMap<Op, usize> {
        count(self.entries.iter().map(|request| request.op))
    }

    /// How many there are of each session.
    pub fn count_by_session(&self) -> BTreeMap<SessionId, usize> {
        count(self.entries.iter().map(|request| request.session))
    }
}

impl IntoIterator for Requests {
    type Item = LoggedRequest;
    type IntoIter = std::vec::IntoIter<LoggedRequest>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Requests {
    type Item = &'a LoggedRequest;
    type IntoIter = std::slice::Iter<'a, LoggedRequest>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    keys.fold(BTreeMap::new(), |mut counts, key| {
        *counts.entry(key).or_default() += 1;
        counts
    })
}

/// Where the server notes requests.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<LoggedRequest>,
    path_bytes: usize,
}

impl Log {
    pub(crate) fn push(&mut self, request: LoggedRequest) {
        self.path_bytes += size(&request);
        self.entries.push_back(request);
        while self.entries.len() > MAX_ENTRIES || self.path_bytes > MAX_PATH_BYTES {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.path_bytes -= size(&oldest);
        }
    }

    pub(crate) fn snapshot(&self) -> Requests {
        Requests {
            entries: self.entries.iter().cloned().collect(),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn size(request: &LoggedRequest) -> usize {
    request.paths.iter().map(|path| path.len() + size_of::<String>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_by_count_and_by_bytes() {
        let mut log = Log::default();
        for _ in 0..MAX_ENTRIES + 10 {
            log.push(LoggedRequest {
                session: SessionId(1),
                op: Op::Ping,
                paths: vec![],
            });
        }
        assert_eq!(log.snapshot().len(), MAX_ENTRIES);
        for _ in 0..100 {
            log.push(LoggedRequest {
                session: SessionId(1),
                op: Op::GetData,
                paths: vec!["x".repeat(1 << 20)],
            });
        }
        assert!(log.snapshot().len() < 40);
    }
}
