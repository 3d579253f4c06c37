//! [`Relay`]: strictly ordered steps of one chain, each one given the result of the one before.
//!
//! * `turn` – one step, from its beginning to its result
//! * `record` – what is remembered of the turns, pure

mod record;
mod turn;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::debug;
use zookeeper_client as zk;

use self::turn::{AbandonedTurns, Remembered};
use crate::error::Error;
use crate::line::{AcquireTimeoutError, Ahead, Contender, ContenderNames, Enrolment, Line, TryAcquireError};
use crate::session::{CleanupToken, Coordinator, Interrupted, Operation, Retry, Session, refused};
use crate::znode::{NodePath, Transaction, commit, delete, retry_across_sessions, with_deadline};

pub use self::turn::{CompleteError, Turn};

/// A chain of steps that are done one after the other, by whichever participants join: each one gets the result of the
/// step before, works, and completes its step with a result of its own. Like the baton of a relay race, the result passes
/// from hand to hand, and at most one participant has it.
///
/// A result is stored in the transaction that gives the place up, and only while the place is held. So a participant that
/// dies, or is cut off and does not know it, leaves the last completed result as it is; its successor gets that, and is
/// told that its [predecessor was lost](Turn::predecessor_lost).
///
/// # Layout
/// Ours; Curator has no such recipe. `<path>/line/_c_<uuid>-lock-<seq>` are the participants, in the line of a
/// [`FairLock`](crate::FairLock). `<path>/result`, persistent, is the last result, as it is. `<path>/turn`, persistent,
/// is what is remembered of the turns, in decimal digits: how many were completed, the token of the participant whose turn
/// is on or 0, and the tokens of the participants that completed the last sixteen. It stays until [`remove`](Self::remove).
///
/// # Fairness
/// Turns follow the order in which the ensemble created the participants' nodes. A participant whose session expires
/// while it waits joins again at the tail.
///
/// # Cost
/// Join: as for a [`FairLock`](crate::FairLock), two reads, and one transaction that writes down that the turn is on.
/// Complete: one transaction. A participant that waits costs one watch, and nothing while it waits.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::Relay;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let statement = Relay::new(&zk, "/statements/2026-11")?;
///
/// let turn = statement.join().await?;
/// if turn.predecessor_lost() {
///     // ... see how far it came ...
/// }
/// let balance = turn.run_until_lost(add_to(turn.previous())).await?;
/// turn.complete(balance).await?;
/// # async fn add_to(_: Option<&bytes::Bytes>) -> String { String::new() }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Relay {
    zk: Coordinator,
    path: NodePath,
    line: Line,
    turn: String,
    result: String,
}

