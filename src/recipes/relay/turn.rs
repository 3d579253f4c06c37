//! [`Turn`]: one step of the chain, from its beginning to its result.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use tracing::{debug, info, warn};
use zookeeper_client as zk;

use super::Relay;
use super::record::{Fate, Record};
use crate::error::{Error, classify};
use crate::session::{Interrupted, LossReason, Lost, Operation, Retry, Session};
use crate::znode::{
    Hold, ReleaseError, RemoveOutcome, Transaction, commit, delete_if_exists, read, retry_across_sessions, sync,
};

/// It is our turn while this guard lives; it dereferences to [`Hold`].
///
/// [`complete`](Self::complete) it with its result. Dropping it gives the turn up without one: the next participant
/// gets the same [`previous`](Self::previous) as this one, and hears that its [predecessor was
/// lost](Self::predecessor_lost).
///
/// # Examples
/// ```no_run
/// # async fn example(chain: zookeeper_recipes::Relay) -> Result<(), Box<dyn std::error::Error>> {
/// let turn = chain.join().await?;
/// if turn.predecessor_lost() {
///     // The step before may have been begun: look for its traces.
/// }
/// let next = settle(turn.previous().map(|result| &result[..]));
/// turn.complete(next).await?;
/// # fn settle(previous: Option<&[u8]>) -> Vec<u8> { Vec::new() }
/// # Ok(())
/// # }
/// ```
#[must_use = "the turn is given up as soon as this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Turn {
    hold: Hold,
    relay: Relay,
    previous: Option<Bytes>,
    predecessor_lost: bool,
    begun: Begun,
}

/// The record as this turn has written it.
#[derive(Clone, Debug)]
struct Begun {
    record: Record,
    version: i32,
    /// The zxid that created the node: one that a removed relay has left behind is not that of a new one.
    czxid: i64,
}

/// Turns that one call has begun and not come to return, because its session ended: they are no predecessors.
#[derive(Debug, Default)]
pub(super) struct AbandonedTurns(Vec<(i64, bool)>);

/// What the ensemble keeps of a relay.
pub(super) struct Remembered {
    /// Written with each beginning and end of a turn.
    pub(super) found: Option<(Record, zk::Stat)>,
    pub(super) result: Option<Bytes>,
}

impl Turn {
    /// The result of the last completed turn, whatever turns were lost in between; `None` if none was completed yet.
    /// Costs no request.
    pub fn previous(&self) -> Option<&Bytes> {
        self.previous.as_ref()
    }

    /// Whether the turn before this one was begun and not completed: its holder died, was lost, or gave it up. What it
    /// has done outside may be done in part. Costs no request.
    ///
    /// It says nothing of participants that left before it was their turn. A turn that began while its call was being
    /// dropped, or timed out, counts as lost.
    pub fn predecessor_lost(&self) -> bool {
        self.predecessor_lost
    }

    /// How many turns were completed before this one. Costs no request.
    pub fn step(&self) -> u64 {
        self.begun.record.completed
    }

