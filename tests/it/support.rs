//! What the modules share: sessions to contend with, and a bound on everything that is waited for.

use std::time::Duration;

use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, FairLockGuard};
use zookeeper_testkit::{Fixture, within};

/// How long anything that has to happen may take on a busy machine. Never what a test asserts on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A session timeout that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A session of its own in the chroot of `fixture`, with a timeout that no test waits for.
pub(crate) async fn connect(fixture: &Fixture) -> Coordinator {
    connect_to(&fixture.connect_string(), LONG).await
}

/// A session on `servers`, for example through a proxy.
pub(crate) async fn connect_to(servers: &str, timeout: Duration) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(timeout);
    let connected = within(PATIENCE, "a session", options.connect(servers)).await;
    connected.unwrap_or_else(|err| panic!("no session on {servers}: {err}"))
}

/// The lock at `path`.
pub(crate) fn lock(zk: &Coordinator, path: &str) -> FairLock {
    FairLock::new(zk, path).unwrap_or_else(|err| panic!("no lock: {err}"))
}

/// Acquires without anybody in front.
pub(crate) async fn acquire(lock: &FairLock) -> FairLockGuard {
    let acquired = within(PATIENCE, "the lock is acquired", lock.acquire()).await;
    acquired.unwrap_or_else(|err| panic!("{} not acquired: {err}", lock.path()))
}

/// The id of the current session.
pub(crate) async fn session_id(zk: &Coordinator) -> i64 {
    let client = zk.client().await.unwrap_or_else(|err| panic!("no session: {err}"));
    client.session_id().0
}
