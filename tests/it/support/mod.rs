//! What the modules share: sessions to contend with, and a bound on everything that is waited for.

pub(crate) mod asking;
pub(crate) mod cost;
pub(crate) mod events;
pub(crate) mod polls;
pub(crate) mod sessions;
pub(crate) mod strike;
pub(crate) mod warnings;

use std::fmt::{Debug, Display};
use std::time::Duration;

use futures::future;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use zookeeper_embedded::Faults;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, ConnectOptions, Coordinator, Error, FairLock, FairLockGuard, Hold, LossReason, TimeoutError,
};
use zookeeper_testkit::{Fixture, Proxy, eventually, within};

/// How long anything that has to happen may take on a busy machine. Never what a test asserts on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A session timeout that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How long something that must not happen is given to happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(200);

/// A session of its own in the chroot of `fixture`, with a timeout that no test waits for.
pub(crate) async fn connect(fixture: &Fixture) -> Coordinator {
    connect_to(&fixture.connect_string(), LONG).await
}

/// As many sessions of their own as are asked for, like [`connect`].
pub(crate) async fn connect_each<const N: usize>(fixture: &Fixture) -> [Coordinator; N] {
    let sessions = future::join_all((0..N).map(|_| connect(fixture))).await;
    sessions.try_into().expect("there are as many")
}

/// A fresh chroot, and a session of its own in it.
pub(crate) async fn start(name: &str) -> (Fixture, Coordinator) {
    let fixture = Fixture::new(name).await;
    let zk = connect(&fixture).await;
    (fixture, zk)
}

/// A fresh chroot, and as many sessions of their own in it as are asked for.
pub(crate) async fn start_each<const N: usize>(name: &str) -> (Fixture, [Coordinator; N]) {
    let fixture = Fixture::new(name).await;
    let sessions = connect_each(&fixture).await;
    (fixture, sessions)
}

/// A fresh chroot, and a session in it behind a proxy.
pub(crate) async fn start_proxied(name: &str, timeout: Duration) -> (Fixture, Proxy, Coordinator) {
    let fixture = Fixture::new(name).await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, timeout).await;
    (fixture, proxy, zk)
}

/// A session that is served by the runtime of the test: it stops where that is blocked, and tells its log there.
pub(crate) async fn connect_here(servers: &str, timeout: Duration) -> Coordinator {
    let options = ConnectOptions::new()
        .session_timeout(timeout)
        .runtime(Handle::current());
    let connected = within(PATIENCE, "a session", options.connect(servers)).await;
    connected.unwrap_or_else(|err| panic!("no session on {servers}: {err}"))
}

/// A session on `servers`, for example through a proxy. `RUST_LOG` shows what it does.
pub(crate) async fn connect_to(servers: &str, timeout: Duration) -> Coordinator {
    events::record();
    let options = ConnectOptions::new().session_timeout(timeout);
    let connected = within(PATIENCE, "a session", options.connect(servers)).await;
    connected.unwrap_or_else(|err| panic!("no session on {servers}: {err}"))
}

/// The lock at `path`.
pub(crate) fn lock(zk: &Coordinator, path: &str) -> FairLock {
    FairLock::new(zk, path).unwrap_or_else(|err| panic!("no lock: {err}"))
}

/// Acquires with no other contender in front.
pub(crate) async fn acquire(lock: &FairLock) -> FairLockGuard {
    let acquired = within(PATIENCE, "the lock is acquired", lock.acquire()).await;
    acquired.unwrap_or_else(|err| panic!("{} not acquired: {err}", lock.path()))
}

/// Waits for the loss of a hold.
#[track_caller]
pub(crate) fn loss(hold: &Hold) -> impl Future<Output = LossReason> {
    within(PATIENCE, "the holder is told", hold.lost())
}

/// Waits until the session has an answer of the server.
#[track_caller]
pub(crate) fn answered(zk: &Coordinator) -> impl Future<Output = ()> {
    eventually(PATIENCE, "an answer", || async {
        zk.client().await.unwrap().check_stat("/").await.is_ok()
    })
}

