//! What contenders were told of the items of queues and of the turns of relays.

use std::fmt;
use std::sync::{Arc, Mutex};

/// Something that a contender was told, or is about to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// The contender; another one after its process was killed.
    pub(crate) who: String,
    /// The queue or the relay.
    pub(crate) path: String,
    pub(crate) event: Event,
    /// The item; of a turn, a result.
    pub(crate) subject: String,
    /// Of a delivery or a turn, else 0.
    pub(crate) token: i64,
}

/// What happens to items and turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The item may be in the queue from now on, also if nothing more is heard of it.
    Pushing,
    Pushed,

    /// Of a FIFO queue: an item may be removed from now on.
    Popping,
    Popped,
    /// The item was handed over with the error that it was removed by this contender or by another one.
    PopDoubted,
    /// There was none.
    NotPopped,
    /// Nobody waited for the answer; what there was comes with a later one.
    PopDropped,

    /// Of a work queue: the item was delivered.
    Delivered,
    Acked,
    AckDoubted,
    /// It was given back, or had been lost.
    NotAcked,
    /// What the ensemble has in the end: the result of the delivery that did the item.
    Done,
    /// What the ensemble has in the end: nobody could handle the item.
    Dead,

    /// Of a relay: a turn began, and was given the result.
    Began,
    /// The same, with the news that the predecessor was lost.
    BeganAfterLoss,
    /// It has this result.
    Completed,
    CompletionDoubted,
    NotCompleted,
}

impl Event {
    const ALL: &[Self] = &[
        Self::Pushing,
        Self::Pushed,
        Self::Popping,
        Self::Popped,
        Self::PopDoubted,
        Self::NotPopped,
        Self::PopDropped,
        Self::Delivered,
        Self::Acked,
        Self::AckDoubted,
        Self::NotAcked,
        Self::Done,
        Self::Dead,
        Self::Began,
        Self::BeganAfterLoss,
        Self::Completed,
        Self::CompletionDoubted,
        Self::NotCompleted,
    ];
}

/// The facts of the contenders of one process. Clones are the same books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Vec<Fact>>>);

impl Books {
    pub(crate) fn note(&self, fact: Fact) {
        self.0.lock().expect("no panic while it is locked").push(fact);
    }

    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.0.lock().expect("no panic while it is locked").clone()
    }
}

impl Fact {
    /// Reads what was written as a line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[who, path, event, subject, token, "."] = words.as_slice() else {
            return None;
        };
        let event = Event::ALL.iter().find(|known| format!("{known:?}") == event);
        Some(Self {
            who: who.to_owned(),
            path: path.to_owned(),
            event: *event?,
            subject: subject.to_owned(),
            token: token.parse().ok()?,
        })
    }
}

/// The end of it shows that it is not torn.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            who,
            path,
            event,
            subject,
            token,
        } = self;
        write!(f, "{who} {path} {event:?} {subject} {token} .")
    }
}

#[test]
fn a_fact_is_read_as_it_was_written_and_not_if_it_is_torn() {
    for event in Event::ALL {
        let fact = Fact {
            who: "client-7-Brisk-c0ffee".to_owned(),
            path: "/turns/Brisk-0".to_owned(),
            event: *event,
            subject: "client-7-Brisk-c0ffee.12".to_owned(),
            token: 42,
        };
        let line = fact.to_string();
        assert_eq!(Fact::parse(&line), Some(fact));
        for torn in 0..line.len() {
            assert_eq!(Fact::parse(&line[..torn]), None);
        }
    }
}