    /// Completes the turn with its result, which is given to the next participant: one transaction stores the result
    /// and gives the place up. It commits only while the place is ours.
    ///
    /// # Errors
    /// After an error the turn is over, and this one is its successor's lost predecessor, unless said otherwise.
    /// * [`CompleteError::Lost`]: the turn was lost before; the result was not stored.
    /// * [`CompleteError::Indeterminate`]: the session ended before an answer came, and before it could be found out whether
    ///   the turn was completed, more than a dozen others were, the relay was removed, or the coordinator was closed.
    /// * [`CompleteError::Error`]: the result was not stored, among others [`Error::TooLarge`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the turn is completed.
    ///
    /// # When the session is lost
    /// If that happens while the result is on its way, the next session finds out what became of it.
    pub async fn complete(self, result: impl Into<Bytes>) -> Result<(), CompleteError> {
        let result = result.into();
        let Self { hold, relay, begun, .. } = self;
        relay.zk.check_transaction_size(&relay.result, result.len())?;
        let token = hold.token().as_i64();
        let record = begun.record.completed_by(token).to_string();
        let node = hold.into_node()?;
        let path = node.path().to_owned();
        let left = node.remove_in(vec![
            Operation::set_data(&relay.turn, record, begun.version),
            Operation::set_data(&relay.result, result, None),
        ]);
        let lost = match left.await {
            Ok(RemoveOutcome::Committed) => {
                info!(path, "turn completed");
                return Ok(());
            }
            Ok(RemoveOutcome::Refused(_, source)) => {
                return Err(match source {
                    zk::Error::BadVersion | zk::Error::NoNode => relay.tampered_with(),
                    source => Error::from_answer(&relay.result, source),
                }
                .into());
            }
            Ok(RemoveOutcome::Gone { .. }) => Lost::because(LossReason::NodeRemoved),
            Err(Interrupted::Lost(lost)) => lost,
            // Its fate is open.
            Err(Interrupted::Failed(Error::ConnectionBreaks { .. })) => Lost::because(LossReason::Released),
            Err(Interrupted::Failed(error)) => return Err(relay.zk.ended().unwrap_or(error).into()),
        };
        debug!(path, reason = %lost.reason, "looking what became of a result");
        match relay.fate(&path, token, &begun).await {
            Ok(Fate::Completed) => Ok(()),
            Ok(Fate::Lost) => Err(lost.into()),
            Ok(Fate::Unknown) => Err(CompleteError::Indeterminate),
            Err(error) => {
                warn!(
                    path,
                    error = &error as &dyn std::error::Error,
                    "cannot find out what became of a result"
                );
                Err(CompleteError::Indeterminate)
            }
        }
    }

    /// Gives the turn up without a result, and returns when the place is free: one delete.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if the turn had been lost before.
    ///
    /// # Cancel safety
    /// Dropping the future gives the turn up in the background.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.hold.release().await
    }
}

impl Deref for Turn {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl Begun {
    fn at(record: Record, stat: &zk::Stat) -> Self {
        Self {
            record,
            version: stat.version,
            czxid: stat.czxid,
        }
    }
}

impl Relay {
    /// Record and result, of the same relay.
    pub(super) async fn remembered(&self, session: &Arc<Session>) -> Result<Remembered, Interrupted> {
        let mut retry = Retry::new(session, &self.turn, 0);
        loop {
            let (found, result) = future::try_join(read(session, &self.turn), read(session, &self.result)).await?;
            let Some((data, stat)) = found else {
                let result = result.map(|(data, _)| data.into());
                return Ok(Remembered { found: None, result });
            };
            // A removal between the two reads takes both away, and then the record is of the past.
            let belongs = result.as_ref().is_some_and(|(_, result)| result.czxid <= stat.czxid);
            if !belongs {
                let now = read(session, &self.turn).await?;
                if now.is_none_or(|(_, now)| now.czxid != stat.czxid) {
                    debug!(path = self.path(), "the relay was removed while it was read");
                    retry.raced().await?;
                    continue;
                }
            }
            return Ok(Remembered {
                found: Some((self.parse(&data)?, stat)),
                result: result.map(|(data, _)| data.into()),
            });
        }
    }

