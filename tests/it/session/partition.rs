//! What becomes of holds and calls when the link or the server is away for long, or silent: a hold lasts while its lease runs,
//! and ends before the ensemble can give its place to somebody else.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, FairLockGuard, LossReason, Lost, ReleaseError, SessionState};
use zookeeper_testkit::{Fixture, History, Injection, Mode, ServerTruth, When, background, eventually, within};

use crate::support::sessions::{Acquiring, reached, session_timeout, told};
use crate::support::{PATIENCE, acquire, connect, connect_here, connect_to, elapsed, lock, session_id, start_proxied};

const LOCK: &str = "/lock";
/// Of sessions that shall outlive all that the test does.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn curator_460_holds_end_before_their_session() {
    let fixture = Fixture::with_own_server("partition-frozen").await;
    let (proxy, cluster) = fixture.proxied().await;
    let zk = connect_to(&cluster, Duration::from_secs(4)).await;
    let lock = lock(&zk, LOCK);
    let guard = acquire(&lock).await;
    let timeout = session_timeout(&zk).await;
    eventually(PATIENCE, "heartbeats", || async { proxy.requests().heartbeats() >= 2 }).await;

    let client = zk.client().await.unwrap();
    let last_good = Instant::now();
    fixture.server().freeze().await;
    let (reason, lost_at) = told(&guard).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(lost_at - last_good < timeout, "{:?}", lost_at - last_good);
    assert!(!guard.is_held());
    assert!(!client.state().is_terminated());
    // The client itself finds out only when somebody else could have the lock for long.
    let mut states = client.state_watcher();
    let expired = within(PATIENCE, "the client gives up", async {
        while !states.changed().await.is_terminated() {}
        Instant::now()
    });
    assert!(expired.await - last_good > timeout);
    drop(client);

    fixture.server().thaw().await;
    let next = acquire(&lock).await;
    assert!(next.token() > guard.token());
    assert!(!guard.is_held());
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn silence_ends_a_hold_before_its_waiter() {
    let fixture = Fixture::new("partition-silence").await;
    let (proxy, cluster) = fixture.proxied().await;
    let history = History::new();
    let zk = connect_to(&cluster, Duration::from_secs(3)).await;
    let lock_behind_proxy = lock(&zk, LOCK);
    let guard = acquire(&lock_behind_proxy).await;
    let _truth = ServerTruth::record(fixture.raw(), LOCK, &history).await;
    let belief = history.record_grant(LOCK, "silenced", Mode::Exclusive, guard.token().as_i64());
    let timeout = session_timeout(&zk).await;
    let waiting = Acquiring::start_at(&fixture, &lock(&connect(&fixture).await, LOCK), 1).await;

    let last_good = Instant::now();
    proxy.black_hole();
    let (reason, lost_at) = told(&guard).await;
    belief.end_at(lost_at);
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(lost_at - last_good < timeout, "{:?}", lost_at - last_good);
    let granted = waiting.granted().await;
    let belief = history.record_grant(LOCK, "waiter", Mode::Exclusive, granted.token().as_i64());
    assert!(!guard.is_held());
    let summary = history.assert_sound();
    assert_eq!((summary.grants, summary.most_at_once), (2, 1));

    // It comes back behind the one that has the lock now.
    let again = Acquiring::start(&lock_behind_proxy);
    proxy.heal();
    fixture.until_children(LOCK, 2).await;
    assert!(again.is_pending() && granted.is_held() && !guard.is_held());
    belief.end();
    granted.release().await.unwrap();
    again.granted().await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn an_unanswered_heartbeat_prolongs_no_hold() {
    let fixture = Fixture::new("partition-heartbeat").await;
    let (proxy, cluster) = fixture.proxied().await;
    let zk = connect_to(&cluster, Duration::from_secs(6)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    // A proof has just come: the next heartbeat is a while away, and the hold would last that much longer by it.
    let end = || Instant::now() + guard.remaining();
    let first = end();
    eventually(PATIENCE, "a proof comes", || async {
        end() > first + Duration::from_millis(250)
    })
    .await;
    proxy.black_hole_replies();
    let (sent, end) = (proxy.requests().heartbeats(), end());
    let (reason, lost_at) = told(&guard).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(proxy.requests().heartbeats() > sent, "a heartbeat went out");
    assert!(lost_at < end + Duration::from_millis(250), "{:?} late", lost_at - end);
    proxy.heal();
    drop(guard);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn a_cut_past_the_session_ends_holds() {
    let (fixture, proxy, zk) = start_proxied("partition-long", Duration::from_secs(2)).await;
    let lock = lock(&zk, LOCK);
    let guard = acquire(&lock).await;
    let session = session_id(&zk).await;
    proxy.refuse().await;
    let (reason, _) = told(&guard).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    let waiting = Acquiring::start(&lock);
    fixture.until_children(LOCK, 0).await;
    proxy.accept().await;
    let next = waiting.granted().await;
    assert_ne!(session_id(&zk).await, session);
    assert!(next.token() > guard.token());
    assert_eq!(zk.states().current(), SessionState::Connected);
    let lost = Lost { reason };
    assert_eq!(guard.release().await, Err(ReleaseError::Lost(lost)));
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn a_session_given_up_is_never_reused() {
    let (fixture, proxy, zk) = start_proxied("partition-fail-stop", Duration::from_secs(8)).await;
    let lock = lock(&zk, LOCK);
    let guard = acquire(&lock).await;
    // Keeps the session alive, and shows that it lives.
    let kept = zk.client().await.unwrap();
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    kept.create("/alive", b"", &ephemeral).await.unwrap();

    proxy.black_hole();
    let (reason, _) = told(&guard).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    proxy.cut();
    proxy.heal();
    fixture.until_children(LOCK, 0).await;
    let old = kept.session_id().0;
    assert_eq!(
        fixture.ephemerals().await.get("/alive"),
        Some(&old),
        "the old session lives"
    );
    assert_ne!(session_id(&zk).await, old);
    let next = acquire(&lock).await;
    assert!(next.is_held() && !guard.is_held());
    next.release().await.unwrap();
    drop(kept);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_559_timeouts_bound_calls_on_silent_links() {
    let fixture = Fixture::new("partition-timeout").await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture.raw().create(LOCK, b"", &persistent).await.unwrap();
    for (case, injection) in [
        ("silent from the start", None),
        ("silent before the create", Some(Injection::SilenceBefore)),
        ("silent after the create", Some(Injection::SilenceReply)),
    ] {
        let (proxy, cluster) = fixture.proxied().await;
        let zk = connect_to(&cluster, LONG).await;
        match injection {
            Some(injection) => drop(proxy.inject(When::create().path("lock-"), injection)),
            None => proxy.black_hole(),
        }
        assert_bounded(case, &zk).await;
        proxy.cut();
        proxy.heal();
        fixture.assert_no_nodes_left(&[LOCK]).await;
    }
}

#[tokio::test]
async fn a_timeout_bounds_the_call_without_a_connection() {
    let (fixture, proxy, zk) = start_proxied("partition-timeout-cut", LONG).await;
    proxy.refuse().await;
    reached(&mut zk.states(), SessionState::Suspended).await;
    assert_bounded("cut", &zk).await;
    proxy.accept().await;
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn a_timeout_bounds_a_silenced_waiter() {
    let (fixture, proxy, zk) = start_proxied("partition-timeout-waiter", LONG).await;
    let holder = acquire(&lock(&connect(&fixture).await, LOCK)).await;
    tokio::join!(assert_bounded("waiting", &zk), async {
        fixture.until_children(LOCK, 2).await;
        proxy.black_hole();
    });
    proxy.cut();
    proxy.heal();
    fixture.until_children(LOCK, 1).await;
    holder.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// Current-thread runtime: while the test blocks, its session is as dead as that of a stopped process.
#[tokio::test(flavor = "current_thread")]
async fn a_stopped_process_wakes_without_its_hold() {
    let fixture = Fixture::new("partition-stopped").await;
    let zk = connect_here(&fixture.connect_string(), Duration::from_secs(2)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let waiter = granted_elsewhere(&fixture).await;
    assert!(guard.is_held());
    let next = waiter.recv_timeout(PATIENCE).unwrap();
    assert!(!guard.is_held());
    assert_eq!(guard.remaining(), Duration::ZERO);
    assert_eq!(guard.lost().reason(), Some(LossReason::LeaseLapsed));
    drop(next);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn work_that_outlasts_its_lease_has_no_result() {
    let fixture = Fixture::new("partition-stopped-work").await;
    let zk = connect_here(&fixture.connect_string(), Duration::from_secs(2)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let waiter = granted_elsewhere(&fixture).await;
    let outcome = guard
        .run_until_lost(async { waiter.recv_timeout(PATIENCE).is_ok() })
        .await;
    let reason = LossReason::LeaseLapsed;
    assert_eq!(outcome, Err(Lost { reason }));
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn work_ending_with_the_loss_has_no_result() {
    let (fixture, proxy, zk) = start_proxied("partition-work", Duration::from_secs(2)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    proxy.black_hole();
    // Both wait for the same moment; the loss is to win, whoever is woken first.
    let work = guard.run_until_lost(guard.lost());
    let outcome = within(PATIENCE, "the loss", work).await;
    let reason = LossReason::LeaseLapsed;
    assert_eq!(outcome, Err(Lost { reason }));
    assert_eq!(guard.run_until_lost(async {}).await, Err(Lost { reason }));
    proxy.heal();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn idle_sessions_survive_short_freezes() {
    let fixture = Fixture::with_own_server("partition-idle").await;
    let zk = connect_to(&fixture.connect_string(), Duration::from_secs(8)).await;
    let session = session_id(&zk).await;
    acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
    let mut states = zk.states();
    fixture.server().freeze().await;
    reached(&mut states, SessionState::Suspended).await;
    fixture.server().thaw().await;
    reached(&mut states, SessionState::Connected).await;
    assert_eq!(session_id(&zk).await, session);
    acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
    assert_eq!(session_id(&zk).await, session);
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// A call of 300 ms returns within a second of its deadline.
async fn assert_bounded(case: &str, zk: &Coordinator) {
    let limit = Duration::from_millis(300);
    let started = Instant::now();
    let outcome = lock(zk, LOCK).acquire_timeout(limit).await;
    let took = started.elapsed();
    assert_eq!(elapsed(outcome), Some(limit), "{case}");
    assert!(
        (limit..limit + Duration::from_secs(1)).contains(&took),
        "{case}: {took:?}"
    );
}

/// A waiter on a runtime that runs on while the test's is blocked. It sends its guard when it is granted.
async fn granted_elsewhere(fixture: &Fixture) -> mpsc::Receiver<FairLockGuard> {
    let (sender, receiver) = mpsc::channel();
    let cluster = fixture.connect_string();
    let zk = background::run(async move { connect_to(&cluster, LONG).await }).await;
    background::handle().spawn(async move { sender.send(acquire(&lock(&zk, LOCK)).await) });
    fixture.until_children(LOCK, 2).await;
    receiver
}
