//! A point in time on a clock that goes on while the machine sleeps.

use std::ops::{Add, Sub};
use std::time::Duration;

use tokio::time::Instant;

/// A point in time, as the time since an origin that all of the process shares.
///
/// The lease counts in it, because a suspended machine sends nothing while the ensemble counts on. `Instant` stands
/// still then, on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(Duration);

impl Moment {
    /// Reads the clock.
    pub(crate) fn now() -> Self {
        Self(since_origin())
    }

    /// The time since `earlier`, zero if that is later.
    pub(crate) fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `duration` before this one, `None` if the origin is later than that.
    pub(crate) fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(duration).map(Self)
    }

    /// When a timer has to fire for this moment.
    ///
    /// Timers count on another clock, which may stand still in between. A timer only wakes code that looks at
    /// [`now`](Self::now) again.
    pub(crate) fn timer(self) -> Instant {
        Instant::now() + self.saturating_duration_since(Self::now())
    }
}

/// The moment that long after the origin: for times that are not read from the clock, as in a model.
impl From<Duration> for Moment {
    fn from(since_origin: Duration) -> Self {
        Self(since_origin)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

/// Stops at the origin; [`checked_sub`](Moment::checked_sub) tells.
impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

/// [`saturating_duration_since`](Moment::saturating_duration_since).
impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_origin() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let read = clock_gettime(ClockId::Boottime);
    // Neither is negative: the origin is the start of the machine.
    Duration::new(
        u64::try_from(read.tv_sec).unwrap_or_default(),
        u32::try_from(read.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_origin() -> Duration {
    use std::sync::OnceLock;

    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    ORIGIN.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from(Duration::from_millis(millis))
    }

    #[test]
    fn differences_saturate_and_the_origin_is_the_first_moment() {
        assert_eq!(at(5) - at(3), Duration::from_millis(2));
        assert_eq!(at(3) - at(5), Duration::ZERO);
        assert_eq!(at(3).checked_sub(Duration::from_millis(3)), Some(at(0)));
        assert_eq!(at(3).checked_sub(Duration::from_millis(4)), None);
        assert_eq!(at(3) - Duration::from_millis(4), at(0));
    }

    #[test]
    fn the_clock_never_goes_back() {
        let readings: Vec<_> = std::iter::repeat_with(Moment::now).take(1_000).collect();
        assert!(readings.is_sorted());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_counts_the_time_of_suspends() {
        use rustix::time::{ClockId, clock_gettime};

        let boot = || Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap();
        let (before, moment, after) = (boot(), Moment::now(), boot());
        assert!(at(0) + before <= moment && moment <= at(0) + after);
    }

    #[test]
    fn a_timer_never_fires_before_its_moment() {
        let moment = Moment::now() + Duration::from_secs(60);
        let early = Instant::now() + Duration::from_secs(59);
        let timer = moment.timer();
        assert!(early < timer && timer <= Instant::now() + Duration::from_secs(60));
        assert!(at(0).timer() <= Instant::now());
    }
}
