//! What becomes of waiters and holders when their session expires: waiting survives it, holding does not.
//!
//! Known mistakes of Curator that concern a mutex or a latch, and the tests that would show them here. A test is named
//! after its row; rows without a module stand in this one.
//!
//! | CURATOR- | mistake | test |
//! |---|---|---|
//! | 604 | a node left by the previous session counts as our own | `curator_604_…` |
//! | 498 | the search for a lost create trusts a node of a dying session | `curator_498_…` |
//! | 620, 696 | a latch takes the path of its old session for its own | `curator_696_…` |
//! | 206 | a holder is not told that its session expired | `curator_206_…` |
//! | 444, 460 | the client's clock calls a session lost later than the server does | `partition::curator_460_…` |
//! | 559 | a timeout does not bound the requests to the ensemble | `partition::curator_559_…` |
//! | 202 | a release during a disconnect leaves a node that keeps the lock for ever | `reconnect::curator_202_…` |
//! | 486, 678 | a release whose delete failed cannot be repeated; the next acquire waits for our own node | `reconnect::curator_678_…` |
//! | 653, 652, 644, 645, 504 | a reconnect deletes and makes nodes anew: two leaders, or a livelock | `reconnect::curator_653_…` |
//! | 724 | a node that vanished during a disconnect is never made again | `reconnect::curator_724_…` |
//! | 180, 308 | the directory is reaped between its creation and the contender's | `fair_lock::history::curator_180_…` |
//! | 347 | a lock is bound to the thread that acquired it | `fair_lock::history::curator_347_…` |
//! | 527, 641 | a wake is lost between setting the watch and waiting for it | `fair_lock::history::…` (all would hang) |
//! | 79, 62, 45 | an interrupted create leaves an orphan | `fair_lock::cancel` |
//! | 264 | the search for an orphan reads from a server that lags | `fair_lock::replies` |
//! | 43 | foreign children are waited for | `fair_lock::bad_input` |
//! | 171, 49 | a holder whose node an operator deleted is not told | `fair_lock::operator` |
//! | 716 | a release wakes everybody | `fair_lock::budget` |
//! | 489 | names are not unique | unit tests of `znode::name` |
//! | 173 | empty directories pile up | `contract::layouts` |

use std::time::Duration;

use zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, LossReason, Lost, ReleaseError, SessionState};
use zookeeper_testkit::{Fixture, Injection, When, eventually_some, within};

use crate::support::sessions::{Acquiring, expire, expire_unseen, reached};
use crate::support::{PATIENCE, connect_to, create, lock, loss, session_id, start_proxied};

