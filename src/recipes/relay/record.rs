//! What the relay remembers of its turns: pure.

use std::fmt;

/// How many of the last completers are remembered, so that one whose reply was lost finds itself among them.
const REMEMBERED: usize = 16;

/// The turn that is on, and those that were completed. Participants are known by their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// How many turns were completed.
    pub(super) completed: u64,
    /// The participant that has begun a turn and not completed it.
    pub(super) on_turn: Option<i64>,
    /// The participants that completed the last turns, the latest first.
    completers: Vec<i64>,
}

/// What became of a turn that cannot be completed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Completed,
    Lost,
    /// Too many others have completed theirs since, or the relay was removed.
    Unknown,
}

impl Record {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(data).ok()?.split(' ');
        let completed = numbers.next()?.parse().ok()?;
        let on_turn = numbers.next()?.parse().ok()?;
        let completers = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self {
            completed,
            on_turn: Some(on_turn).filter(|token| *token != 0),
            completers,
        })
    }

    pub(super) fn begun_by(&self, token: i64) -> Self {
        Self {
            on_turn: Some(token),
            ..self.clone()
        }
    }

    pub(super) fn completed_by(&self, token: i64) -> Self {
        let earlier = self.completers.iter().copied().take(REMEMBERED - 1);
        Self {
            completed: self.completed.saturating_add(1),
            on_turn: None,
            completers: std::iter::once(token).chain(earlier).collect(),
        }
    }

    /// What became of the turn that `token` had begun when this was the record, as `now` tells it.
    pub(super) fn fate(&self, token: i64, now: Option<&Self>) -> Fate {
        let Some(now) = now else { return Fate::Unknown };
        let since = now.completed.checked_sub(self.completed);
        match since.and_then(|since| usize::try_from(since).ok()) {
            _ if now.completers.contains(&token) => Fate::Completed,
            Some(since) if since <= now.completers.len() => Fate::Lost,
            _ => Fate::Unknown,
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.completed, self.on_turn.unwrap_or_default())?;
        self.completers.iter().try_for_each(|token| write!(f, " {token}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for text in ["0 0", "0 7", "3 0 9", "3 12 9 8 7"] {
            assert_eq!(Record::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in ["", "0", "x 0", "0 x", "-1 0", "1 0 x", "1  0", "127.0.0.1"] {
            assert_eq!(Record::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Record::parse(b"\xff"), None);
    }

    #[test]
    fn a_turn_is_on_until_it_completes() {
        let begun = Record::parse(b"3 0 9").unwrap().begun_by(12);
        assert_eq!(begun.to_string(), "3 12 9");
        assert_eq!(begun.completed_by(12).to_string(), "4 0 12 9");
    }

    #[test]
    fn so_many_completers_are_remembered() {
        let record = (1..=20).fold(Record::default(), |record, token| {
            record.begun_by(token).completed_by(token)
        });
        let newest: Vec<_> = (5..=20).rev().collect();
        assert_eq!((record.completers, newest.len()), (newest, REMEMBERED));
    }

    #[test]
    fn a_relay_that_began_anew_says_nothing_of_a_turn_before_that() {
        let begun = Record::parse(b"5 7 4 3").unwrap();
        assert_eq!(begun.fate(7, None), Fate::Unknown);
        assert_eq!(begun.fate(7, Some(&Record::default())), Fate::Unknown);
        assert_eq!(begun.fate(7, Some(&begun)), Fate::Lost);
    }

    proptest! {
        /// Whatever comes after it, and completes or is lost: a turn's fate is told as it was, or not at all, and it is
        /// told as long as it is remembered.
        #[test]
        fn the_fate_of_a_turn_is_told_right(
            before in prop::collection::vec(prop::bool::ANY, 0..40),
            own: bool,
            after in prop::collection::vec(prop::bool::ANY, 0..40),
        ) {
            let mut record = Record::default();
            let mut token = 0;
            let mut turn = |record: &Record, completes: bool| {
                token += 1;
                let begun = record.begun_by(token);
                (token, begun.clone(), if completes { begun.completed_by(token) } else { begun })
            };
            for completes in before {
                record = turn(&record, completes).2;
            }
            let (ours, begun, mut now) = turn(&record, own);
            let completed = after.iter().filter(|completes| **completes).count();
            for completes in after {
                now = turn(&now, completes).2;
            }
            let now = Record::parse(now.to_string().as_bytes());
            let told = begun.fate(ours, now.as_ref());
            let expected = if own { Fate::Completed } else { Fate::Lost };
            prop_assert!(told == expected || (told == Fate::Unknown && completed >= REMEMBERED), "{:?}", told);
        }
    }
}
