//! [`once_per`]: something once per period, without a leader.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::timetable::Timetable;
use crate::error::{Error, classify};
use crate::session::Coordinator;
use crate::znode::{Expected, NodePath, Register, Stored, WriteOutcome};

/// Runs `work` if no process has done so in this period of the ensemble's time, for services without a leader: **at most
/// once** for each period and path. Returns `None` if another process was first.
///
/// Periods begin at multiples of `period` since 1970-01-01 00:00 UTC. The period is recorded before the work starts: if
/// the process fails in between, the work is not run in this period.
///
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3600);
/// let mailed = zookeeper_recipes::once_per(&zk, "/once/hourly-mail", hour, async { println!("mail") }).await?;
/// println!("{}", if mailed.is_some() { "mailed" } else { "another process has" });
/// # Ok(())
/// # }
/// ```
///
/// # Cost
/// Two writes and two reads, each write with a delete in the background; twice the writes for the one that runs the work.
///
/// # Errors
/// * [`OncePerError::Indeterminate`]: the session ended before an answer came. The work was not run by this call, and
///   perhaps the period is recorded.
/// * [`OncePerError::Error`]: what retrying would not help.
///
/// # Cancel safety
/// Dropping the future drops the work. The period may be recorded.
pub async fn once_per<F: Future>(
    zk: &Coordinator,
    path: &str,
    period: Duration,
    work: F,
) -> Result<Option<F::Output>, OncePerError> {
    let register = Register::new(zk.clone(), NodePath::new(path)?);
    let periods = Timetable::every(period)?;
    if take_period(&register, &periods).await? {
        return Ok(Some(work.await));
    }
    Ok(None)
}

/// Whether this call is the one that has recorded the current period.
async fn take_period(register: &Register, periods: &Timetable) -> Result<bool, OncePerError> {
    loop {
        let Some(stored) = register.read().await? else {
            write(register, Expected::Nothing, "").await?;
            continue;
        };
        // Writing it as it is shows the ensemble's time.
        if !write(register, Expected::Version(stored.version), stored.data.clone()).await? {
            continue;
        }
        let Some(shown) = register.read().await? else { continue };
        let end = recorded_end(register, &shown)?;
        if shown.mtime < end {
            return Ok(false);
        }
        let next = periods.next_millis(shown.mtime);
        let next = next.ok_or_else(|| Error::layout(register.path().as_str(), "its time is out of range"))?;
        if write(register, Expected::Version(shown.version), next.to_string()).await? {
            return Ok(true);
        }
    }
}

/// The end of the period that was recorded last.
fn recorded_end(register: &Register, stored: &Stored) -> Result<i64, Error> {
    match std::str::from_utf8(&stored.data) {
        Ok("") => Ok(i64::MIN),
        Ok(text) => text.parse().map_err(|_| other_data(register)),
        Err(_) => Err(other_data(register)),
    }
}

fn other_data(register: &Register) -> Error {
    Error::layout(
        register.path().as_str(),
        "it holds no end of a period; choose another path",
    )
}

/// Whether the data was written.
async fn write(register: &Register, expected: Expected, data: impl Into<Bytes>) -> Result<bool, OncePerError> {
    match register.write(expected, &data.into()).await? {
        WriteOutcome::Applied => Ok(true),
        WriteOutcome::Mismatch => Ok(false),
        WriteOutcome::Indeterminate => Err(OncePerError::Indeterminate),
    }
}

/// Why it is not known whether this process was to run the work. It did not run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OncePerError {
    /// The session ended before an answer came. The work was not run by this call.
    #[error("the session ended before the answer came: the work was not run, and the period may be recorded")]
    Indeterminate,
    /// More time would not help.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(OncePerError, Self::Error(error) => error.nature());
