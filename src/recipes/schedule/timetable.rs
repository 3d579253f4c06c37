//! [`Timetable`]: when a job is due. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// When a job is due, in the time of the ensemble.
///
/// ```
/// use std::time::Duration;
/// use zookeeper_recipes::Timetable;
///
/// let every_minute = Timetable::every(Duration::from_secs(60))?;
/// # Ok::<(), zookeeper_recipes::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Timetable(DueRule);

#[derive(Clone, Debug)]
enum DueRule {
    /// At each multiple of so many milliseconds since 1970.
    Every(i64),
    #[cfg(feature = "cron")]
    Cron(Box<croner::Cron>),
}

impl Timetable {
    /// Makes a job due once a `period`, at its multiples since 1970-01-01 00:00 UTC: all processes agree on them.
    ///
    /// # Errors
    /// [`Error::Layout`] for a period below a millisecond or of more than a hundred years.
    pub fn every(period: Duration) -> Result<Self, Error> {
        match i64::try_from(period.as_millis()) {
            Ok(millis @ 1..=3_153_600_000_000) => Ok(Self(DueRule::Every(millis))),
            _ => Err(Error::layout(
                "(timetable)",
                "a period is between a millisecond and a hundred years; choose another",
            )),
        }
    }

    /// Makes a job due at the times that a cron expression names, **in UTC**: five fields (minute, hour, day of month,
    /// month, day of week), or six with seconds in front.
    ///
    /// ```
    /// use zookeeper_recipes::Timetable;
    ///
    /// let weekdays_at_half_past_four = Timetable::cron("30 4 * * MON-FRI")?;
    /// # Ok::<(), zookeeper_recipes::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Layout`] for an expression that is malformed.
    #[cfg(feature = "cron")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
    pub fn cron(expression: &str) -> Result<Self, Error> {
        match expression.parse() {
            Ok(cron) => Ok(Self(DueRule::Cron(Box::new(cron)))),
            Err(_) => Err(Error::layout(
                expression,
                "it is no cron expression; write minute, hour, day of month, month, day of week",
            )),
        }
    }

    /// Returns the first due time after `time`, if there is one.
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use zookeeper_recipes::Timetable;
    ///
    /// let table = Timetable::every(Duration::from_secs(60))?;
    /// let next = table.next_after(UNIX_EPOCH + Duration::from_secs(61));
    /// assert_eq!(next, Some(UNIX_EPOCH + Duration::from_secs(120)));
    /// # Ok::<(), zookeeper_recipes::Error>(())
    /// ```
    pub fn next_after(&self, time: SystemTime) -> Option<SystemTime> {
        self.next_millis(to_millis(time)).map(from_millis)
    }

    /// As [`next_after`](Self::next_after), in milliseconds since 1970.
    pub(super) fn next_millis(&self, time: i64) -> Option<i64> {
        match &self.0 {
            DueRule::Every(period) => time.div_euclid(*period).checked_add(1)?.checked_mul(*period),
            #[cfg(feature = "cron")]
            DueRule::Cron(cron) => {
                let time = chrono::DateTime::from_timestamp_millis(time)?;
                let next = cron.find_next_occurrence(&time, false).ok()?;
                Some(next.timestamp_millis())
            }
        }
    }
}

pub(super) fn to_millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
    }
}

pub(super) fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_multiples_since_1970() {
        let table = Timetable::every(Duration::from_millis(250)).unwrap();
        assert_eq!(table.next_millis(0), Some(250));
        assert_eq!(table.next_millis(249), Some(250));
        assert_eq!(table.next_millis(250), Some(500));
        assert_eq!(table.next_millis(i64::MAX), None);
        assert!(Timetable::every(Duration::ZERO).is_err());
        assert!(Timetable::every(Duration::from_micros(999)).is_err());
    }

    #[cfg(feature = "cron")]
    #[test]
    fn cron_expressions_are_read_in_utc() {
        let table = Timetable::cron("30 4 * * *").unwrap();
        let half_past_four = 4 * 3_600_000 + 30 * 60_000;
        assert_eq!(table.next_millis(0), Some(half_past_four));
        assert_eq!(table.next_millis(half_past_four), Some(half_past_four + 86_400_000));
        assert!(Timetable::cron("every day").is_err());
    }
}
