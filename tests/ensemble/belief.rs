//! How long a guard was believed in, by a clock that is the same for all processes of this machine; and the log of that
//! and of all else that contenders know.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use zookeeper_recipes::Hold;
use zookeeper_testkit::{Grant, History, Mode};

use crate::books::{Books, Fact};
use crate::jepsen::Call;

/// How often a guard is looked at while it is believed in.
const LOOK: Duration = Duration::from_millis(2);

/// Now, since the start of the machine.
pub(crate) fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("this clock starts at zero")
}

/// Where beliefs and facts are recorded.
#[derive(Clone)]
pub(crate) enum Log {
    /// In a history of this process, which started at a moment, and in books.
    History(History, Duration, Books),
    /// In a file, a line each, to be read by the process that started this one.
    File(Arc<Mutex<File>>),
}

/// A line of a [`Log`].
#[derive(Debug)]
pub(crate) enum Entry {
    /// A belief, by the clock of [`now`].
    Belief(Grant),
    /// What became of an item or a turn.
    Fact(Fact),
    /// A call of one of Jepsen's workloads.
    Call(Call),
    /// One call of a recipe is done, whatever came of it.
    Operation,
    /// A promise was broken.
    Broken(String),
}

impl Log {
    pub(crate) fn to(history: &History) -> Self {
        Self::with_books(history, &Books::default())
    }

    pub(crate) fn with_books(history: &History, books: &Books) -> Self {
        Self::History(history.clone(), now() - history.started().elapsed(), books.clone())
    }

    pub(crate) fn to_file(path: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path);
        Self::File(Arc::new(Mutex::new(file.expect("the directory is ours"))))
    }

    /// Believes in `hold` until `done`, or until it is lost, and records it for each of `paths`.
    ///
    /// The belief ends with the last look that said "held": so a process that is stopped in between does not believe in
    /// anything, unless its first look after it says "held" again.
    pub(crate) async fn believe(
        &self,
        paths: &[&str],
        who: &str,
        mode: Mode,
        hold: &Hold,
        done: impl Future<Output = ()>,
    ) {
        let since = now();
        if !hold.is_held() {
            return;
        }
        let mut last = since;
        let mut lost = hold.lost();
        let mut done = pin!(done);
        let mut is_done = false;
        while !is_done {
            tokio::select! {
                biased;
                _ = &mut lost => break,
                () = &mut done => is_done = true,
                () = tokio::time::sleep(LOOK) => {}
            }
            let look = now();
            if !hold.is_held() {
                break;
            }
            last = look;
        }
        for path in paths {
            self.record(Entry::Belief(Grant {
                path: (*path).to_owned(),
                who: who.to_owned(),
                mode,
                token: hold.token().as_i64(),
                granted_at: since,
                ended_at: Some(last),
            }));
        }
    }

    pub(crate) fn record(&self, entry: Entry) {
        match self {
            Self::History(history, started, books) => match entry {
                Entry::Belief(grant) => history.record(since(grant, *started)),
                Entry::Fact(fact) => books.note(fact),
                Entry::Operation | Entry::Call(_) => {}
                Entry::Broken(promise) => panic!("{promise}"),
            },
            Self::File(file) => {
                let line = entry.to_line();
                let mut file = file.lock().expect("no panic while it is locked");
                file.write_all(line.as_bytes()).expect("there is room for a line");
            }
        }
    }
}

impl Entry {
    fn to_line(&self) -> String {
        match self {
            Self::Belief(grant) => {
                let mode = match grant.mode {
                    Mode::Exclusive => "exclusive".to_owned(),
                    Mode::Shared => "shared".to_owned(),
                    Mode::Permits { taken, limit } => format!("{taken}/{limit}"),
                };
                let (from, to) = (
                    grant.granted_at.as_nanos(),
                    grant.ended_at.unwrap_or_default().as_nanos(),
                );
                format!(
                    "belief {} {} {mode} {} {from} {to}\n",
                    grant.path, grant.who, grant.token
                )
            }
            Self::Fact(fact) => format!("fact {fact}\n"),
            Self::Call(call) => format!("call {call}\n"),
            Self::Operation => "operation\n".to_owned(),
            Self::Broken(promise) => format!("broken {}\n", promise.replace('\n', " ")),
        }
    }

    /// Reads a line. The last one of a process that was killed may be torn.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "operation" => Some(Self::Operation),
            "broken" => Some(Self::Broken(rest.to_owned())),
            "call" => Call::parse(rest).map(Self::Call),
            "fact" => Fact::parse(rest).map(Self::Fact),
            "belief" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let &[path, who, mode, token, from, to] = words.as_slice() else {
                    return None;
                };
                let mode = match mode.split_once('/') {
                    Some((taken, limit)) => Mode::Permits {
                        taken: taken.parse().ok()?,
                        limit: limit.parse().ok()?,
                    },
                    None if mode == "shared" => Mode::Shared,
                    None => Mode::Exclusive,
                };
                Some(Self::Belief(Grant {
                    path: path.to_owned(),
                    who: who.to_owned(),
                    mode,
                    token: token.parse().ok()?,
                    granted_at: Duration::from_nanos(from.parse().ok()?),
                    ended_at: Some(Duration::from_nanos(to.parse().ok()?)),
                }))
            }
            _ => None,
        }
    }
}

/// `grant` with times that count from `started`.
pub(crate) fn since(grant: Grant, started: Duration) -> Grant {
    Grant {
        granted_at: grant.granted_at.saturating_sub(started),
        ended_at: grant.ended_at.map(|ended_at| ended_at.saturating_sub(started)),
        ..grant
    }
}

#[test]
fn a_line_of_the_log_is_read_as_it_was_written() {
    for mode in [Mode::Exclusive, Mode::Shared, Mode::Permits { taken: 2, limit: 3 }] {
        let grant = Grant {
            path: "/locks/1".to_owned(),
            who: "client-7".to_owned(),
            mode,
            token: 42,
            granted_at: Duration::from_nanos(1_234_567_891),
            ended_at: Some(Duration::from_nanos(2_234_567_891)),
        };
        let line = Entry::Belief(grant.clone()).to_line();
        assert!(matches!(Entry::parse(line.trim_end()), Some(Entry::Belief(read)) if read == grant));
        assert!(Entry::parse(&line[..20]).is_none());
    }
}
