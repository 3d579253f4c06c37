//! A place that is not held, but passed on for something else as soon as that can be had.

use std::sync::Arc;

use super::contender::{Enrolled, Purpose};
use super::{Enrolment, Line};
use crate::session::{CleanupToken, Interrupted, Session};
use crate::znode::{Ephemeral, NodeQuestion, list};

/// A place that has come to the head of the line.
#[derive(Debug)]
pub(crate) struct HeadOfLine {
    pub(crate) node: Ephemeral,
    /// Whether a contender was ahead.
    pub(crate) waited: bool,
}

impl Line {
    /// Waits for the head of the line, in this session. The node is watched, but it is no hold: no code believes in it,
    /// so nothing is sent to prove it, and what acts on it does so in a transaction that checks it.
    pub(crate) async fn enter_turnstile(
        &self,
        session: &Arc<Session>,
        cleanup: Option<&CleanupToken>,
    ) -> Result<HeadOfLine, Interrupted> {
        self.enter_turnstile_as(session, &Enrolment::EXCLUSIVE, cleanup).await
    }

    /// As [`enter_turnstile`](Self::enter_turnstile), as a contender of this kind.
    pub(crate) async fn enter_turnstile_as(
        &self,
        session: &Arc<Session>,
        enrolment: &Enrolment,
        cleanup: Option<&CleanupToken>,
    ) -> Result<HeadOfLine, Interrupted> {
        let mut place = Enrolled::enrol(self, session, enrolment, cleanup).await?;
        let waited = place.head_of_line(Purpose::Turnstile).await?;
        place.mark_head();
        let node = place.into_node();
        Ok(HeadOfLine { node, waited })
    }

    /// Takes the head of the line if the line is empty.
    pub(crate) async fn try_turnstile(
        &self,
        session: &Arc<Session>,
        enrolment: &Enrolment,
    ) -> Result<Option<Ephemeral>, Interrupted> {
        let mut place = Enrolled::enrol(self, session, enrolment, None).await?;
        if place.is_granted().await? {
            return Ok(Some(place.into_node()));
        }
        place.into_node().remove().await?;
        Ok(None)
    }

    /// Whether a contender stands in the line: one read.
    pub(crate) async fn is_occupied(&self, session: &Arc<Session>) -> Result<bool, Interrupted> {
        let children = list(session, &self.path).await?;
        Ok(self.is_occupied_by(&children))
    }

    /// The question that [`is_occupied`](Self::is_occupied) asks, to be asked together with others.
    pub(crate) fn occupied(&self) -> NodeQuestion {
        NodeQuestion::Children(self.path.as_str().to_owned())
    }

    /// Whether the answer to that question shows a contender.
    pub(crate) fn is_occupied_by(&self, children: &[String]) -> bool {
        self.is_taken(children, Enrolment::EXCLUSIVE.mode)
    }
}
