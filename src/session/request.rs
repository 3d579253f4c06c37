//! The request core: every request to the ensemble passes here.
//!
//! One request ([`Session::read`], [`Session::write`], [`Session::create`]) or one transaction given as values
//! ([`Session::commit`]). Here, once, stands what every request needs:
//! * it is not sent while the link is down, so that a request whose caller is gone by then is never sent;
//! * it ends with the session;
//! * a committed one proves the session, from the moment at which it was sent;
//! * the owner of what was created shows whether the session is still ours (a server can adopt another one silently);
//! * the answer is classified by whether the server gave one, since a request in flight at a cut fails with whatever
//!   the link died of, not with `ConnectionLoss` alone;
//! * a connection that breaks is put down to its oldest unanswered request ([`Unanswered::Unknown`]).

use std::future::Future;
use std::sync::Arc;

use tracing::{debug, warn};
use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::moment::Moment;
use super::operation::Operation;
use super::state::{LossReason, Lost};
use crate::error::Error;

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    Answer(T),
    /// The server answered: it was not applied, and would not be the next time.
    Refused(zk::Error),
    Unanswered(Unanswered),
}

/// Why a request has to be sent again, or its fate has to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The server answered that it should be sent again later. It was not applied.
    Busy,
    /// No answer came: it may have been applied.
    Unknown {
        /// The connection had answered others, and broke while this was its oldest unanswered request.
        blamed: bool,
    },
}

/// What came of a transaction.
#[derive(Debug)]
pub(crate) enum Commit {
    /// All of it was done. The results are those of its steps, in their order.
    Applied(Applied),
    /// Nothing was done, because of this step.
    Refused { index: usize, source: zk::Error },
    /// All was done or nothing; nothing, if the server was busy.
    Unanswered(Unanswered),
}

/// A transaction that was committed. It has counted as a proof of the session.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) results: Vec<zk::MultiWriteResult>,
    /// The connection on which it was sent.
    pub(crate) connection: u64,
}

/// A node that was created.
#[derive(Debug)]
pub(crate) struct CreatedNode {
    /// Its path, from the chroot, with the sequence number if it has one.
    pub(crate) path: String,
    pub(crate) stat: zk::Stat,
    /// The connection on which the create was sent.
    pub(crate) connection: u64,
}

impl Session {
    /// Sends one request that changes nothing.
    pub(crate) async fn read<T, F: Future<Output = Result<T, zk::Error>>>(
        self: &Arc<Self>,
        send: impl FnOnce(zk::Client) -> F,
    ) -> Result<Reply<T>, Lost> {
        let (attempt, client) = self.attempt().await?;
        Ok(attempt.settle(attempt.answer(send(client)).await?))
    }

    /// Sends one request that is committed, which proves the session.
    pub(crate) async fn write<T, F: Future<Output = Result<T, zk::Error>>>(
        self: &Arc<Self>,
        send: impl FnOnce(zk::Client) -> F,
    ) -> Result<Reply<T>, Lost> {
        let (attempt, client) = self.attempt().await?;
        let answer = attempt.answer(send(client)).await?;
        if answer.is_ok() {
            self.proved(attempt.sent);
        }
        Ok(attempt.settle(answer))
    }

    /// Creates the node at `path`, or at `path` with a sequence number appended.
    pub(crate) async fn create(
        self: &Arc<Self>,
        path: &str,
        data: &[u8],
        mode: zk::CreateMode,
    ) -> Result<Reply<CreatedNode>, Lost> {
        let (attempt, client) = self.attempt().await?;
        let options = mode.with_acls(self.acls());
        let answer = attempt.answer(client.create(path, data, &options)).await?;
        let created = match answer {
            Ok((stat, sequence)) => {
                attempt.finish();
                if matches!(mode, zk::CreateMode::Ephemeral | zk::CreateMode::EphemeralSequential) {
                    self.verify(attempt.connection, stat.ephemeral_owner)?;
                }
                self.proved(attempt.sent);
                let is_sequential = matches!(
                    mode,
                    zk::CreateMode::EphemeralSequential | zk::CreateMode::PersistentSequential
                );
                let path = match is_sequential {
                    true => format!("{path}{sequence}"),
                    false => path.to_owned(),
                };
                let connection = attempt.connection;
                Ok(CreatedNode { path, stat, connection })
            }
            Err(error) => Err(error),
        };
        Ok(attempt.settle(created))
    }

    /// Sends one transaction: all of it is done, or nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything is sent, if a server would cut the connection.
    pub(crate) async fn commit(self: &Arc<Self>, steps: &[Operation]) -> Result<Commit, Interrupted> {
        self.check_steps(steps)?;
        let (attempt, client) = self.attempt().await?;
        let mut multi = client.new_multi_writer();
        for step in steps {
            let added = step.add_to(&mut multi, self.acls());
            added.map_err(|error| Error::from_answer(step.path(), error))?;
        }
        let (index, source) = match attempt.answer(multi.commit()).await? {
            Ok(results) => {
                attempt.finish();
                if let Some(owner) = Operation::owner(steps, &results) {
                    self.verify(attempt.connection, owner)?;
                }
                self.proved(attempt.sent);
                let connection = attempt.connection;
                return Ok(Commit::Applied(Applied { results, connection }));
            }
            Err(zk::MultiWriteError::OperationFailed { index, source }) => (Some(index), source),
            Err(zk::MultiWriteError::RequestFailed { source }) => (None, source),
        };
        // A refused transaction is committed as well; one that fails as a whole may have been answered by one server
        // alone, and other refusals by one that does not know the session.
        let is_proof = matches!(source, zk::Error::NoNode | zk::Error::NoAuth | zk::Error::BadVersion);
        if index.is_some() && is_proof {
            self.proved(attempt.sent);
        }
        match (attempt.settle::<()>(Err(source)), index) {
            (Reply::Refused(source), Some(index)) => Ok(Commit::Refused { index, source }),
            (Reply::Refused(source), None) => {
                let path = steps.first().map_or("/", Operation::path);
                Err(Error::from_answer(path, source).into())
            }
            (Reply::Unanswered(unanswered), _) => Ok(Commit::Unanswered(unanswered)),
            (Reply::Answer(()), _) => Ok(Commit::Unanswered(Unanswered::Busy)),
        }
    }