/// Waits until the session of `zk` has its watch, and it alone: its requests have all been answered.
pub(crate) async fn stands_still<T>(zk: &Coordinator, waiting: &JoinHandle<T>) {
    for _ in 0..3 {
        eventually(PATIENCE, "an answer", || async {
            zk.client().await.unwrap().sync("/").await.is_ok()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!waiting.is_finished(), "it did not wait");
}

/// Waits until the wait in a task is over.
#[track_caller]
pub(crate) fn passes<E: Debug>(waiting: JoinHandle<Result<(), E>>) -> impl Future<Output = ()> {
    let passed = within(PATIENCE, "the waiter passes", waiting);
    async { passed.await.unwrap().unwrap() }
}

/// The id of the current session.
pub(crate) async fn session_id(zk: &Coordinator) -> i64 {
    let client = zk.client().await.unwrap_or_else(|err| panic!("no session: {err}"));
    client.session_id().0
}

/// The faults of a fixture made by [`Fixture::with_embedded_server`].
pub(crate) fn faults(fixture: &Fixture) -> Faults {
    fixture.server().embedded().expect("it is embedded").faults()
}

/// A call that goes on in a task.
pub(crate) type Pending<T, E = Error> = JoinHandle<Result<T, E>>;

/// Begins to acquire in a task, and returns when the contender stands in line as number `place`.
pub(crate) async fn join_line(fixture: &Fixture, lock: &FairLock, place: usize) -> Pending<FairLockGuard> {
    let (task, path) = (lock.clone(), lock.path().to_owned());
    stand_in_line(fixture, &path, place, async move { task.acquire().await }).await
}

/// Begins `call` in a task, and returns when it stands in the line at `path` as number `place`.
pub(crate) async fn stand_in_line<T: Send + 'static>(
    fixture: &Fixture,
    path: &str,
    place: usize,
    call: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    let pending = tokio::spawn(call);
    fixture.until_children(path, place).await;
    pending
}

/// Waits for the grant.
#[track_caller]
pub(crate) fn granted<T, E: Display>(pending: Pending<T, E>) -> impl Future<Output = T> {
    let done = within(PATIENCE, "the waiter is granted what it waits for", pending);
    async {
        done.await
            .unwrap_or_else(|err| panic!("the waiter panicked: {err}"))
            .unwrap_or_else(|err| panic!("the waiter failed: {err}"))
    }
}

/// Shows that `waiting` waits on.
pub(crate) async fn assert_waits<T>(waiting: &JoinHandle<T>) {
    tokio::time::sleep(SILENCE).await;
    assert!(!waiting.is_finished(), "it went on");
}

/// Creates a node that anybody may use, as another client would.
pub(crate) async fn create(fixture: &Fixture, path: &str, mode: zk::CreateMode) {
    let options = mode.with_acls(zk::Acls::anyone_all());
    let created = fixture.raw().create(path, b"", &options).await;
    created.unwrap_or_else(|err| panic!("{path}: {err}"));
}

/// The limit that a call says has passed; none if it says something else.
pub(crate) fn elapsed<T, E: Elapsed>(outcome: Result<T, E>) -> Option<Duration> {
    outcome.err().and_then(|error| error.after())
}

/// An error of a call with a limit.
pub(crate) trait Elapsed {
    fn after(&self) -> Option<Duration>;
}

impl<E> Elapsed for TimeoutError<E> {
    fn after(&self) -> Option<Duration> {
        match self {
            Self::Elapsed { after, .. } => Some(*after),
            _ => None,
        }
    }
}

impl Elapsed for AcquireTimeoutError {
    fn after(&self) -> Option<Duration> {
        match self {
            Self::Elapsed { after, .. } => Some(*after),
            _ => None,
        }
    }
}

/// The sequence number of a node, which follows `tag` in its name.
pub(crate) fn sequence_after(path: &str, tag: &str) -> i32 {
    let (_, number) = path.rsplit_once(tag).unwrap();
    number.parse().unwrap()
}
