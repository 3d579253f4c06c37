//! The retry policy: one for the whole crate.
//!
//! A request that was not answered is sent again after a pause that grows exponentially, with full jitter. Nothing is
//! sent while the link is down. A request at which connections break again and again (one larger than the server's
//! `jute.maxbuffer` does that) is an error, not a storm: see [`Link`](super::link) for how a break is put down to a
//! request. After a break a request is sent again only on a connection that has answered something else.
//!
//! A budget that all requests of a coordinator share delays retries where there are too many of them; it fails none.
//! Heartbeats have a schedule of their own, and the reaper never gives up.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::request::{Reply, Unanswered};
use super::state::{Lost, lock};
use crate::error::Error;
use crate::metrics;

/// The longest pause before the first retry; each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause before any retry.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The shortest pause before any retry.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How many connections may break at one request.
const BREAKS: u32 = 5;

/// The retries of one request, or of one round of a read and a write that depends on it.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    session: &'a Arc<Session>,
    path: &'a str,
    size: usize,
    backoff: Backoff,
    breaks: u32,
}

impl<'a> Retry<'a> {
    /// Of a request about `path` that carries `size` bytes of data.
    pub(crate) fn new(session: &'a Arc<Session>, path: &'a str, size: usize) -> Self {
        Self {
            session,
            path,
            size,
            backoff: Backoff::default(),
            breaks: 0,
        }
    }

    /// Waits before a request that was not answered is sent again.
    ///
    /// # Errors
    /// [`Error::ConnectionBreaks`] if connections break at this request again and again.
    pub(crate) async fn after(&mut self, unanswered: Unanswered) -> Result<(), Interrupted> {
        if unanswered == (Unanswered::Unknown { blamed: true }) {
            self.breaks += 1;
        }
        if self.breaks >= BREAKS {
            return Err(Interrupted::Failed(Error::ConnectionBreaks {
                path: self.path.to_owned(),
                size: self.size,
                connections: self.breaks,
            }));
        }
        self.session.connected().await?;
        self.pause().await?;
        self.session.connected().await?;
        match unanswered {
            Unanswered::Unknown { .. } => Ok(self.hear_from_server().await?),
            Unanswered::Busy => Ok(()),
        }
    }

    /// Waits before what was read is read again, because it has changed meanwhile.
    pub(crate) async fn raced(&mut self) -> Result<(), Lost> {
        self.pause().await
    }

    async fn pause(&mut self) -> Result<(), Lost> {
        self.session.counters().retries.fetch_add(1, Ordering::Relaxed);
        metrics::count(metrics::REQUEST_RETRIES, None, &[], 1);
        let delay = self.session.retry_budget().delay(Instant::now());
        self.session.sleep(self.backoff.next() + delay).await
    }

    /// Makes the server answer something on this connection, so that the next break can be put down to our request.
    async fn hear_from_server(&mut self) -> Result<(), Lost> {
        while !self.session.has_answered() {
            let asked = self.session.read(|client| async move { client.check_stat("/").await });
            if let Reply::Unanswered(_) = asked.await? {
                self.pause().await?;
            }
        }
        Ok(())
    }
}

fn longest_pause(pauses: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << pauses.min(10)).min(LONGEST_PAUSE)
}

/// How many retries a coordinator sends in a second, all requests taken together, once the burst is used up.
const RETRIES_PER_SECOND: u32 = 500;

/// How many retries may follow each other at once.
const BURST: u32 = 250;

/// The budget of retries of one coordinator: a leaky bucket that delays.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// When the retries that were let through are worked off.
    worked_off: Mutex<Option<Instant>>,
}

impl RetryBudget {
    /// Takes one retry out of the budget, and says for how long it is to be delayed.
    fn delay(&self, now: Instant) -> Duration {
        let each = Duration::from_secs(1) / RETRIES_PER_SECOND;
        let mut worked_off = lock(&self.worked_off);
        let until = worked_off.map_or(now, |until| until.max(now)) + each;
        *worked_off = Some(until);
        (until - now).saturating_sub(each * BURST)
    }
}

/// The pauses of one loop, in a session or outside any.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    pauses: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let longest = longest_pause(self.pauses);
        self.pauses += 1;
        longest.mul_f64(fastrand::f64()).max(SHORTEST_PAUSE)
    }
}

/// The answer of a server that refuses for good, as an error about `path`.
pub(crate) fn refused(path: &str, source: zk::Error) -> Interrupted {
    Interrupted::Failed(Error::from_answer(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        assert_eq!(longest_pause(0), FIRST_PAUSE);
        assert_eq!(longest_pause(3), FIRST_PAUSE * 8);
        assert_eq!(longest_pause(7), LONGEST_PAUSE);
        assert_eq!(longest_pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn a_loop_counts_its_pauses() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() >= SHORTEST_PAUSE);
        backoff.next();
        assert_eq!(backoff.pauses, 2);
    }

    #[test]
    fn the_budget_delays_what_exceeds_its_rate() {
        let (budget, now) = (RetryBudget::default(), Instant::now());
        let delays: Vec<_> = (0..1_000).map(|_| budget.delay(now)).collect();
        let free = delays.iter().filter(|delay| delay.is_zero()).count();
        assert_eq!(free, BURST as usize);
        assert_eq!(delays[999], Duration::from_millis(1_500));
        assert_eq!(budget.delay(now + Duration::from_secs(3)), Duration::ZERO);
    }
}
