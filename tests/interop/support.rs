//! What the modules share: patience, sessions of ours, and the clock that all processes of the machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator};
use zookeeper_testkit::{Fixture, Grant, History, Mode, eventually, four_letter, within};

/// How long anything that has to happen may take on a busy machine. Never what a test asserts on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A session timeout that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// A session timeout of clients that are to notice soon that their session is gone.
pub(crate) const SHORT: Duration = Duration::from_secs(6);

/// A session of ours in the chroot of `fixture`.
pub(crate) async fn connect(fixture: &Fixture) -> Coordinator {
    connect_for(fixture, LONG).await
}

/// A session of ours that is to notice soon when it is ended.
pub(crate) async fn connect_mortal(fixture: &Fixture) -> Coordinator {
    connect_for(fixture, SHORT).await
}

async fn connect_for(fixture: &Fixture, timeout: Duration) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(timeout).identity("ours");
    let connected = within(PATIENCE, "a session", options.connect(&fixture.connect_string())).await;
    connected.unwrap_or_else(|err| panic!("no session: {err}"))
}

/// Ends a session of ours as the ensemble would, at once.
pub(crate) async fn expire(fixture: &Fixture, zk: &Coordinator) {
    let client = zk.client().await.unwrap_or_else(|err| panic!("no session: {err}"));
    fixture.expire(client.session()).await;
}

/// Makes a directory that stays when it is empty, as kazoo needs it, which looks after it only once.
pub(crate) async fn make_dir(fixture: &Fixture, path: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let made = fixture.raw().create(path, b"", &options).await;
    made.unwrap_or_else(|err| panic!("{path}: {err}"));
}

/// Waits until `sessions` of them watch `path`.
pub(crate) async fn until_watched(fixture: &Fixture, path: &str, sessions: usize) {
    let watched = format!("{}{path}", fixture.chroot());
    eventually(PATIENCE, format!("{path} is watched by {sessions}"), || async {
        let watches = four_letter::ask(fixture.server().addr(), "wchp")
            .await
            .unwrap_or_default();
        let mut lines = watches.lines().skip_while(|line| *line != watched).skip(1);
        let watchers = lines.by_ref().take_while(|line| line.starts_with('\t'));
        watchers.count() == sessions
    })
    .await;
}

/// A moment on the monotonic clock of the machine, which Java's `nanoTime` and Python's `monotonic_ns` read as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nanos(pub(crate) i64);

impl Nanos {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    }
}

/// A history of holds in several processes.
pub(crate) struct Intervals {
    history: History,
    zero: Nanos,
}

impl Intervals {
    pub(crate) fn new() -> Self {
        Self {
            history: History::new(),
            zero: Nanos::now(),
        }
    }

    /// One hold, as its holder believed in it.
    pub(crate) fn record(&self, path: &str, who: &str, mode: Mode, token: i64, from: Nanos, to: Nanos) {
        self.history.record(Grant {
            path: path.to_owned(),
            who: who.to_owned(),
            mode,
            token,
            granted_at: self.since_zero(from),
            ended_at: Some(self.since_zero(to)),
        });
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    fn since_zero(&self, moment: Nanos) -> Duration {
        Duration::from_nanos(u64::try_from(moment.0 - self.zero.0).unwrap_or_default())
    }
}