impl Relay {
    /// A relay at `path`, below the chroot. Nothing is sent; its nodes are made when they are first needed.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        let path = NodePath::new(path)?;
        Ok(Self {
            zk: zk.clone(),
            line: Line::new(
                zk.clone(),
                NodePath::new(&path.child("line"))?,
                ContenderNames::CURATOR_LOCK,
            ),
            turn: path.child("turn"),
            result: path.child("result"),
            path,
        })
    }

    /// The path of the relay, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Joins the line and waits for the turn, however long it takes: lost connections, expired sessions and servers that
    /// are away are waited out.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future at any point leaves the line: its node is removed in the background, within moments while the
    /// session lives. If its turn began at that moment, the next participant is told of a lost predecessor.
    ///
    /// # When the session is lost
    /// The future goes on waiting: it joins the line again, at the tail, in the next session.
    pub async fn join(&self) -> Result<Turn, Error> {
        self.join_tracked(&Enrolment::EXCLUSIVE, None).await
    }

    /// Takes the turn if it is free and no participant waits for it. Otherwise it fails after one read and no write.
    ///
    /// It waits while there is no connection; bound it with [`tokio::time::timeout`] where that matters.
    ///
    /// # Errors
    /// [`TryAcquireError::Contended`] if another participant is there.
    ///
    /// # Cancel safety
    /// As [`join`](Self::join).
    pub async fn try_join(&self) -> Result<Turn, TryAcquireError> {
        let mut abandoned = AbandonedTurns::default();
        loop {
            let Some(hold) = self.line.try_acquire(&Enrolment::EXCLUSIVE).await? else {
                return Err(TryAcquireError::Contended);
            };
            match self.begin(hold, &mut abandoned).await {
                Ok(turn) => return Ok(turn),
                Err(interrupted) => self.is_worth_another_try(interrupted)?,
            }
        }
    }

    /// [`join`](Self::join) for at most `limit`, requests to the ensemble included; after that it may take another half
    /// second to leave the line.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Elapsed`] if the time is up.
    ///
    /// # Cancel safety
    /// As [`join`](Self::join).
    pub async fn join_timeout(&self, limit: Duration) -> Result<Turn, AcquireTimeoutError> {
        let (ahead, began) = (Ahead::default(), Instant::now());
        let enrolment = &Enrolment::EXCLUSIVE.noting(&ahead);
        let joined = with_deadline(&self.zk, limit, |cleanup| async move {
            self.join_tracked(enrolment, Some(&cleanup)).await
        });
        match joined.await? {
            Some(turn) => Ok(turn),
            None => Err(ahead
                .elapsed(&self.zk, std::slice::from_ref(&self.line), self.path(), limit, began)
                .await),
        }
    }

    /// The result of the last completed turn, without joining: two reads at once, and a third
    /// where they do not belong together.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn latest(&self) -> Result<Option<Bytes>, Error> {
        retry_across_sessions(&self.zk, |session| async move {
            let Remembered { found, result } = self.remembered(&session).await?;
            Ok(result.filter(|_| found.is_some_and(|(record, _)| record.completed > 0)))
        })
        .await
    }

    /// Returns the holder of the turn and the waiters, in order: one list, and one read for each of them; where there
    /// are many, for 64 of them.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn contenders(&self) -> Result<Vec<Contender>, Error> {
        self.line.contenders().await
    }

    /// Removes what the relay remembers, so that it starts again, without a result. A turn that is on cannot be completed
    /// any more; waiters keep waiting.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the relay was removed, or leaves empty directories behind; remove it again.
    pub async fn remove(&self) -> Result<(), Error> {
        retry_across_sessions(&self.zk, |session| async move {
            self.forget(&session).await?;
            for path in [self.line.path().as_str(), self.path()] {
                remove_unless_in_use(&session, path).await?;
            }
            Ok(())
        })
        .await
    }

    /// Deletes the record and the result in one transaction: a result that is deleted later could be that of a relay that
    /// has started again.
    async fn forget(&self, session: &Arc<Session>) -> Result<(), Interrupted> {
        // Which of them is there. What is not is created first, so that it is not there when the other is deleted.
        let (mut turn, mut result) = (true, true);
        let mut retry = Retry::new(session, &self.turn, 0);
        loop {
            let mut steps = Vec::new();
            for (path, there) in [(&self.turn, turn), (&self.result, result)] {
                if !there {
                    steps.push(Operation::create(path, Vec::new(), zk::CreateMode::Persistent));
                }
                steps.push(Operation::delete(path, None));
            }
            let (index, source) = match commit(&mut retry, session, &steps).await? {
                Transaction::Applied(_) => return Ok(()),
                Transaction::Unknown => continue,
                Transaction::Refused(index, source) => (index, source),
            };
            let of_turn = index <= usize::from(!turn);
            match source {
                // With nothing to delete, and without a directory to create it in.
                zk::Error::NoNode if !turn => return Ok(()),
                zk::Error::NoNode if of_turn => (turn, result) = (false, true),
                zk::Error::NoNode => result = false,
                zk::Error::NodeExists => {
                    (turn, result) = (true, true);
                    retry.raced().await?;
                }
                source => {
                    let path = if of_turn { &self.turn } else { &self.result };
                    return Err(Error::from_answer(path, source).into());
                }
            }
        }
    }

    async fn join_tracked(&self, enrolment: &Enrolment, cleanup: Option<&CleanupToken>) -> Result<Turn, Error> {
        let mut abandoned = AbandonedTurns::default();
        loop {
            let hold = self.line.acquire(enrolment, cleanup).await?;
            match self.begin(hold, &mut abandoned).await {
                Ok(turn) => return Ok(turn),
                Err(interrupted) => self.is_worth_another_try(interrupted)?,
            }
        }
    }

    fn is_worth_another_try(&self, interrupted: Interrupted) -> Result<(), Error> {
        match interrupted {
            Interrupted::Lost(lost) => {
                debug!(path = self.path(), reason = %lost.reason, "lost the turn before it began; joining again");
                Ok(())
            }
            Interrupted::Failed(error) => Err(self.zk.ended().unwrap_or(error)),
        }
    }
}

/// Deletes a node, unless it is gone or participants stand below it.
async fn remove_unless_in_use(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    match delete(session, path, None).await? {
        Ok(()) | Err(zk::Error::NoNode | zk::Error::NotEmpty) => Ok(()),
        Err(source) => Err(refused(path, source)),
    }
}

/// For a fuzzer.
#[cfg(feature = "_model")]
pub(super) fn parse(data: &[u8]) {
    _ = record::Record::parse(data);
}
