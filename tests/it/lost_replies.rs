//! Requests that were applied though the client cannot know, and requests that were not.
//!
//! Each time: one node of ours or none, exclusion kept, the grant reached, and the session the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_embedded::{LoggedRequest, Op as EmbeddedOp, Rule, RuleBuilder};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, FairLock, LossReason};
use zookeeper_testkit::proxy::When;
use zookeeper_testkit::{Fault, Fixture, Injection, Op, Proxy, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, faults, granted, join_line, lock, session_id};

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
async fn a_lost_create_is_found_again_or_sent_again() {
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
        assert_eq!(
            within(PATIENCE, "the holder is told", guard.lost()).await,
            LossReason::NodeRemoved
        );
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_release_is_done_though_the_reply_of_its_delete_or_the_delete_is_lost() {
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
async fn a_dropped_guard_is_removed_though_the_reply_of_its_delete_or_the_delete_is_lost() {
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
async fn a_cancelled_create_whose_reply_is_lost_is_found_and_removed() {
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
async fn the_replies_of_three_requests_in_a_row_may_be_lost() {
    strike_each_request("lost replies", 3, RuleBuilder::drop_after_apply).await;
}

#[tokio::test]
async fn the_connection_may_be_cut_before_three_requests_in_a_row() {
    strike_each_request("cuts before", 3, RuleBuilder::drop_before_apply).await;
}

/// The server that is asked for the node of a lost create has not seen the create yet: without a `sync`, the node
/// would be taken for not created, and left behind in front of the one created in its place.
#[tokio::test]
async fn a_lost_create_is_found_again_on_a_server_that_lags() {
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
async fn lists_of_a_server_that_lags_grant_nothing_early_and_block_nothing_for_good() {
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

#[tokio::test]
async fn a_holder_whose_session_is_silently_replaced_learns_that_it_expired() {
    let fixture = Fixture::with_embedded_server("replaced holder").await;
    let timeout = Duration::from_secs(4);
    let zk = connect_to(&fixture.connect_string(), timeout).await;
    let other = connect(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;

    faults(&fixture).adopt_new_sessions(true);
    faults(&fixture).cut(session_id(&zk).await);
    let reason = within(PATIENCE, "the holder is told", guard.lost()).await;
    assert_eq!(reason, LossReason::SessionExpired);
    assert!(!guard.is_held());
    faults(&fixture).adopt_new_sessions(false);

    // The next is granted, and the coordinator goes on in a session that is its own.
    let next = granted(waiter).await;
    let ours = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    next.release().await.unwrap();
    granted(ours).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_waiter_whose_session_is_silently_replaced_joins_again_and_is_granted() {
    // Whether the holder leaves before or after the replaced session has expired.
    for leaves_at_once in [true, false] {
        let fixture = Fixture::with_embedded_server("replaced waiter").await;
        let zk = connect_to(&fixture.connect_string(), Duration::from_secs(2)).await;
        let holder = acquire(&lock(&connect(&fixture).await, "/l")).await;
        let waiter = join_line(&fixture, &lock(&zk, "/l"), 2).await;
        let before = session_id(&zk).await;
        let place = fixture
            .ephemerals()
            .await
            .into_iter()
            .find(|(_, owner)| *owner == before)
            .unwrap()
            .0;

        faults(&fixture).adopt_new_sessions(true);
        faults(&fixture).cut(before);
        let server = fixture.server().embedded().unwrap();
        eventually(PATIENCE, "it is back, in another session", || async {
            server.requests().op(EmbeddedOp::Connect).session(before).len() == 1
        })
        .await;
        faults(&fixture).adopt_new_sessions(false);
        if !leaves_at_once {
            eventually(PATIENCE, "it joined again", || async {
                let nodes = fixture.ephemerals().await;
                nodes.len() == 2 && !nodes.contains_key(&place)
            })
            .await;
        }
        assert!(!waiter.is_finished());
        holder.release().await.unwrap();
        let guard = granted(waiter).await;
        assert_ne!(
            guard.path(),
            place,
            "the place of a session that is not ours is not ours"
        );
        assert!(fixture.ephemerals().await[guard.path()] != before);
        guard.release().await.unwrap();
        fixture.assert_no_nodes_left(&["/l"]).await;
    }
}

#[tokio::test]
async fn a_line_goes_on_across_the_overflow_of_its_sequence() {
    let fixture = Fixture::with_embedded_server("overflow").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let mut front = acquire(&lock(&one, "/l")).await;
    let dir = format!("{}/l", fixture.chroot());
    assert!(faults(&fixture).set_sequence(&dir, i32::MAX - 2));

    let mut waiters = Vec::new();
    for number in 0..6 {
        let zk = if number % 2 == 0 { &two } else { &one };
        waiters.push(join_line(&fixture, &lock(zk, "/l"), number + 2).await);
    }
    let contenders = lock(&two, "/l").contenders().await.unwrap();
    let sequences: Vec<i32> = contenders[1..].iter().map(|c| sequence(&c.path)).collect();
    assert!(
        sequences.contains(&(i32::MAX - 1)) && sequences.contains(&i32::MIN),
        "{sequences:?}"
    );
    assert!(contenders.is_sorted_by_key(|c| c.token), "{contenders:?}");

    for (waiter, contender) in waiters.into_iter().zip(&contenders[1..]) {
        assert!(!waiter.is_finished());
        front.release().await.unwrap();
        front = granted(waiter).await;
        assert_eq!(front.token(), contender.token);
    }
    front.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

fn sequence(path: &str) -> i32 {
    let (_, number) = path.rsplit_once("-lock-").unwrap();
    number.parse().unwrap()
}