    /// Begins the turn of `hold`, which is at the head of the line: writes down that it is on, so that the next one
    /// knows.
    pub(super) async fn begin(&self, hold: Hold, abandoned: &mut AbandonedTurns) -> Result<Turn, Interrupted> {
        let session = Arc::clone(hold.session());
        let token = hold.token().as_i64();
        let mut retry = Retry::new(&session, &self.turn, 0);
        loop {
            let Remembered { found, result } = self.remembered(&session).await?;
            let record = found.as_ref().map(|(record, _)| record.clone()).unwrap_or_default();
            let previous = match (record.completed, &result) {
                (0, _) => None,
                (_, Some(result)) => Some(result.clone()),
                (_, None) => return Err(self.tampered_with().into()),
            };
            let begun_before = abandoned.told(token).filter(|_| record.on_turn == Some(token));
            if let (Some(predecessor_lost), Some((_, stat))) = (begun_before, &found) {
                debug!("the reply that the turn has begun was lost");
                return Ok(self.turn(hold, previous, predecessor_lost, Begun::at(record, stat)));
            }
            let predecessor_lost = record
                .on_turn
                .is_some_and(|before| abandoned.told(before).unwrap_or(true));
            abandoned.add(token, predecessor_lost);
            let begun = record.begun_by(token);
            let mut steps = vec![Operation::exists(hold.path())];
            match &found {
                Some((_, stat)) => steps.push(Operation::set_data(&self.turn, begun.to_string(), stat.version)),
                // Written as well, since servers send no Stat for a create in a transaction (ZOOKEEPER-4026).
                None => steps.extend([
                    Operation::create(&self.turn, Vec::new(), zk::CreateMode::Persistent),
                    Operation::set_data(&self.turn, begun.to_string(), None),
                ]),
            }
            if result.is_none() {
                steps.push(Operation::create(&self.result, Vec::new(), zk::CreateMode::Persistent));
            }
            match commit(&mut retry, &session, &steps).await? {
                Transaction::Applied(applied) => {
                    let written = applied.results.into_iter().find_map(|result| match result {
                        zk::MultiWriteResult::SetData { stat } => Some(stat),
                        _ => None,
                    });
                    // Without, it is read.
                    if let Some(stat) = written {
                        return Ok(self.turn(hold, previous, predecessor_lost, Begun::at(begun, &stat)));
                    }
                }
                Transaction::Unknown => {}
                Transaction::Refused(0, zk::Error::NoNode) => {
                    return Err(Lost::because(LossReason::NodeRemoved).into());
                }
                // What we have read is of the past, or our own transaction has come first.
                Transaction::Refused(_, zk::Error::BadVersion | zk::Error::NoNode | zk::Error::NodeExists) => {
                    retry.raced().await?;
                    sync(&session, &self.turn).await?;
                }
                Transaction::Refused(_, source) => return Err(Error::from_answer(&self.turn, source).into()),
            }
        }
    }

    fn turn(&self, hold: Hold, previous: Option<Bytes>, predecessor_lost: bool, begun: Begun) -> Turn {
        info!(node = hold.path(), token = %hold.token(), step = begun.record.completed, predecessor_lost, "turn begun");
        Turn {
            hold,
            relay: self.clone(),
            previous,
            predecessor_lost,
            begun,
        }
    }

    /// What became of the turn of the contender at `path`, whose session may have ended. Nothing of it is to come
    /// afterwards, since its node is gone.
    async fn fate(&self, path: &str, token: i64, begun: &Begun) -> Result<Fate, Error> {
        retry_across_sessions(&self.zk, |session| async move {
            delete_if_exists(&session, path).await?;
            sync(&session, &self.turn).await?;
            let now = match read(&session, &self.turn).await? {
                Some((data, stat)) if stat.czxid == begun.czxid => Some(self.parse(&data)?),
                // The relay was removed.
                _ => None,
            };
            Ok(begun.record.fate(token, now.as_ref()))
        })
        .await
    }

    pub(super) fn parse(&self, data: &[u8]) -> Result<Record, Error> {
        Record::parse(data).ok_or_else(|| Error::Layout {
            path: self.turn.clone(),
            reason: "its data is not that of a relay; use another path",
        })
    }

    fn tampered_with(&self) -> Error {
        Error::Layout {
            path: self.turn.clone(),
            reason: "another client has written or removed what the relay remembers; remove the relay and begin again",
        }
    }
}

impl AbandonedTurns {
    fn add(&mut self, token: i64, predecessor_lost: bool) {
        self.0.retain(|(known, _)| *known != token);
        self.0.push((token, predecessor_lost));
    }

    /// What `token` was told of its predecessor, if it is one of these.
    fn told(&self, token: i64) -> Option<bool> {
        let found = self.0.iter().find(|(known, _)| *known == token);
        found.map(|(_, predecessor_lost)| *predecessor_lost)
    }
}

/// Why a turn was not, or may not have been, completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The turn was lost before it was completed. The result was not stored; the next participant hears of a lost
    /// predecessor.
    #[error("the result was not stored; the next participant hears of a lost predecessor")]
    Lost(#[from] Lost),
    /// The session ended before the answer came, and it can no longer be found out whether the result was stored: too
    /// many others were since, the relay was removed, or the coordinator was closed.
    #[error("the session ended before the answer came: the result was stored or not")]
    Indeterminate,
    /// The result was not stored, for a reason that stays.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(CompleteError, Self::Lost(lost) => lost.nature(), Self::Error(error) => error.nature());
