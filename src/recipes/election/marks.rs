//! [`Marks`]: what leaders and candidates say beside the line.
//!
//! They stand in a sibling of the election's directory. Curator's `LeaderLatch` misses its turn after any change of the
//! data of the candidate ahead of it, and an ephemeral node can have no children.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{NodePath, NodeWatch, list_and_watch, stat_and_watch};

/// The directory of the marks of one election.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    dir: NodePath,
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkKind {
    /// Its candidate leads.
    Lead,
    /// Its candidate leads, and makes way for one of higher rank.
    Open,
    /// Its candidate asks a leader of lower rank to make way.
    Ask,
}

/// The mark of a candidate that has a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RankMark<'a> {
    pub(super) kind: MarkKind,
    pub(super) rank: u32,
    /// The name of the candidate's node.
    pub(super) candidate: &'a str,
}

impl Marks {
    pub(super) fn of(election: &NodePath) -> Result<Self, Error> {
        let dir = NodePath::new(&format!("{election}-__election__"))?;
        Ok(Self { dir })
    }

    /// The mark of a leader that is ready, whose own node is at `candidate`.
    pub(super) fn ready(&self, candidate: &str) -> NodePath {
        self.dir.descendant(&format!("ready-{}", name_of(candidate)))
    }

    pub(super) fn ranked(&self, mark: RankMark<'_>) -> NodePath {
        self.dir.descendant(&mark.to_string())
    }

    /// The names of all marks, and a watch on any change of them.
    pub(super) async fn list_and_watch(&self, session: &Arc<Session>) -> Result<(Vec<String>, NodeWatch), Interrupted> {
        loop {
            if let Some(listed) = list_and_watch(session, &self.dir).await? {
                return Ok(listed);
            }
            let (stat, watch) = stat_and_watch(session, self.dir.as_str()).await?;
            if stat.is_none() {
                return Ok((Vec::new(), watch));
            }
        }
    }
}

/// The name of the node at `path`.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

impl MarkKind {
    const ALL: [Self; 3] = [Self::Lead, Self::Open, Self::Ask];

    fn word(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Open => "open",
            Self::Ask => "ask",
        }
    }
}

impl<'a> RankMark<'a> {
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (word, rest) = name.split_once('-')?;
        let kind = MarkKind::ALL.into_iter().find(|kind| kind.word() == word)?;
        let (rank, candidate) = rest.split_once('-')?;
        let rank = rank.parse().ok()?;
        Some(Self { kind, rank, candidate })
    }
}

impl fmt::Display for RankMark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.kind.word(), self.rank, self.candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        for kind in MarkKind::ALL {
            let mark = RankMark {
                kind,
                rank: u32::MAX,
                candidate: "_c_x-y-latch-0000000007",
            };
            assert_eq!(RankMark::parse(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn other_names_are_no_marks_of_rank() {
        for name in [
            "",
            "ready-_c_x-latch-1",
            "ask",
            "ask-1",
            "ask--1-a",
            "ask-x-a",
            "lead-4294967296-a",
        ] {
            assert_eq!(RankMark::parse(name), None, "{name}");
        }
    }
}
