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
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tracing::{debug, warn};
use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::link::Link;
use super::moment::Moment;
use super::operation::{Operation, is_ephemeral};
use super::race::race;
use super::state::{LossReason, Lost};
use crate::error::Error;
use crate::metrics::{self, GaugeGuard};

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
    Refused(usize, zk::Error),
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

impl<T> Reply<T> {
    /// The answer, if that is what came.
    pub(crate) fn answer(self) -> Option<T> {
        match self {
            Self::Answer(answer) => Some(answer),
            Self::Refused(_) | Self::Unanswered(_) => None,
        }
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Reply<U> {
        match self {
            Self::Answer(answer) => Reply::Answer(f(answer)),
            Self::Refused(error) => Reply::Refused(error),
            Self::Unanswered(unanswered) => Reply::Unanswered(unanswered),
        }
    }
}

impl Session {
    /// Sends one request that changes nothing.
    pub(crate) async fn read<T, F: Future<Output = Result<T, zk::Error>>>(
        self: &Arc<Self>,
        send: impl FnOnce(zk::Client) -> F,
    ) -> Result<Reply<T>, Lost> {
        let (attempt, client) = self.attempt("read").await?;
        Ok(attempt.settle(self.while_alive(send(client)).await?))
    }

    /// Sends one request that is committed, which proves the session.
    pub(crate) async fn write<T, F: Future<Output = Result<T, zk::Error>>>(
        self: &Arc<Self>,
        send: impl FnOnce(zk::Client) -> F,
    ) -> Result<Reply<T>, Lost> {
        let (_, reply) = self.send_committed(send, |_| None).await?;
        Ok(reply)
    }

    /// Creates the node at `path`, or at `path` with a sequence number appended.
    pub(crate) async fn create(
        self: &Arc<Self>,
        path: &str,
        data: &[u8],
        mode: zk::CreateMode,
    ) -> Result<Reply<CreatedNode>, Lost> {
        let options = &mode.with_acls(self.acls());
        let send = |client: zk::Client| async move { client.create(path, data, options).await };
        let owner = |stat: &zk::Stat| is_ephemeral(mode).then_some(stat.ephemeral_owner);
        let (connection, reply) = self.send_committed(send, |(stat, _)| owner(stat)).await?;
        Ok(reply.map(|(stat, sequence)| {
            let path = match mode {
                zk::CreateMode::EphemeralSequential | zk::CreateMode::PersistentSequential => {
                    format!("{path}{sequence}")
                }
                _ => path.to_owned(),
            };
            CreatedNode { path, stat, connection }
        }))
    }

    /// Sends one request whose answer proves the session, unless the owner that it shows is another one.
    async fn send_committed<T, F: Future<Output = Result<T, zk::Error>>>(
        self: &Arc<Self>,
        send: impl FnOnce(zk::Client) -> F,
        owner: impl FnOnce(&T) -> Option<i64>,
    ) -> Result<(u64, Reply<T>), Lost> {
        let (attempt, client) = self.attempt("write").await?;
        let answer = self.while_alive(send(client)).await?;
        if let Ok(answer) = &answer {
            attempt.committed(owner(answer))?;
        }
        Ok((attempt.connection, attempt.settle(answer)))
    }

