//! [`RunRecord`]: what the node of a schedule says, as text that an operator can read.

use std::fmt;

/// What was recorded of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunRecord {
    /// All due times up to this one are recorded. `None` before the first leader has seen the ensemble's time.
    pub(super) last: Option<i64>,
    /// The run that was recorded and is not known to have ended.
    pub(super) run: Option<OpenRun>,
    /// When the last run started.
    pub(super) started_at: i64,
    /// How many due times were recorded as started.
    pub(super) started: u64,
    /// How many due times were recorded as skipped.
    pub(super) skipped: u64,
    /// Which write of which term this is, so that a write whose reply is lost is known again.
    pub(super) term: i64,
    pub(super) write: u64,
}

/// A run that is not known to have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenRun {
    pub(super) due: i64,
    pub(super) attempt: u32,
    /// How many due times it stands for.
    pub(super) covers: u64,
}

const VERSION: &str = "schedule-1";

impl fmt::Display for RunRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (started_at, started, skipped) = (self.started_at, self.started, self.skipped);
        write!(f, "{VERSION} at={started_at} started={started} skipped={skipped}")?;
        write!(f, " term={} write={}", self.term, self.write)?;
        if let Some(last) = self.last {
            write!(f, " last={last}")?;
        }
        if let Some(OpenRun { due, attempt, covers }) = &self.run {
            write!(f, " due={due} attempt={attempt} covers={covers}")?;
        }
        Ok(())
    }
}

impl RunRecord {
    /// Reads it; `None` if it is none.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(data).ok()?;
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let fields: Vec<(&str, &str)> = words.map(|word| word.split_once('=')).collect::<Option<_>>()?;
        let field = |name| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let run = match field("due") {
            None => None,
            Some(due) => Some(OpenRun {
                due: due.parse().ok()?,
                attempt: field("attempt")?.parse().ok()?,
                covers: field("covers")?.parse().ok()?,
            }),
        };
        Some(Self {
            last: field("last").map(str::parse).transpose().ok()?,
            run,
            started_at: field("at")?.parse().ok()?,
            started: field("started")?.parse().ok()?,
            skipped: field("skipped")?.parse().ok()?,
            term: field("term")?.parse().ok()?,
            write: field("write")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            last in any::<Option<i64>>(),
            run in any::<Option<(i64, u32, u64)>>(),
            (started_at, started, skipped, term, write) in any::<(i64, u64, u64, i64, u64)>(),
        ) {
            let run = run.map(|(due, attempt, covers)| OpenRun { due, attempt, covers });
            let record = RunRecord { last, run, started_at, started, skipped, term, write };
            prop_assert_eq!(RunRecord::parse(record.to_string().as_bytes()), Some(record));
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(data in any::<Vec<u8>>()) {
            prop_assert_eq!(RunRecord::parse(&data), None);
        }
    }
}
