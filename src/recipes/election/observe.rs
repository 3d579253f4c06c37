//! Who leads, and who stands for election.

use bytes::Bytes;

use super::LeaderElection;
use crate::error::Error;
use crate::line::{Contender, HeadView};
use crate::observer::Observer;
use crate::session::Interrupted;
use crate::znode::{FencingToken, Observe, WatchContext, observe};

/// One who leads or stands for election, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// What it campaigned with, or proclaimed since.
    pub value: Bytes,
    /// Its term, should it lead.
    pub term: FencingToken,
    /// Whether it is the one who leads, in the eyes of the ensemble.
    pub is_leader: bool,
    /// Path of its node, from the chroot.
    pub path: String,
    /// The session that it belongs to.
    pub session_id: i64,
}

impl LeaderElection {
    /// Who leads: the first participant whose node can be read. One list and one read.
    ///
    /// It is what the ensemble sees: a leader whose process has died is seen until its session expires.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn leader(&self) -> Result<Option<Participant>, Error> {
        Ok(self.line.head().await?.map(Participant::from))
    }

    /// Everybody who leads or stands for election, in the order of succession: one list, and one read for each.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        let contenders = self.line.contenders().await?;
        Ok(contenders.into_iter().map(Participant::from).collect())
    }

    /// Follows who leads, `None` included, and what the leader proclaims. Returns with the first value.
    ///
    /// The latest change is never missed, also across lost connections and sessions; while there is no connection,
    /// the value is the last one known. Clone the observer rather than to observe twice: it ends, and its watch with
    /// it, when its last clone is dropped.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cost
    /// One watch, and nothing while the leader stays: candidates that come and go wake nobody.
    pub async fn observe(&self) -> Result<Observer<Option<Participant>>, Error> {
        let view = LeaderView {
            head: HeadView::new(self.line.clone()),
        };
        observe(self.line.zk(), view).await
    }
}

impl From<Contender> for Participant {
    fn from(contender: Contender) -> Self {
        Self {
            // A value is the candidate's own, line breaks included.
            value: contender.own_data,
            term: contender.token,
            is_leader: contender.is_holder,
            path: contender.path,
            session_id: contender.session_id,
        }
    }
}

struct LeaderView {
    head: HeadView,
}

impl Observe for LeaderView {
    type Value = Option<Participant>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        Ok(self.head.refresh(context).await?.map(Participant::from))
    }
}
