//! A fault at each request of an acquire under contention in turn, and servers that lag while it recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_embedded::{LoggedRequest, Op as EmbeddedOp, Rule, RuleBuilder};
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{PATIENCE, acquire, connect, faults, granted, join_line, lock, session_id};

/// Requests that are part of a call, not of the connection.
fn is_call(request: &LoggedRequest) -> bool {
    !matches!(
        request.op,
        EmbeddedOp::Ping | EmbeddedOp::Connect | EmbeddedOp::SetWatches | EmbeddedOp::SetWatches2
    )
}

/// One acquire under contention, watched from outside.
struct Contention {
    fixture: Arc<Fixture>,
    zk: Coordinator,
    session: i64,
    path: String,
}

impl Contention {
    async fn new(fixture: &Arc<Fixture>, path: &str) -> Self {
        let zk = connect(fixture).await;
        Self {
            fixture: Arc::clone(fixture),
            session: session_id(&zk).await,
            zk,
            path: path.to_owned(),
        }
    }

    fn rule(&self) -> RuleBuilder {
        faults(&self.fixture).on_any().session(self.session).matching(is_call)
    }

    /// Waits behind a holder, is granted, releases; with somebody behind, who must get it then.
    async fn run(&self) {
        let (front, behind) = (connect(&self.fixture).await, connect(&self.fixture).await);
        let holder = acquire(&lock(&front, &self.path)).await;
        let released = Arc::new(AtomicBool::new(false));
        let waiter = self.contend(&released);
        self.until_in_line(self.session).await;
        let next = tokio::spawn({
            let lock = lock(&behind, &self.path);
            async move { lock.acquire().await }
        });
        self.until_in_line(session_id(&behind).await).await;
        assert!(!waiter.is_finished() && holder.is_held());
        released.store(true, Ordering::SeqCst);
        holder.release().await.unwrap();
        within(PATIENCE, "acquired and released", waiter).await.unwrap();
        granted(next).await.release().await.unwrap();
        self.fixture.until_children(&self.path, 0).await;
        assert_eq!(
            session_id(&self.zk).await,
            self.session,
            "the session is still the same"
        );
    }

    fn contend(&self, released: &Arc<AtomicBool>) -> JoinHandle<()> {
        let (lock, released, fixture) = (
            lock(&self.zk, &self.path),
            Arc::clone(released),
            Arc::clone(&self.fixture),
        );
        let session = self.session;
        tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            assert!(released.load(Ordering::SeqCst), "granted while another holds it");
            let ours = fixture
                .ephemerals()
                .await
                .into_iter()
                .filter(|(_, owner)| *owner == session);
            assert_eq!(ours.map(|(path, _)| path).collect::<Vec<_>>(), [guard.path()]);
            assert!(guard.is_held());
            guard.release().await.unwrap();
        })
    }

    async fn until_in_line(&self, session: i64) {
        eventually(PATIENCE, format!("session {session:#x} stands in line"), || async {
            self.fixture
                .ephemerals()
                .await
                .into_values()
                .any(|owner| owner == session)
        })
        .await;
    }
}

/// Applies `fault` to each request of an acquire and release under contention, in turn, and `times` in a row.
async fn strike_each_request(name: &str, times: usize, fault: impl Fn(RuleBuilder) -> Rule) {
    let fixture = Arc::new(Fixture::with_embedded_server(name).await);
    let server = fixture.server().embedded().unwrap();
    let calm = Contention::new(&fixture, "/calm").await;
    server.reset_requests();
    calm.run().await;
    let requests = server.requests().session(calm.session).matching(is_call);
    let ops: Vec<EmbeddedOp> = requests.iter().map(|request| request.op).collect();
    assert!(ops.len() >= 6, "create, list, two watches, list, delete, but {ops:?}");
    println!("{name}: {ops:?}");

    let mut struck = 0;
    // Some more than in calm weather: recovery has requests of its own.
    for nth in 1..=ops.len() + 3 {
        let contention = Contention::new(&fixture, &format!("/struck-{nth}")).await;
        let rule = fault(contention.rule().nth(nth).times(times));
        within(
            2 * PATIENCE,
            format!("{name}: request {nth} of {ops:?}"),
            contention.run(),
        )
        .await;
        assert!(
            rule.hits() > 0 || nth > ops.len() - 1,
            "request {nth} of {ops:?} was not struck"
        );
        struck += rule.hits();
        rule.remove();
        contention.zk.close().await;
    }
    println!("{name}: {struck} requests struck");
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("lost reply", 1, RuleBuilder::drop_after_apply).await;
}

