//! The leader, and the candidates.

use bytes::Bytes;

use super::LeaderElection;
use super::marks::Marks;
use crate::error::Error;
use crate::line::{Contender, HeadView};
use crate::observer::Observer;
use crate::session::Interrupted;
use crate::znode::{
    FencingToken, NodeData, Observe, WatchContext, Watched, observe, retry_across_sessions, split_value, stat,
};

/// A leader or a candidate, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// What it campaigned with, or proclaimed since.
    pub value: Bytes,
    /// Why it stands, if it says so: [`LeaderElection::campaign_as`].
    pub reason: Option<String>,
    /// Its term, should it lead.
    pub term: FencingToken,
    /// Whether it leads, in the eyes of the ensemble.
    pub is_leader: bool,
    /// Whether it leads and has said that it is [ready](super::Leadership::ready).
    pub is_ready: bool,
    /// Path of its node, from the chroot.
    pub path: String,
    /// The session that it belongs to.
    pub session_id: i64,
}

impl LeaderElection {
    /// Returns the leader: the first participant whose node can be read. One list and two reads.
    ///
    /// It is what the ensemble sees: a leader whose process has died is seen until its session expires.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn leader(&self) -> Result<Option<Participant>, Error> {
        let Some(head) = self.line.head().await? else {
            return Ok(None);
        };
        let is_ready = self.is_ready(&head).await?;
        Ok(Some(Participant::new(head, is_ready)))
    }

    /// Returns the leader and the candidates, in the order of succession: one list, and one read for each
    /// and one more.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    #[doc(alias = "getParticipants")]
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        let contenders = self.line.contenders().await?;
        let is_ready = match contenders.iter().find(|contender| contender.is_holder) {
            Some(leader) => self.is_ready(leader).await?,
            None => false,
        };
        let participant = |one: Contender| {
            let is_ready = is_ready && one.is_holder;
            Participant::new(one, is_ready)
        };
        Ok(contenders.into_iter().map(participant).collect())
    }

    async fn is_ready(&self, leader: &Contender) -> Result<bool, Error> {
        let mark = &self.marks.ready(&leader.path);
        let attempt = |session| async move { stat(&session, mark.as_str()).await };
        let found = retry_across_sessions(self.line.zk(), attempt).await?;
        Ok(found.is_some_and(|stat| stat.ephemeral_owner == leader.session_id))
    }

    /// Follows whether this handle, one of its clones, or a [`run`](Self::run) of them leads. It costs no request.
    ///
    /// It follows what the guards know, on the coordinator's runtime: where that is blocked, it is late. Ask
    /// [`is_held`](crate::Hold::is_held) before an effect.
    ///
    /// ```no_run
    /// # async fn example(election: zookeeper_recipes::LeaderElection) {
    /// let mut leads = election.is_leader();
    /// while let Some(leads) = leads.changed().await {
    ///     println!("{}", if leads { "leading" } else { "standing by" });
    /// }
    /// # }
    /// ```
    #[doc(alias = "hasLeadership")]
    pub fn is_leader(&self) -> Observer<bool> {
        self.leading.observe()
    }

    /// Follows the leader, `None` included, whether it is ready, and what it proclaims. Returns with the first
    /// value.
    ///
    /// The latest change is never missed, also across lost connections and sessions; while there is no connection,
    /// the value is the last one known. Clone the observer rather than to observe twice: it ends, and its watch with
    /// it, when its last clone is dropped.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cost
    /// Two watches, on the leader's node and on where it says that it is ready, and nothing while the leader stays:
    /// candidates that come and go wake no task.
    pub async fn observe(&self) -> Result<Observer<Option<Participant>>, Error> {
        let view = LeaderView {
            head: HeadView::new(self.line.clone()),
            marks: self.marks.clone(),
            ready: None,
        };
        observe(self.line.zk(), view).await
    }
}

impl Participant {
    fn new(contender: Contender, is_ready: bool) -> Self {
        // A value is the candidate's own, line breaks included.
        let (end, reason) = split_value(&contender.path, &contender.own_data);
        Self {
            value: contender.own_data.slice(..end),
            reason: reason.map(str::to_owned),
            term: contender.token,
            is_leader: contender.is_holder,
            is_ready,
            path: contender.path,
            session_id: contender.session_id,
        }
    }
}

struct LeaderView {
    head: HeadView,
    marks: Marks,
    /// The leader's node, and the mark that says that it is ready.
    ready: Option<(String, Watched<Option<NodeData>>)>,
}

impl Observe for LeaderView {
    type Value = Option<Participant>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        let Some(head) = self.head.refresh(context).await? else {
            self.ready = None;
            return Ok(None);
        };
        let mark = match self.ready.take() {
            Some((of, mark)) if of == head.path && mark.is_current(context) => mark,
            _ => context.data(self.marks.ready(&head.path).as_str()).await?,
        };
        let is_owner = |node: &NodeData| node.stat.ephemeral_owner == head.session_id;
        let is_ready = mark.value.as_ref().is_some_and(is_owner);
        self.ready = Some((head.path.clone(), mark));
        Ok(Some(Participant::new(head, is_ready)))
    }
}
