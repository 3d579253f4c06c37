//! The requests that a proxy let pass, to be held against a budget.

use std::collections::BTreeMap;
use std::fmt;

use super::{Op, Request};

/// Requests that passed, in order, without pings and the connects themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<Request>);

impl Counts {
    pub(super) fn new(requests: Vec<Request>) -> Self {
        Self(requests)
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// Those with the operation `op`.
    pub fn of(&self, op: Op) -> usize {
        self.matching(|request| request.op == op).total()
    }

    /// As long as all of them are on the wire.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|request| request.bytes).sum()
    }

    /// Creates of all four kinds.
    pub fn creates(&self) -> usize {
        self.matching(|request| request.op.is_create()).total()
    }

    /// Lists of children of both kinds.
    pub fn lists(&self) -> usize {
        self.matching(|request| request.op.is_list()).total()
    }

    /// Multis of nothing but checks.
    pub fn heartbeats(&self) -> usize {
        self.matching(Request::is_heartbeat).total()
    }

    /// The rest without the heartbeats.
    pub fn without_heartbeats(&self) -> Self {
        self.matching(|request| !request.is_heartbeat())
    }

    /// Those on `dir` and below, relative to the chroot that the proxy knows.
    pub fn under(&self, dir: &str) -> Self {
        self.matching(|request| request.is_under(dir))
    }

    /// Those for which `pred` says true.
    pub fn matching(&self, pred: impl Fn(&Request) -> bool) -> Self {
        Self(self.0.iter().filter(|request| pred(request)).cloned().collect())
    }

    /// How many of each operation.
    pub fn by_op(&self) -> BTreeMap<Op, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.0 {
            *counts.entry(request.op).or_default() += 1;
        }
        counts
    }

    /// The requests themselves, in the order in which they passed.
    pub fn requests(&self) -> &[Request] {
        &self.0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} requests", self.total())?;
        self.0.iter().try_for_each(|request| writeln!(f, "  {request}"))
    }
}
