//! What a client called, and what came of it: a line of its log.

use std::fmt;
use std::time::Duration;

/// A call, by the clock of [`now`](crate::belief::now). What is written of it later takes the place of what was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The turn at the place to which it belongs; it has one call of each kind. The name of what is added to a set.
    pub(crate) turn: String,
    /// The name of the place.
    pub(crate) place: String,
    pub(crate) what: What,
    /// The fencing token of an acquisition; what a register held before a change.
    pub(crate) number: i64,
    /// Of an acquisition.
    pub(crate) shares: u32,
    pub(crate) called: Duration,
    /// If it is known to have taken effect.
    pub(crate) returned: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Acquire,
    /// The end of a hold, as the guard tells it.
    Release,
    /// The end of a hold as a program sees it that never looks at its guard.
    BlindRelease,
    /// What is at the place was read; it is to be written with a change.
    Change,
    /// The write is about to go out.
    Write,
    /// Nothing came of the change, and nothing will.
    NoChange,
}

impl What {
    const ALL: &[Self] = &[
        Self::Acquire,
        Self::Release,
        Self::BlindRelease,
        Self::Change,
        Self::Write,
        Self::NoChange,
    ];
}

impl Call {
    /// Reads what was written as a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[turn, place, what, number, shares, called, returned, "."] = words.as_slice() else {
            return None;
        };
        let moment = |nanos: &str| nanos.parse().ok().map(Duration::from_nanos);
        Some(Self {
            turn: turn.to_owned(),
            place: place.to_owned(),
            what: *What::ALL.iter().find(|known| format!("{known:?}") == what)?,
            number: number.parse().ok()?,
            shares: shares.parse().ok()?,
            called: moment(called)?,
            returned: match returned {
                "-" => None,
                returned => Some(moment(returned)?),
            },
        })
    }
}

/// The end of it shows that it is not torn.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            turn,
            place,
            what,
            number,
            shares,
            called,
            returned,
        } = self;
        let returned = returned.map_or_else(|| "-".to_owned(), |returned| returned.as_nanos().to_string());
        let called = called.as_nanos();
        write!(f, "{turn} {place} {what:?} {number} {shares} {called} {returned} .")
    }
}

#[test]
fn a_call_is_read_as_it_was_written_and_not_if_it_is_torn() {
    for what in What::ALL {
        let call = Call {
            turn: "7-c0ffee.12".to_owned(),
            place: "FairLock-Ensemble-Fenced".to_owned(),
            what: *what,
            number: 42,
            shares: 3,
            called: Duration::from_nanos(1_234_567_891),
            returned: (*what != What::Release).then(|| Duration::from_nanos(2_234_567_891)),
        };
        let line = call.to_string();
        assert_eq!(Call::parse(&line), Some(call));
        for torn in 0..line.len() {
            assert_eq!(Call::parse(&line[..torn]), None);
        }
    }
}
