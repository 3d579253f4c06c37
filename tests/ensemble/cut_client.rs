//! A client is cut off from the whole ensemble, silently or with its connections closed.

use std::time::Duration;

use zookeeper_recipes::{FairLock, LossReason};
use zookeeper_testkit::{History, Mode, Proxy, background, within};

use crate::belief::{Log, now};
use crate::contest::Contest;
use crate::ensemble::{Ensemble, connect};

const PATIENCE: Duration = Duration::from_secs(60);

/// A tenth of it is much shorter than any lease, with room for a slow machine.
const SESSION: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Connections stay open and nothing passes.
    BlackHole,
    /// Connections are closed, new ones refused.
    Reset,
}

impl Cut {
    async fn begin(self, proxies: &[Proxy]) {
        for proxy in proxies {
            match self {
                Self::BlackHole => proxy.black_hole(),
                Self::Reset => proxy.refuse().await,
            }
        }
    }

    async fn end(self, proxies: &[Proxy]) {
        for proxy in proxies {
            proxy.heal();
            proxy.accept().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_survives_a_black_hole_that_is_shorter_than_its_lease() {
    survives(Cut::BlackHole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_survives_a_reset_that_is_shorter_than_its_lease() {
    survives(Cut::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_longer_than_the_session_is_told_before_another_is_granted() {
    is_lost(Cut::BlackHole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_longer_than_the_session_is_told_before_another_is_granted() {
    is_lost(Cut::Reset).await;
}

async fn survives(cut: Cut) {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("short_cut").await;
    let (proxies, servers) = ensemble.proxied(&fixture).await;
    let holder = connect(&servers, SESSION).await;
    let guard = FairLock::new(&holder, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");
    let waiter = ensemble.connect(&fixture, SESSION).await;
    let lock = FairLock::new(&waiter, "/lock").expect("valid");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    fixture.until_children("/lock", 2).await;

    cut.begin(&proxies).await;
    background::sleep(SESSION / 10).await;
    cut.end(&proxies).await;

    // Held for longer than a lease can last that was not confirmed again after the cut.
    let through = guard.run_until_lost(background::sleep(SESSION * 3 / 2)).await;
    assert_eq!(through, Ok(()), "{cut:?} of a tenth of the session");
    assert!(!waiting.is_finished(), "the waiter was granted while the lock is held");
    guard.release().await.expect("still held");
    let granted = within(PATIENCE, "the waiter is granted", waiting).await;
    granted
        .expect("no panic")
        .expect("granted")
        .release()
        .await
        .expect("still held");
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

async fn is_lost(cut: Cut) {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("long_cut").await;
    let history = History::new();
    let log = Log::to(&history);
    let (proxies, servers) = ensemble.proxied(&fixture).await;
    let contest = Contest::beside(&fixture, &servers).await;
    let holder = connect(&servers, SESSION).await;
    let lock = FairLock::new(&holder, "/lock").expect("valid");
    let guard = lock.acquire().await.expect("free");
    let waiter = ensemble.connect(&fixture, SESSION).await;
    let waiters_lock = FairLock::new(&waiter, "/lock").expect("valid");
    let waiting = tokio::spawn(async move { waiters_lock.acquire().await.map(|guard| (guard, now())) });
    fixture.until_children("/lock", 2).await;

    cut.begin(&proxies).await;
    let began = now();
    let believing = log.believe(&["/lock"], "holder", Mode::Exclusive, &guard, std::future::pending());
    within(PATIENCE, "the holder is told", believing).await;
    let lost_at = now();
    assert_eq!(guard.lost().reason(), Some(LossReason::LeaseLapsed));
    let (granted, granted_at) = within(PATIENCE, "the waiter is granted", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    println!(
        "measured: {cut:?}, session timeout {SESSION:?}: lost {} ms after the cut, the other granted at {} ms",
        (lost_at - began).as_millis(),
        (granted_at - began).as_millis()
    );
    assert!(
        lost_at < granted_at,
        "lost at {lost_at:?}, the other granted at {granted_at:?}"
    );
    log.believe(
        &["/lock"],
        "waiter",
        Mode::Exclusive,
        &granted,
        background::sleep(Duration::from_millis(50)),
    )
    .await;
    cut.end(&proxies).await;
    drop(guard);

    // The one that was cut off comes back, behind the one that is there.
    let again = tokio::spawn(async move { lock.acquire().await });
    fixture.until_children("/lock", 2).await;
    granted.release().await.expect("still held");
    let again = within(PATIENCE, "the lock is had again", again)
        .await
        .expect("no panic")
        .expect("granted");
    log.believe(
        &["/lock"],
        "holder",
        Mode::Exclusive,
        &again,
        background::sleep(Duration::from_millis(50)),
    )
    .await;
    again.release().await.expect("still held");
    contest.finish(&fixture).await;
    fixture.assert_no_nodes_left(&["/lock"]).await;
    history.assert_sound();
}
