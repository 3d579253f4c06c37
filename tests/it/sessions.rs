//! Sessions that are taken away, and acquires that go on meanwhile.

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_client::SessionInfo;
use zookeeper_recipes::{Coordinator, Error, FairLock, FairLockGuard};
use zookeeper_testkit::{Fixture, within};

use crate::support::PATIENCE;

/// Id and password of the current session. The client is not kept, for it would keep the session alive.
pub(crate) async fn session_of(zk: &Coordinator) -> SessionInfo {
    let client = zk.client().await.expect("the coordinator is open");
    client.session().clone()
}

/// Takes the current session away behind the back of its client, and returns its id.
pub(crate) async fn expire(fixture: &Fixture, zk: &Coordinator) -> i64 {
    let session = session_of(zk).await;
    fixture.expire(&session).await;
    session.id().0
}

/// An acquire that goes on by itself.
pub(crate) struct Acquiring(JoinHandle<Result<FairLockGuard, Error>>);

impl Acquiring {
    pub(crate) fn start(lock: &FairLock) -> Self {
        let lock = lock.clone();
        Self(tokio::spawn(async move { lock.acquire().await }))
    }

    /// Starts once nobody else is on the way to the line, so that the place in it is known: the `place`th.
    pub(crate) async fn start_at(fixture: &Fixture, lock: &FairLock, place: usize) -> Self {
        let acquiring = Self::start(lock);
        fixture.until_children(lock.path(), place + 1).await;
        acquiring
    }

    pub(crate) fn is_pending(&self) -> bool {
        !self.0.is_finished()
    }

    pub(crate) async fn granted(self) -> FairLockGuard {
        let joined = within(PATIENCE, "a waiter is granted", self.0).await;
        joined
            .expect("an acquire does not panic")
            .expect("an acquire waits trouble out")
    }
}

/// The negotiated timeout of the current session.
pub(crate) async fn session_timeout(zk: &Coordinator) -> Duration {
    let client = zk.client().await.expect("the coordinator is open");
    client.session_timeout()
}