const LOCK: &str = "/lock";
/// Long: these sessions end because they are taken away.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_expired_waiter_joins_again_at_the_tail() {
    let fixture = Fixture::new("expiry-waiter").await;
    let mut zks = Vec::new();
    for _ in 0..3 {
        zks.push(connect_to(&fixture.connect_string(), TIMEOUT).await);
    }
    let locks: Vec<_> = zks.iter().map(|zk| lock(zk, LOCK)).collect();
    let holder = Acquiring::start_at(&fixture, &locks[0], 0).await.granted().await;
    let waiter = Acquiring::start_at(&fixture, &locks[1], 1).await;
    let behind = Acquiring::start_at(&fixture, &locks[2], 2).await;

    let old = expire(&fixture, &zks[1]).await;
    let line = eventually_some(PATIENCE, "the waiter stands in line again", || async {
        let line = locks[0].contenders().await.unwrap();
        (line.len() == 3).then_some(line)
    })
    .await;
    assert_eq!(line[1].session_id, session_id(&zks[2]).await);
    assert_eq!(line[2].session_id, session_id(&zks[1]).await);
    assert_ne!(line[2].session_id, old);

    holder.release().await.unwrap();
    let behind = behind.granted().await;
    assert!(waiter.is_pending());
    behind.release().await.unwrap();
    let granted = waiter.granted().await;
    assert_eq!(
        (granted.path(), granted.token()),
        (line[2].path.as_str(), line[2].token)
    );
    granted.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_206_an_expired_holder_is_told() {
    let (fixture, proxy, zk) = start_proxied("expiry-holder", TIMEOUT).await;
    let lock = lock(&zk, LOCK);
    let guard = lock.acquire().await.unwrap();
    let kept = guard.lost();
    assert!(guard.is_held());

    expire_unseen(&fixture, &proxy, &zk).await;
    let reason = loss(&guard).await;
    assert_eq!(reason, LossReason::SessionExpired);
    assert!(!guard.is_held());
    assert_eq!(guard.remaining(), Duration::ZERO);
    assert_eq!(kept.reason(), Some(LossReason::SessionExpired));

    // The next session holds the lock; that gives the old guard nothing back.
    let next = within(PATIENCE, "the lock is free", lock.acquire()).await.unwrap();
    assert!(next.is_held() && !guard.is_held());
    assert!(next.token() > guard.token());
    let lost = Lost {
        reason: LossReason::SessionExpired,
    };
    assert_eq!(guard.run_until_lost(async { "done" }).await, Err(lost));
    assert_eq!(guard.release().await, Err(ReleaseError::Lost(lost)));
    assert!(next.is_held(), "the release of a lost guard releases nothing");
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn dropping_a_lost_guard_spares_the_next() {
    let fixture = Fixture::new("expiry-drop").await;
    let zk = connect_to(&fixture.connect_string(), TIMEOUT).await;
    let lock = lock(&zk, LOCK);
    let guard = lock.acquire().await.unwrap();
    expire(&fixture, &zk).await;
    let next = within(PATIENCE, "the lock is free", lock.acquire()).await.unwrap();
    drop(guard);
    // Whatever the drop set off passes the server before this does.
    let behind = Acquiring::start_at(&fixture, &lock, 1).await;
    assert!(next.is_held());
    assert_eq!(fixture.children(LOCK).await.len(), 2);
    next.release().await.unwrap();
    behind.granted().await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn protected_work_is_dropped_when_the_session_expires() {
    let (fixture, proxy, zk) = start_proxied("expiry-run", TIMEOUT).await;
    let lock = lock(&zk, LOCK);
    let (started, running) = tokio::sync::oneshot::channel();
    let run = lock.run(|_| async {
        started.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let (outcome, _) = tokio::join!(within(PATIENCE, "the work is dropped", run), async {
        running.await.unwrap();
        expire_unseen(&fixture, &proxy, &zk).await
    });
    let lost = zookeeper_recipes::RunError::Lost(Lost {
        reason: LossReason::SessionExpired,
    });
    assert_eq!(outcome, Err(lost));
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_696_an_expired_enrolment_is_repeated() {
    let (fixture, proxy, zk) = start_proxied("expiry-enrolling", Duration::from_secs(2)).await;
    let old = session_id(&zk).await;
    let lock = lock(&zk, LOCK);
    make_directory(&fixture).await;
    let silenced = proxy.inject(When::create().path("lock-"), Injection::SilenceReply);
    let acquiring = Acquiring::start(&lock);
    silenced.fired().await;
    fixture.until_children(LOCK, 1).await;
    fixture.until_children(LOCK, 0).await;
    assert!(acquiring.is_pending());
    proxy.heal();

    let guard = acquiring.granted().await;
    assert!(guard.is_held());
    let owner = session_id(&zk).await;
    assert_ne!(owner, old);
    assert_eq!(
        fixture.ephemerals().await.into_iter().collect::<Vec<_>>(),
        [(guard.path().to_owned(), owner)]
    );
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn curator_498_a_found_node_needs_our_session() {
    let (fixture, proxy, zk) = start_proxied("expiry-foreign", TIMEOUT).await;
    let lock = lock(&zk, LOCK);
    make_directory(&fixture).await;
    let silenced = proxy.inject(When::create().path("lock-"), Injection::SilenceReply);
    let acquiring = Acquiring::start(&lock);
    silenced.fired().await;
    fixture.until_children(LOCK, 1).await;
    // A node of this very name, but of another session: as if a server had not yet purged a session before ours.
    let path = format!("{LOCK}/{}", fixture.children(LOCK).await[0]);
    fixture.raw().delete(&path, None).await.unwrap();
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create(&path, b"", &ephemeral).await.unwrap();
    proxy.cut();
    proxy.heal();

    // It enrols anew; the node goes, for it bears a name that nobody but us could have given it.
    let guard = acquiring.granted().await;
    assert_ne!(guard.path(), path);
    assert_eq!(fixture.ephemerals().await[guard.path()], session_id(&zk).await);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// An observer is shown the last state: one that a next session ends at once may pass unseen.
#[tokio::test]
async fn the_observer_sees_lost_and_then_connected() {
    let (fixture, proxy, zk) = start_proxied("expiry-states", Duration::from_secs(2)).await;
    let mut states = zk.states();
    assert_eq!(states.current(), SessionState::Connected);
    let old = session_id(&zk).await;
    proxy.refuse().await;
    reached(&mut states, SessionState::Lost).await;
    proxy.accept().await;
    reached(&mut states, SessionState::Connected).await;
    assert_ne!(session_id(&zk).await, old);
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn the_next_session_keeps_credentials_and_chroot() {
    let fixture = Fixture::new("expiry-auth").await;
    let zk = ConnectOptions::new()
        .session_timeout(TIMEOUT)
        .auth("digest", "payments:secret")
        .acls(&Acls::creator_all()[..])
        .connect(&fixture.connect_string())
        .await
        .unwrap();
    let lock = lock(&zk, LOCK);
    lock.acquire().await.unwrap().release().await.unwrap();
    let stranger = fixture.connect().await;
    assert_eq!(stranger.list_children(LOCK).await, Err(zookeeper_client::Error::NoAuth));

    let old = expire(&fixture, &zk).await;
    let guard = within(PATIENCE, "granted in the next session", lock.acquire())
        .await
        .unwrap();
    assert_ne!(session_id(&zk).await, old);
    assert_eq!(
        stranger.get_data(guard.path()).await.err(),
        Some(zookeeper_client::Error::NoAuth)
    );
    let mut write = guard.fenced();
    write.add_create("/lock/note", b"mine", CreateMode::Persistent);
    write.commit().await.unwrap();
    fixture.raw().auth("digest", b"payments:secret").await.unwrap();
    assert_eq!(fixture.raw().get_data("/lock/note").await.unwrap().0, b"mine");
    fixture.raw().delete("/lock/note", None).await.unwrap();
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// Curator's mutex asks only whether a node has the name that it remembers.
#[tokio::test]
async fn curator_604_a_previous_sessions_node_stays_foreign() {
    let fixture = Fixture::new("expiry-previous").await;
    let zk = connect_to(&fixture.connect_string(), TIMEOUT).await;
    let other = lock(&connect_to(&fixture.connect_string(), TIMEOUT).await, LOCK);
    let lock = lock(&zk, LOCK);
    let holder = Acquiring::start_at(&fixture, &other, 0).await.granted().await;
    let waiting = Acquiring::start_at(&fixture, &lock, 1).await;
    let previous = lock.contenders().await.unwrap().remove(1).path;
    expire(&fixture, &zk).await;
    // As if the purge were late: the node is there again, and it is not of the session that waits now.
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create(&previous, b"", &ephemeral).await.unwrap();
    holder.release().await.unwrap();
    // The reaper may have been late, too, and have taken it.
    let deleted = fixture.raw().delete(&previous, None).await;
    assert!(
        matches!(deleted, Ok(()) | Err(zookeeper_client::Error::NoNode)),
        "{deleted:?}"
    );
    let guard = waiting.granted().await;
    assert_ne!(guard.path(), previous);
    assert_eq!(fixture.ephemerals().await[guard.path()], session_id(&zk).await);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// Makes the lock's directory beforehand, so that the first create is that of the contender.
async fn make_directory(fixture: &Fixture) {
    create(fixture, LOCK, CreateMode::Persistent).await;
}

/// The lock in two sessions, and the first of them.
async fn two_locks(fixture: &Fixture, timeout: Duration) -> (Coordinator, [FairLock; 2]) {
    let servers = fixture.connect_string();
    let [one, two] = [connect_to(&servers, timeout).await, connect_to(&servers, timeout).await];
    let locks = [lock(&one, LOCK), lock(&two, LOCK)];
    (one, locks)
}

#[tokio::test]
async fn holds_and_places_survive_a_server_restart() {
    let fixture = Fixture::with_own_server("expiry-restart").await;
    // The lease outlasts the restart of a JVM on a busy machine.
    let (zk, [lock, waiter]) = two_locks(&fixture, Duration::from_secs(40)).await;
    let guard = lock.acquire().await.unwrap();
    let token = guard.token();
    let waiting = Acquiring::start_at(&fixture, &waiter, 1).await;
    let line = lock.contenders().await.unwrap();

    fixture.server().kill().await;
    let mut states = zk.states();
    within(
        PATIENCE,
        "the cut is seen",
        states.wait_for(|state| *state == SessionState::Suspended),
    )
    .await;
    assert!(guard.is_held());
    fixture.server().restart().await;
    within(
        PATIENCE,
        "the session is back",
        states.wait_for(|state| *state == SessionState::Connected),
    )
    .await;

    assert!(guard.is_held());
    assert_eq!(guard.token(), token);
    assert_eq!(lock.contenders().await.unwrap(), line);
    guard.release().await.unwrap();
    let granted = waiting.granted().await;
    assert_eq!(granted.path(), line[1].path);
    granted.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn a_long_outage_ends_holds_and_keeps_waiters() {
    let fixture = Fixture::with_own_server("expiry-outage").await;
    let (_, [lock, waiter]) = two_locks(&fixture, Duration::from_secs(2)).await;
    let guard = lock.acquire().await.unwrap();
    let waiting = Acquiring::start_at(&fixture, &waiter, 1).await;

    fixture.server().kill().await;
    let reason = loss(&guard).await;
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(!guard.is_held());
    let again = Acquiring::start(&lock);
    fixture.server().restart().await;

    // The sessions of all three may be over by now, so that either of the two can be the first in line.
    let serve = |acquiring: Acquiring| async {
        let granted = acquiring.granted().await;
        assert!(granted.token() > guard.token());
        assert!(granted.is_held() && !guard.is_held());
        granted.release().await.unwrap();
    };
    tokio::join!(serve(waiting), serve(again));
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
