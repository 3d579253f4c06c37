//! Heartbeats: requests that change nothing and prove, because they are committed, that the session is alive.

use std::sync::Arc;

use tracing::{debug, warn};
use uuid::Uuid;
use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::lease::LeaseClock;
use super::moment::Moment;
use super::operation::Operation;
use super::registry::NodeLocation;
use super::request::{Commit, Reply};
use super::state::{End, LossReason, Lost};

/// The heartbeat brought no proof.
#[derive(Debug)]
pub(crate) enum HeartbeatError {
    /// The session has ended.
    Lost,
    /// No answer that proves the session; worth another try once there is a connection.
    Unanswered,
}

impl From<Lost> for HeartbeatError {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

impl From<Interrupted> for HeartbeatError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Lost(_) => Self::Lost,
            Interrupted::Failed(error) => {
                debug!(%error, "heartbeat refused");
                Self::Unanswered
            }
        }
    }
}

impl Session {
    /// Waits until a hold that is granted now can be prolonged in time, or `end` is reached, which is that of the node
    /// that is to be held. Heartbeats are sent on their regular schedule meanwhile, shared by all that wait.
    ///
    /// A new hold has to pass here: a list that shows us at the head of a line may come from a server that is cut off
    /// from the ensemble.
    pub(crate) async fn prove(self: &Arc<Self>, end: &End) -> Result<(), Lost> {
        if !self.may_grant() {
            let _grant = self.await_grant();
            tokio::select! {
                biased;
                reason = end.reached() => return Err(Lost::because(reason)),
                lost = self.ended() => return Err(lost),
                () = self.proven() => {}
            }
        }
        match end.reason().or(self.end_reason()) {
            Some(reason) => Err(Lost::because(reason)),
            None => Ok(()),
        }
    }

    /// As [`prove`](Self::prove), although nothing is to be held yet: for a session whose opening took long. Given up
    /// after one session timeout, since nothing waits for it.
    pub(super) async fn vouch(self: Arc<Self>) {
        let _grant = self.await_grant();
        let _ = tokio::time::timeout(self.timeout(), self.while_alive(self.proven())).await;
    }

    /// Waits for proofs. The supervisor asks for them: what waits here may not be polled for long, and sends nothing
    /// that others rely on.
    async fn proven(&self) {
        let mut proofs = self.proofs();
        while !self.may_grant() {
            // An error is impossible: the session has the sender.
            let _ = proofs.changed().await;
        }
    }

    /// Sends a heartbeat when the next one is due; after a reconnect at once. For the supervisor alone, so that one at
    /// a time is on its way.
    pub(super) async fn heartbeat_when_due(self: &Arc<Self>) {
        let mut proofs = self.proofs();
        while self.connected().await.is_ok() && self.is_verified() {
            proofs.mark_unchanged();
            let now = Moment::now();
            match self.with_lease(|lease| lease.heartbeat_due()) {
                None => return,
                Some(due) if due <= now => break,
                Some(due) => tokio::select! {
                    // An end of the session is heard of by the waiting tasks.
                    _ = self.sleep(due - now) => {}
                    _ = proofs.changed() => {}
                },
            }
        }
        if self.heartbeat().await.is_err() || !self.is_verified() {
            let pause = LeaseClock::alive_interval(self.timeout()) * 2;
            let _ = self.sleep(pause).await;
        }
    }

    /// Sends one heartbeat; after a reconnect one that also shows whether the session is still ours.
    pub(crate) async fn heartbeat(self: &Arc<Self>) -> Result<(), HeartbeatError> {
        self.with_lease(|lease| lease.heartbeat_sent(Moment::now()));
        if self.is_verified() {
            self.check().await
        } else {
            self.probe().await
        }
    }

    /// A multi that holds nothing but a check: it passes the quorum, changes nothing and fires no watch. That the
    /// check fails does not matter, a refused multi is committed as well.
    async fn check(self: &Arc<Self>) -> Result<(), HeartbeatError> {
        match self.commit(&[Operation::exists("/")]).await? {
            Commit::Applied(_) | Commit::Refused(..) => Ok(()),
            Commit::Unanswered(_) => Err(HeartbeatError::Unanswered),
        }
    }

    /// Creates, writes and deletes an ephemeral node in one transaction, beside a node of ours: it is never seen, but
    /// the reply names its owner, which is the session that the server takes us for. The write is there because
    /// servers send no Stat for a create in a transaction (ZOOKEEPER-4026).
    async fn probe(self: &Arc<Self>) -> Result<(), HeartbeatError> {
        while let Some((key, own)) = self.registry().any_node() {
            let directory = own.directory();
            let shown = match self.probe_in(&directory).await? {
                None => return Ok(()),
                // The directory was removed, and our node before that.
                Some(zk::Error::NoNode) => self.is_ours(&directory).await?,
                // No right to do that there: committed nevertheless.
                Some(_) => self.look_for_own_node(&own).await?,
            };
            if shown {
                return Ok(());
            }
            self.registry().gone(key);
        }
        // Nothing is at stake before the next create, whose reply tells as well.
        self.check().await
    }

    /// Whether the session is shown to be ours, by a [probe](Self::probe) in `directory`, or above if there is no such
    /// node. False if that is refused: then it is not known.
    pub(crate) async fn is_ours(self: &Arc<Self>, directory: &str) -> Result<bool, HeartbeatError> {
        let mut directory = directory.trim_end_matches('/');
        while !self.is_verified() {
            match (
                self.probe_in(&format!("{directory}/")).await?,
                directory.rsplit_once('/'),
            ) {
                (None, _) => {}
                (Some(zk::Error::NoNode), Some((above, _))) => directory = above,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Sends a probe in `directory`, which ends with a slash. Returns why it was refused there, if it was.
    async fn probe_in(self: &Arc<Self>, directory: &str) -> Result<Option<zk::Error>, HeartbeatError> {
        let path = format!("{directory}_c_{}-probe", Uuid::new_v4());
        let steps = [
            Operation::create(&path, Vec::new(), zk::CreateMode::Ephemeral),
            Operation::set_data(&path, Vec::new(), None),
            Operation::delete(&path, None),
        ];
        match self.commit(&steps).await? {
            Commit::Applied(_) => Ok(None),
            Commit::Refused(_, source) => Ok(Some(source)),
            Commit::Unanswered(_) => Err(HeartbeatError::Unanswered),
        }
    }

    /// Asks whether a node of ours belongs to the session that the server takes us for; false if it is gone.
    async fn look_for_own_node(self: &Arc<Self>, own: &NodeLocation) -> Result<bool, HeartbeatError> {
        let NodeLocation::Path(own) = own else {
            return Ok(false);
        };
        let connection = self.connection();
        let asked = self.read(|client| async move {
            let sync = client.sync(own);
            let ephemerals = client.list_ephemerals(own);
            let stat = client.check_stat(own);
            sync.await?;
            Ok((ephemerals.await?, stat.await?))
        });
        match asked.await? {
            Reply::Answer((ephemerals, _)) if ephemerals.contains(own) => {
                self.verify(connection, self.id())?;
                Ok(true)
            }
            // It is being removed, or was removed by an operator.
            Reply::Answer((_, None)) => Ok(false),
            Reply::Unanswered(_) => Err(HeartbeatError::Unanswered),
            answer => {
                warn!(
                    ?answer,
                    "the session could not be shown to be ours after a reconnect; giving it up"
                );
                self.end(LossReason::SessionExpired);
                Err(HeartbeatError::Lost)
            }
        }
    }
}