    /// Begins a request: waits for the link.
    async fn attempt(self: &Arc<Self>) -> Result<(Attempt<'_>, zk::Client), Lost> {
        self.connected().await?;
        let client = self.client()?;
        let (number, connection) = self.with_link(|link| link.begin());
        let attempt = Attempt {
            session: self,
            number,
            connection,
            sent: Moment::now(),
        };
        Ok((attempt, client))
    }

    fn check_steps(&self, steps: &[Operation]) -> Result<(), Error> {
        let mut size = 0_usize;
        for step in steps {
            size = size.saturating_add(step.size());
            self.check_size(step.path(), size)?;
        }
        Ok(())
    }
}

/// One request on its way.
struct Attempt<'a> {
    session: &'a Arc<Session>,
    number: u64,
    connection: u64,
    sent: Moment,
}

impl Attempt<'_> {
    async fn answer<T>(&self, request: impl Future<Output = T>) -> Result<T, Lost> {
        tokio::select! {
            // The request goes out with the first poll, in the order in which callers begin.
            biased;
            answer = request => Ok(answer),
            lost = self.session.ended() => Err(lost),
        }
    }

    /// Classifies the answer.
    fn settle<T>(&self, answer: Result<T, zk::Error>) -> Reply<T> {
        let error = match answer {
            Ok(answer) => {
                self.finish();
                return Reply::Answer(answer);
            }
            Err(error) => error,
        };
        match classify(&error) {
            ReplyStatus::Refused => {
                self.finish();
                Reply::Refused(error)
            }
            ReplyStatus::Busy => {
                self.finish();
                debug!(%error, "the server asks to try again later");
                Reply::Unanswered(Unanswered::Busy)
            }
            // The task that serves the client has died. Nothing else would tell.
            ReplyStatus::Unknown if error == zk::Error::ClientClosed => {
                self.session.end(LossReason::SessionExpired);
                Reply::Unanswered(Unanswered::Unknown { blamed: false })
            }
            // The next answer would not be understood either; a few are asked for.
            ReplyStatus::Unknown if matches!(error, zk::Error::UnmarshalError { .. }) => {
                self.finish();
                warn!(%error, "an answer of the server is not understood");
                Reply::Unanswered(Unanswered::Unknown { blamed: true })
            }
            // The server has answered, and left it open.
            ReplyStatus::Unknown if matches!(error, zk::Error::UnexpectedErrorCode(_)) => {
                self.finish();
                debug!(%error, "the answer leaves open whether a request was applied");
                Reply::Unanswered(Unanswered::Unknown { blamed: false })
            }
            ReplyStatus::Unknown => {
                let blamed = self.session.with_link(|link| link.broke(self.number, self.connection));
                debug!(%error, blamed, "a request was not answered");
                Reply::Unanswered(Unanswered::Unknown { blamed })
            }
        }
    }

    /// The server has answered.
    fn finish(&self) {
        self.session
            .with_link(|link| link.answered(self.number, self.connection));
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.session.with_link(|link| link.forget(self.number));
    }
}

/// What is known of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyStatus {
    /// The server answered: it was not applied.
    Refused,
    /// The server answered that it should be sent again later.
    Busy,
    /// No answer came: it may have been applied.
    Unknown,
}

fn classify(error: &zk::Error) -> ReplyStatus {
    use zk::Error;
    match error {
        Error::BadArguments(_)
        | Error::NoNode
        | Error::NoAuth
        | Error::BadVersion
        | Error::NoChildrenForEphemerals
        | Error::NodeExists
        | Error::NotEmpty
        | Error::InvalidAcl
        | Error::NotReadOnly
        | Error::NoWatcher
        | Error::QuotaExceeded
        | Error::MarshallingError
        | Error::Unimplemented
        | Error::ReconfigDisabled
        | Error::RuntimeInconsistent => ReplyStatus::Refused,
        // System and runtime errors, data inconsistency, connection loss, a time-out of the operation or of the request,
        // a session that one server does not know: answers that leave it open. ClickHouse Keeper sends some of them when it has no quorum.
        Error::UnexpectedErrorCode(-4..=-1 | -7 | -12 | -122) => ReplyStatus::Unknown,
        Error::UnexpectedErrorCode(_) => ReplyStatus::Refused,
        Error::Throttled | Error::SessionMoved => ReplyStatus::Busy,
        _ => ReplyStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use zk::Error;

    use super::*;

    #[test]
    fn only_an_answer_of_the_server_is_certain() {
        assert_eq!(classify(&Error::NodeExists), ReplyStatus::Refused);
        assert_eq!(classify(&Error::Throttled), ReplyStatus::Busy);
        for unknown in [
            Error::UnexpectedErrorCode(-7),
            Error::ConnectionLoss,
            Error::Timeout,
            Error::SessionExpired,
            Error::ClientClosed,
        ] {
            assert_eq!(classify(&unknown), ReplyStatus::Unknown, "{unknown}");
        }
    }
}
