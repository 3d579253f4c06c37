//! Requests that were applied though the client cannot know, and requests that were not.
//!
//! Each time: one node of ours or none, exclusion kept, the grant reached, and the session the same.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, FairLock, LossReason};
use zookeeper_testkit::proxy::When;
use zookeeper_testkit::{Fault, Fixture, Injection, Op, Proxy, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, granted, join_line, lock, loss, session_id};

/// A session behind a proxy, and one beside it.
struct Rig {
    fixture: Fixture,
    proxy: Proxy,
    zk: Coordinator,
    session: i64,
    lock: FairLock,
    other: FairLock,
}

impl Rig {
    async fn new(name: &str) -> Self {
        Self::with_timeout(name, LONG).await
    }

    async fn with_timeout(name: &str, timeout: Duration) -> Self {
        let fixture = Fixture::new(name).await;
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        fixture.raw().create("/l", b"", &options).await.unwrap();
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, timeout).await;
        Self {
            session: session_id(&zk).await,
            lock: lock(&zk, "/l"),
            other: lock(&connect(&fixture).await, "/l"),
            fixture,
            proxy,
            zk,
        }
    }

    /// Acquires while `when` is struck, alone and then behind a holder, and releases each time.
    async fn acquire_under(&self, when: When, injections: [Injection; 2]) {
        for injection in injections {
            let fault = self.proxy.inject(when.clone(), injection);
            let guard = acquire(&self.lock).await;
            fault.fired().await;
            self.assert_only(guard.path()).await;
            guard.release().await.unwrap();
            self.fixture.until_children("/l", 0).await;

            let fault = self.proxy.inject(when.clone(), injection);
            self.acquire_behind_a_holder(fault).await;
        }
        self.finish().await;
    }

    async fn acquire_behind_a_holder(&self, fault: Fault) {
        let holder = acquire(&self.other).await;
        let waiter = tokio::spawn({
            let lock = self.lock.clone();
            async move { lock.acquire().await }
        });
        fault.fired().await;
        self.until_ours_are(1).await;
        assert!(!waiter.is_finished(), "granted while another holds it");
        assert!(holder.is_held());
        holder.release().await.unwrap();
        let guard = granted(waiter).await;
        self.assert_only(guard.path()).await;
        guard.release().await.unwrap();
        self.fixture.until_children("/l", 0).await;
    }

    /// Waits until this many nodes belong to our session.
    async fn until_ours_are(&self, count: usize) {
        eventually(PATIENCE, format!("{count} nodes are ours"), || async {
            let owners = self.fixture.ephemerals().await.into_values();
            owners.filter(|owner| *owner == self.session).count() == count
        })
        .await;
    }

    /// Exactly one node of anybody's is in the line.
    async fn assert_only(&self, path: &str) {
        let nodes: Vec<String> = self.fixture.ephemerals().await.into_keys().collect();
        assert_eq!(nodes, [path]);
    }

    async fn finish(&self) {
        assert_eq!(
            session_id(&self.zk).await,
            self.session,
            "the session is still the same"
        );
        self.fixture.assert_no_nodes_left(&["/l"]).await;
    }
}

const BOTH: [Injection; 2] = [Injection::LoseReply, Injection::CutBefore];

#[tokio::test]
async fn a_lost_create_is_found_or_repeated() {
    let rig = Rig::new("create").await;
    rig.acquire_under(When::create().path("-lock-"), BOTH).await;
}

#[tokio::test]
async fn a_lost_list_is_asked_for_again() {
    let rig = Rig::new("list").await;
    rig.acquire_under(When::list(), BOTH).await;
}

#[tokio::test]
async fn a_lost_watch_is_set_again() {
    let rig = Rig::new("watch").await;
    rig.acquire_under(When::request(Op::Exists), BOTH).await;
    // Behind a holder, the second watch is that on the holder.
    for injection in BOTH {
        let fault = rig.proxy.inject(When::request(Op::Exists).nth(2), injection);
        rig.acquire_behind_a_holder(fault).await;
    }
    rig.finish().await;
}

/// The watch on the own node is set after the grant and off its path: when it is lost, it must be set all the same.
#[tokio::test]
async fn a_holders_lost_watch_is_set_again() {
    let rig = Rig::new("own watch").await;
    for injection in BOTH {
        let fault = rig.proxy.inject(When::request(Op::Exists), injection);
        let guard = acquire(&rig.lock).await;
        fault.fired().await;
        rig.fixture.raw().delete(guard.path(), None).await.unwrap();
        assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_releases_lost_delete_is_repeated() {
    let rig = Rig::new("delete").await;
    for injection in BOTH {
        let guard = acquire(&rig.lock).await;
        let waiter = join_line(&rig.fixture, &rig.other, 2).await;
        let fault = rig.proxy.inject(When::request(Op::Delete), injection);
        let released = within(PATIENCE, "released", guard.release()).await;
        assert_eq!(released, Ok(()), "{injection:?}");
        assert!(fault.has_fired());
        granted(waiter).await.release().await.unwrap();
        rig.until_ours_are(0).await;
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_dropped_guards_lost_delete_is_repeated() {
    let rig = Rig::new("reaper").await;
    for injection in BOTH {
        let guard = acquire(&rig.lock).await;
        let waiter = join_line(&rig.fixture, &rig.other, 2).await;
        let fault = rig.proxy.inject(When::request(Op::Delete), injection);
        drop(guard);
        fault.fired().await;
        granted(waiter).await.release().await.unwrap();
        rig.until_ours_are(0).await;
    }
    rig.finish().await;
}

/// The create is on its way when the future is dropped, and its reply is lost on top of it.
#[tokio::test]
async fn a_cancelled_lost_create_is_removed() {
    let rig = Rig::new("cancelled create").await;
    for injection in BOTH {
        let fault = rig.proxy.inject(When::create().path("-lock-"), injection);
        let acquiring = rig.lock.acquire();
        tokio::select! {
            biased;
            result = acquiring => panic!("acquired through a cut: {result:?}"),
            () = fault.fired() => {}
        }
        granted(join_line(&rig.fixture, &rig.other, 1).await)
            .await
            .release()
            .await
            .unwrap();
        rig.fixture.until_children("/l", 0).await;
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_hold_survives_lost_heartbeats() {
    let timeout = Duration::from_secs(10);
    let rig = Rig::with_timeout("heartbeat", timeout).await;
    let guard = acquire(&rig.lock).await;
    let token = guard.token();
    for injection in BOTH {
        let fault = rig.proxy.inject(When::request(Op::Multi), injection);
        let held = guard.run_until_lost(fault.fired()).await;
        assert_eq!(held, Ok(()));
    }
    // Heartbeats go on: the lease is longer again than after one that failed.
    let proven = guard.run_until_lost(eventually(PATIENCE, "the lease is proven again", || async {
        guard.remaining() > timeout / 2
    }));
    proven.await.unwrap();
    assert_eq!(guard.token(), token);
    guard.release().await.unwrap();
    rig.finish().await;
}
