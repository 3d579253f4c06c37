//! [`RetryPolicy`]: how long an item that failed waits for its next attempt.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long an item that failed waits for its next attempt.
///
/// It stands in the queue, so that all consumers follow the same one.
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use zookeeper_recipes::queue::{RetryPolicy, WorkQueue};
///
/// // After 1 s, 2 s, 4 s, up to a minute.
/// let policy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(60));
/// let mails = WorkQueue::builder(&zk, "/mails").retry(policy).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    first: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

impl RetryPolicy {
    /// Retries at once, at the item's place in line.
    pub const fn immediate() -> Self {
        Self {
            first: Duration::ZERO,
            factor: 1.0,
            max: Duration::ZERO,
            jitter: 0.0,
        }
    }

    /// Retries after the same delay each time.
    pub const fn fixed(delay: Duration) -> Self {
        Self {
            first: delay,
            factor: 1.0,
            max: delay,
            jitter: 0.0,
        }
    }

    /// Retries after `first`, and then after twice the last delay each time, up to `max`; a random half of each delay is
    /// left out, so that items that failed together are not retried together.
    pub const fn exponential(first: Duration, max: Duration) -> Self {
        Self {
            first,
            factor: 2.0,
            max,
            jitter: 0.5,
        }
    }

    /// Sets by what each delay is multiplied for the next one. At least 1.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets how much of a delay may be left out, at random: 0 for nothing, 1 for all of it.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.clamp(0.0, 1.0);
        self
    }

    /// The delay after attempt number `attempt`, from 1; `random` is below 1.
    pub(crate) fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1).min(1000)).unwrap_or(1000);
        let grown = self.first.as_secs_f64() * self.factor.powi(exponent);
        let bounded = grown.min(self.max.as_secs_f64());
        Duration::try_from_secs_f64(bounded * (1.0 - self.jitter * random)).unwrap_or(self.max)
    }
}

impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.first.as_millis(),
            self.factor,
            self.max.as_millis(),
            self.jitter
        )
    }
}

impl FromStr for RetryPolicy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or(());
        let first = Duration::from_millis(next()?.parse().map_err(|_| ())?);
        let factor: f64 = next()?.parse().map_err(|_| ())?;
        let max = Duration::from_millis(next()?.parse().map_err(|_| ())?);
        let jitter: f64 = next()?.parse().map_err(|_| ())?;
        match factor.is_finite() && jitter.is_finite() {
            true => Ok(Self {
                first,
                factor: 1.0,
                max,
                jitter: 0.0,
            }
            .factor(factor)
            .jitter(jitter)),
            false => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_grow_up_to_the_largest() {
        let policy = RetryPolicy::exponential(Duration::from_secs(1), Duration::from_secs(10)).jitter(0.0);
        let delays: Vec<u64> = (1..=6).map(|attempt| policy.delay(attempt, 0.3).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(RetryPolicy::immediate().delay(9, 0.9), Duration::ZERO);
    }

    #[test]
    fn what_is_no_number_is_no_policy() {
        for text in ["", "1000 2 9000", "1000 inf 9000 0", "1000 2 9000 NaN", "x 2 9000 0"] {
            assert_eq!(text.parse::<RetryPolicy>(), Err(()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_jitter(attempt in any::<u32>(), random in 0.0..1.0_f64, first in 0_u64..100_000, max in 0_u64..1_000_000) {
            let policy = RetryPolicy::exponential(Duration::from_millis(first), Duration::from_millis(max));
            let (plain, delay) = (policy.jitter(0.0).delay(attempt, 0.0), policy.delay(attempt, random));
            prop_assert!(delay <= plain && delay * 2 + Duration::from_nanos(2) >= plain);
            prop_assert!(plain <= Duration::from_millis(max));
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }
}
