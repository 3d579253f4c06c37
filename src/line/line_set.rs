//! [`LineSet`]: a place in each of several lines, all or nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::future;
use tracing::{Instrument, debug, info_span};

use super::ahead::acquire_within;
use super::contender::{Enrolled, Purpose};
use super::{AcquireTimeoutError, Enrolment, Line};
use crate::error::Error;
use crate::session::{CleanupToken, Coordinator, Interrupted, Session};
use crate::znode::{Ephemeral, Hold, NodePath, list, place_across_sessions};

/// Several lines that are joined and left together.
///
/// Their contenders are made in one transaction. So a contender that stands in two of the lines through this stands in both in
/// the order of the transactions, ahead of the same others: waiting goes from later transactions to earlier ones, and
/// never in a circle. (Joining one line after the other would need an order that all agree on.)
#[derive(Clone, Debug)]
pub(crate) struct LineSet {
    zk: Coordinator,
    /// At least one, each of another path.
    lines: Vec<Line>,
}

impl LineSet {
    pub(crate) fn new(zk: Coordinator, lines: Vec<Line>) -> Self {
        Self { zk, lines }
    }

    pub(crate) fn zk(&self) -> &Coordinator {
        &self.zk
    }

    fn first_path(&self) -> &str {
        self.lines.first().map_or("/", |line| line.path.as_str())
    }

    /// The longest path, and how many nodes all places are.
    fn need(&self) -> (&str, usize) {
        let longest = self
            .lines
            .iter()
            .map(|line| line.path.as_str())
            .max_by_key(|path| path.len());
        (longest.unwrap_or("/"), self.lines.len())
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &NodePath> {
        self.lines.iter().map(|line| &line.path)
    }

    /// As [`Line::acquire`], of all places.
    pub(crate) async fn acquire(&self, enrolment: &Enrolment, cleanup: Option<&CleanupToken>) -> Result<Hold, Error> {
        let attempt = |session: Arc<Session>| async move {
            let mut places = Enrolled::enrol_in_all(&self.lines, &session, enrolment, cleanup).await?;
            // All of them from the start: while the first is waited for, the loss of another one counts.
            places.iter_mut().for_each(Enrolled::watch);
            for place in &mut places {
                place.head_of_line(Purpose::Hold).await?;
            }
            self.hold(places).await
        };
        let acquired = place_across_sessions(&self.zk, self.need(), attempt);
        acquired
            .instrument(info_span!("acquire_all", lines = self.lines.len()))
            .await
    }

    /// As [`Line::acquire_timeout`], of all places.
    pub(crate) async fn acquire_timeout(
        &self,
        enrolment: &Enrolment,
        limit: Duration,
    ) -> Result<Hold, AcquireTimeoutError> {
        acquire_within(&self.zk, &self.lines, self.first_path(), limit, |ahead, cleanup| {
            let enrolment = enrolment.noting(&ahead);
            async move { self.acquire(&enrolment, Some(&cleanup)).await }
        })
        .await
    }

    /// As [`Line::try_acquire`], of all places.
    pub(crate) async fn try_acquire(&self, enrolment: &Enrolment) -> Result<Option<Hold>, Error> {
        let attempt = |session| async move { self.try_in(&session, enrolment).await };
        place_across_sessions(&self.zk, self.need(), attempt).await
    }

    async fn try_in(&self, session: &Arc<Session>, enrolment: &Enrolment) -> Result<Option<Hold>, Interrupted> {
        let lists = future::try_join_all(self.lines.iter().map(|line| list(session, &line.path))).await?;
        let mut listed = self.lines.iter().zip(&lists);
        if listed.any(|(line, children)| line.is_taken(children, enrolment.mode)) {
            return Ok(None);
        }
        let mut places = Enrolled::enrol_in_all(&self.lines, session, enrolment, None).await?;
        for index in 0..places.len() {
            if !places[index].is_granted().await? {
                let nodes = places.into_iter().map(Enrolled::into_node);
                Ephemeral::remove_all(nodes.collect()).await?;
                return Ok(None);
            }
        }
        self.hold(places).await.map(Some)
    }

    /// Makes one hold of places that are all granted.
    async fn hold(&self, places: Vec<Enrolled<'_>>) -> Result<Hold, Interrupted> {
        let mut nodes = Vec::with_capacity(places.len());
        for place in places {
            nodes.push(place.proven().await?);
        }
        let first = nodes.remove(0);
        let hold = Hold::of_all(first, nodes, self.zk.clone());
        debug!(node = hold.path(), token = %hold.token(), lines = self.lines.len(), "granted");
        Ok(hold)
    }
}