    /// Sends one transaction: all of it is done, or nothing.
    ///
    /// # Errors
    /// [`Error::TooLarge`] before anything is sent, if a server would cut the connection.
    pub(crate) async fn commit(self: &Arc<Self>, steps: &[Operation]) -> Result<Commit, Interrupted> {
        self.check_steps(steps)?;
        let (attempt, client) = self.attempt("transaction").await?;
        let mut multi = client.new_multi_writer();
        for step in steps {
            let added = step.add_to(&mut multi, self.acls());
            added.map_err(|error| Error::from_answer(step.path(), error))?;
        }
        let (index, source) = match self.while_alive(multi.commit()).await? {
            Ok(results) => {
                attempt.committed(Operation::owner(steps, &results))?;
                attempt.meter.ended("none");
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
            (Reply::Refused(source), Some(index)) => Ok(Commit::Refused(index, source)),
            (Reply::Refused(source), None) => {
                let path = steps.first().map_or("/", Operation::path);
                Err(Error::from_answer(path, source).into())
            }
            (Reply::Unanswered(unanswered), _) => Ok(Commit::Unanswered(unanswered)),
            (Reply::Answer(()), _) => Ok(Commit::Unanswered(Unanswered::Busy)),
        }
    }

    /// Waits for `work`, which is dropped if the session ends first.
    pub(crate) fn while_alive<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = Result<T, Lost>> {
        // A request goes out with the first poll, in the order in which callers begin.
        race(work, self.ended())
    }

    /// Begins a request: waits for the link.
    async fn attempt(self: &Arc<Self>, operation: &'static str) -> Result<(Attempt<'_>, zk::Client), Lost> {
        self.connected().await?;
        let client = self.client()?;
        self.counters().requests.fetch_add(1, Ordering::Relaxed);
        let (number, connection) = self.with_link(Link::begin);
        let attempt = Attempt {
            session: self,
            number,
            connection,
            sent: Moment::now(),
            meter: RequestMeter::start(operation),
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
    meter: RequestMeter,
}

/// Measures one request, until it is dropped.
struct RequestMeter {
    operation: &'static str,
    began: Instant,
    /// `none`, or why there is no answer to use; unset if the caller is gone.
    error: OnceLock<&'static str>,
    _in_flight: GaugeGuard,
}

impl RequestMeter {
    fn start(operation: &'static str) -> Self {
        Self {
            operation,
            began: Instant::now(),
            error: OnceLock::new(),
            _in_flight: GaugeGuard::new(metrics::REQUESTS_IN_FLIGHT, None, None),
        }
    }

    fn ended(&self, error: &'static str) {
        let _ = self.error.set(error);
    }
}

impl Drop for RequestMeter {
    fn drop(&mut self) {
        let error = self.error.get().copied().unwrap_or("cancelled");
        let labels = [("operation", self.operation), ("error.type", error)];
        let took = self.began.elapsed().as_secs_f64();
        metrics::observe(metrics::REQUEST_DURATION, None, &labels, took);
    }
}

impl Attempt<'_> {
    /// Classifies the answer.
    fn settle<T>(&self, answer: Result<T, zk::Error>) -> Reply<T> {
        let error = match answer {
            Ok(answer) => {
                self.finish();
                self.meter.ended("none");
                return Reply::Answer(answer);
            }
            Err(error) => error,
        };
        let Some(mut unanswered) = classify(&error) else {
            self.finish();
            self.meter.ended("refused");
            return Reply::Refused(error);
        };
        self.meter.ended(match unanswered {
            Unanswered::Busy => "busy",
            Unanswered::Unknown { .. } => "no_answer",
        });
        match (&mut unanswered, &error) {
            // The task that serves the client has died. Nothing else would tell.
            (Unanswered::Unknown { .. }, zk::Error::ClientClosed) => self.session.end(LossReason::SessionExpired),
            // The next answer would not be understood either; a few are asked for.
            (Unanswered::Unknown { blamed }, zk::Error::UnmarshalError { .. }) => {
                self.finish();
                warn!(%error, "an answer of the server is not understood");
                *blamed = true;
            }
            // The server has answered, be it that it leaves the fate of the request open.
            (Unanswered::Busy, _) | (_, zk::Error::UnexpectedErrorCode(_)) => self.finish(),
            (Unanswered::Unknown { blamed }, _) => {
                *blamed = self.session.with_link(|link| link.broke(self.number, self.connection));
            }
        }
        debug!(%error, ?unanswered, "the answer does not tell whether a request was applied");
        Reply::Unanswered(unanswered)
    }

    /// The server has committed the request, and shows the owner of what was created.
    fn committed(&self, owner: Option<i64>) -> Result<(), Lost> {
        self.finish();
        if let Some(owner) = owner {
            self.session.verify(self.connection, owner)?;
        }
        self.session.proved(self.sent);
        Ok(())
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

/// Whether an error leaves it open what became of a request; `None` if the server answered that it was not applied.
pub(super) fn classify(error: &zk::Error) -> Option<Unanswered> {
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
        | Error::RuntimeInconsistent => None,
        // System and runtime errors, data inconsistency, connection loss, a time-out of the operation or of the request,
        // a session that one server does not know: answers that leave it open. ClickHouse Keeper sends some of them when
        // it has no quorum.
        Error::UnexpectedErrorCode(-4..=-1 | -7 | -12 | -122) => Some(Unanswered::Unknown { blamed: false }),
        Error::UnexpectedErrorCode(_) => None,
        Error::Throttled | Error::SessionMoved => Some(Unanswered::Busy),
        _ => Some(Unanswered::Unknown { blamed: false }),
    }
}

#[cfg(test)]
mod tests {
    use zk::Error;

    use super::*;

    #[test]
    fn only_an_answer_of_the_server_is_certain() {
        assert_eq!(classify(&Error::NodeExists), None);
        assert_eq!(classify(&Error::Throttled), Some(Unanswered::Busy));
        for unknown in [
            Error::UnexpectedErrorCode(-7),
            Error::ConnectionLoss,
            Error::Timeout,
            Error::SessionExpired,
            Error::ClientClosed,
        ] {
            assert_eq!(
                classify(&unknown),
                Some(Unanswered::Unknown { blamed: false }),
                "{unknown}"
            );
        }
    }
}