#[tokio::test]
async fn the_connection_may_be_cut_before_any_request() {
    strike_each_request("cut before", 1, RuleBuilder::drop_before_apply).await;
}

#[tokio::test]
async fn three_replies_in_a_row_may_be_lost() {
    strike_each_request("lost replies", 3, RuleBuilder::drop_after_apply).await;
}

#[tokio::test]
async fn three_requests_in_a_row_may_be_cut() {
    strike_each_request("cuts before", 3, RuleBuilder::drop_before_apply).await;
}

/// The server that is asked for the node of a lost create has not seen the create yet: without a `sync`, the node
/// would be taken for not created, and left behind in front of the one created in its place.
#[tokio::test]
async fn a_lagging_server_finds_a_lost_create() {
    let fixture = Arc::new(Fixture::with_embedded_server("lagging recovery").await);
    for (number, behind) in [1, 5, 1_000].into_iter().enumerate() {
        let contention = Contention::new(&fixture, &format!("/l-{number}")).await;
        // So that the directory is there, and the first create is the contender's.
        let holder = acquire(&lock(&contention.zk, &contention.path)).await;
        let waiter = join_line(&fixture, &lock(&connect(&fixture).await, &contention.path), 2).await;

        let lag = faults(&fixture).lag_reads(contention.session, behind);
        let lost = faults(&fixture)
            .on(EmbeddedOp::CREATES)
            .session(contention.session)
            .drop_after_apply();
        let ours = lock(&contention.zk, &contention.path);
        let pending = tokio::spawn(async move { ours.acquire().await });
        let mut struck = lost;
        assert_eq!(within(PATIENCE, "the reply is lost", struck.wait_hits(1)).await, 1);
        // It recovers while it stands in line: as many nodes as contenders, from now on.
        let server = fixture.server().embedded().unwrap();
        eventually(PATIENCE, "it looked for its node, and watches", || async {
            let requests = server.requests().session(contention.session).op(EmbeddedOp::Exists);
            requests
                .under(&format!("{}{}", fixture.chroot(), contention.path))
                .len()
                >= 3
        })
        .await;
        assert_eq!(fixture.children(&contention.path).await.len(), 3, "behind by {behind}");
        holder.release().await.unwrap();
        granted(waiter).await.release().await.unwrap();
        lag.off();
        let guard = granted(pending).await;
        assert_eq!(fixture.children(&contention.path).await.len(), 1, "behind by {behind}");
        guard.release().await.unwrap();
        fixture.until_children(&contention.path, 0).await;
        contention.zk.close().await;
    }
    fixture.assert_no_nodes_left(&[]).await;
}

/// A list from a server that lags shows who has left already, or does not show ourselves: neither grants.
#[tokio::test]
async fn lagging_lists_neither_grant_early_nor_block() {
    let fixture = Arc::new(Fixture::with_embedded_server("lagging lists").await);
    let contention = Contention::new(&fixture, "/l").await;
    let lag = faults(&fixture).lag_reads(contention.session, 3);
    // The late server moves on only with transactions.
    let raw = fixture.raw().clone();
    let traffic = tokio::spawn(async move {
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        raw.create("/traffic", b"", &options).await.unwrap();
        loop {
            raw.set_data("/traffic", b"", None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for _ in 0..10 {
        contention.run().await;
    }
    traffic.abort();
    lag.off();
    fixture.assert_no_nodes_left(&["/l"]).await;
}
