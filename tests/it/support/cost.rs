//! What calls cost, counted by a proxy: every request but pings.

use std::fmt::Debug;
use std::time::Duration;

use zookeeper_recipes::Coordinator;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Counts, Fixture, Op, Proxy, Request, eventually};

use crate::support::{LONG, PATIENCE, connect_here};

/// A session whose requests are counted.
pub(crate) struct Counted {
    pub(crate) proxy: Proxy,
    pub(crate) zk: Coordinator,
}

impl Counted {
    pub(crate) async fn connect(fixture: &Fixture) -> Self {
        Self::connect_with(fixture, LONG).await
    }

    pub(crate) async fn connect_with(fixture: &Fixture, timeout: Duration) -> Self {
        let (proxy, servers) = fixture.proxied().await;
        // What is batched and counted exactly is so on one thread.
        let zk = connect_here(&servers, timeout).await;
        proxy.reset_counts();
        Self { proxy, zk }
    }

    /// All requests since the last look, once there are `at_least` as many: some are sent and not waited for.
    pub(crate) async fn requests(&self, at_least: usize) -> Counts {
        eventually(PATIENCE, format!("{at_least} requests passed"), || async {
            self.proxy.requests().total() >= at_least
        })
        .await;
        // Whatever else was sent is behind none of these: a request of our own shows that it is not on its way.
        self.zk.client().await.unwrap().check_stat("/fence").await.unwrap();
        let counts = self.proxy.requests().matching(|request| request.paths != ["/fence"]);
        self.proxy.reset_counts();
        counts
    }

    /// Forgets what a grant has cost, once its last request has passed: the watch on its node, for which no call waits.
    pub(crate) async fn after_grant(&self, node: &str) {
        eventually(PATIENCE, format!("a watch on {node}"), || async {
            let watches = |request: &Request| request.op == Op::Exists && request.paths == [node];
            self.proxy.requests().matching(watches).total() >= 1
        })
        .await;
        self.requests(0).await;
    }

    /// Shows that a grant after a wait has cost one list, and a heartbeat at most.
    pub(crate) async fn assert_one_list_woken(&self) {
        let counts = self.requests(1).await;
        let seen = (counts.lists(), counts.without_heartbeats().total());
        assert_eq!(seen, (1, 1), "{counts}");
        assert!(counts.heartbeats() <= 1, "{counts}");
    }

    /// Shows that a call has cost one list and nothing else.
    pub(crate) async fn assert_one_list(&self) {
        let counts = self.requests(1).await;
        assert_eq!((counts.lists(), counts.total()), (1, 1), "{counts}");
    }

    /// Shows that a release costs one delete and nothing else.
    pub(crate) async fn assert_one_delete<E: Debug>(&self, release: impl Future<Output = Result<(), E>>) {
        release.await.unwrap();
        let counts = self.requests(1).await;
        assert_eq!((counts.of(Op::Delete), counts.total()), (1, 1), "{counts}");
    }
}

pub(crate) async fn make_dir(fixture: &Fixture, path: &str) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().create(path, b"", &options).await.unwrap();
}
