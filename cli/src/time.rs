//! Durations and moments, as they are typed and shown.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Parses `250ms`, `3s`, `1m30s`, or a bare number of seconds with fractions.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is no duration; write 250ms, 3s, 1m30s, or a number of seconds");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| problem());
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(problem)?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| digits + at);
        let number: f64 = rest[..digits].parse().map_err(|_| problem())?;
        total += number
            * match &rest[digits..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return Err(problem()),
            };
        rest = &rest[unit_end..];
    }
    if text.is_empty() {
        return Err(problem());
    }
    Duration::try_from_secs_f64(total).map_err(|_| problem())
}

/// `43s`, `3m12s`, `1h04m`, `1d04h`.
pub(crate) fn show_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// `1.2s`, for short times.
pub(crate) fn show_precise(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => show_duration(time),
    }
}

/// How long ago that was; zero where the ensemble's clock is ahead of ours.
pub(crate) fn age(moment: SystemTime) -> Duration {
    moment.elapsed().unwrap_or_default()
}

/// `43s`, or `0s~` where the ensemble's clock is ahead of ours.
pub(crate) fn show_age(moment: SystemTime) -> String {
    match moment.elapsed() {
        Ok(age) => show_duration(age),
        Err(_) => "0s~".to_owned(),
    }
}

/// `03:02:11`, with the date unless it is of today.
pub(crate) fn show_clock(moment: SystemTime, utc: bool) -> String {
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    let Ok(moment) = Timestamp::try_from(moment) else {
        return "?".to_owned();
    };
    let (moment, now) = (moment.to_zoned(zone.clone()), Timestamp::now().to_zoned(zone));
    let format = if moment.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    moment.strftime(format).to_string()
}

/// `03:02:11.114`, of what happens now.
pub(crate) fn show_moment(moment: SystemTime, utc: bool) -> String {
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    match Timestamp::try_from(moment) {
        Ok(moment) => moment.to_zoned(zone).strftime("%H:%M:%S.%3f").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339(moment: SystemTime) -> String {
    match Timestamp::try_from(moment) {
        Ok(moment) => moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => "1970-01-01T00:00:00.000Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_units_and_bare() {
        let read = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("1m30s"), Ok(90_000));
        assert_eq!(read("0.5"), Ok(500));
        assert_eq!(read("1h"), Ok(3_600_000));
        for wrong in ["", "x", "3x", "s", "-1", "1m30", "nan", "inf", "1e300"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_with_two_units() {
        let show = |seconds| show_duration(Duration::from_secs(seconds));
        assert_eq!((show(43), show(192)), ("43s".to_owned(), "3m12s".to_owned()));
        assert_eq!((show(3_840), show(100_800)), ("1h04m".to_owned(), "1d04h".to_owned()));
    }
}
