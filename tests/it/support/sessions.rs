//! Sessions that are taken away, and acquires that go on meanwhile.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zookeeper_client::SessionInfo;
use zookeeper_recipes::{Coordinator, Error, FairLock, FairLockGuard, LossReason, Observer, SessionState};
use zookeeper_testkit::{Fixture, Proxy, eventually, within};

use crate::support::{PATIENCE, loss, session_id};

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

/// As [`expire`], and waits for the next session.
pub(crate) async fn expire_and_follow(fixture: &Fixture, zk: &Coordinator) {
    let before = expire(fixture, zk).await;
    eventually(PATIENCE, "another session", || async { session_id(zk).await != before }).await;
}

/// What a holder hears after [`expire`]: the server takes the node away with the session, and may tell of the node first.
pub(crate) fn assert_expired(reason: LossReason) {
    let expected = [LossReason::SessionExpired, LossReason::NodeRemoved];
    assert!(expected.contains(&reason), "{reason:?}");
}

/// As [`expire`], while the link through `proxy` is silent: the client learns of the end of its session and of nothing
/// else. Otherwise a server may first tell it that its node is gone, and the connection may stay open, unanswered.
pub(crate) async fn expire_unseen(fixture: &Fixture, proxy: &Proxy, zk: &Coordinator) -> i64 {
    let session = session_of(zk).await;
    proxy.black_hole();
    expire_silent(fixture, proxy, &session).await;
    session.id().0
}

/// Takes `session` away, whose link through `proxy` is silent already, and gives it a link that works.
pub(crate) async fn expire_silent(fixture: &Fixture, proxy: &Proxy, session: &SessionInfo) {
    fixture.expire(session).await;
    proxy.cut();
    proxy.heal();
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

/// Waits until the guard says that it is lost.
pub(crate) async fn told(guard: &FairLockGuard) -> (LossReason, Instant) {
    let reason = loss(guard).await;
    (reason, Instant::now())
}

pub(crate) async fn reached(states: &mut Observer<SessionState>, wanted: SessionState) {
    let reached = within(
        PATIENCE,
        format!("{wanted:?}"),
        states.wait_for(|state| *state == wanted),
    )
    .await;
    assert_eq!(reached, Some(wanted));
}

/// Cuts the connection and lets it come back, both seen by the client.
pub(crate) async fn cut_for_a_moment(zk: &Coordinator, proxy: &Proxy) {
    let mut states = zk.states();
    proxy.refuse().await;
    reached(&mut states, SessionState::Suspended).await;
    proxy.accept().await;
    reached(&mut states, SessionState::Connected).await;
    // zookeeper-client says nothing of a cut that comes before it serves requests on a new connection.
    let client = zk.client().await.expect("the coordinator is open");
    let served = within(PATIENCE, "a request is served", client.check_stat("/")).await;
    served.expect("a request is served");
}
