//! Servers are killed: the leader, each in turn, and so many that no quorum is left.

use std::time::Duration;

use zookeeper_recipes::{FairLock, LossReason};
use zookeeper_testkit::{History, Mode, background, within};

use crate::belief::{Log, now};
use crate::contest::Contest;
use crate::ensemble::{Ensemble, SESSION};

const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for a hold to live through an election on a slow machine.
const LONG_SESSION: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn the_line_keeps_its_order_when_the_leader_is_killed() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("leader_killed").await;
    let contest = Contest::start(&ensemble, &fixture, 6, SESSION).await;
    let mut coordinators = Vec::new();
    for _ in 0..3 {
        coordinators.push(ensemble.connect(&fixture, LONG_SESSION).await);
    }
    let guard = FairLock::new(&coordinators[0], "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");
    let mut waiting = Vec::new();
    for (index, waiter) in coordinators[1..].iter().enumerate() {
        let lock = FairLock::new(waiter, "/lock").expect("valid");
        waiting.push(tokio::spawn(async move { lock.acquire().await }));
        fixture.until_children("/lock", index + 2).await;
    }

    ensemble.kill(ensemble.leader().await).await;
    contest.until_goes_on().await;
    assert!(guard.is_held(), "lost in an election: {:?}", guard.lost().reason());
    let mut token = guard.token();
    guard.release().await.expect("still held");
    for waiting in waiting {
        let guard = within(PATIENCE, "the next in line is granted", waiting)
            .await
            .expect("no panic")
            .expect("granted");
        assert!(guard.token() > token);
        token = guard.token();
        guard.release().await.expect("still held");
    }
    ensemble.heal().await;
    contest.finish(&fixture).await;
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_three_servers_keep_session_and_hold_through_a_rolling_restart() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("rolling_restart").await;
    let contest = Contest::start(&ensemble, &fixture, 6, SESSION).await;
    let holder = ensemble.connect(&fixture, LONG_SESSION).await;
    let session = holder.client().await.expect("connected").session_id();
    let guard = FairLock::new(&holder, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");
    for server in 0..3 {
        ensemble.kill(server).await;
        contest.until_goes_on().await;
        ensemble.heal().await;
    }
    contest.until_goes_on().await;
    assert!(
        guard.is_held(),
        "lost in a rolling restart: {:?}",
        guard.lost().reason()
    );
    assert_eq!(holder.client().await.expect("connected").session_id(), session);
    guard.release().await.expect("still held");
    contest.finish(&fixture).await;
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_granted_and_after_it_everybody_is() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("no_quorum").await;
    let contest = Contest::start(&ensemble, &fixture, 6, SESSION).await;
    let history = History::new();
    let log = Log::to(&history);
    let holder = ensemble.connect(&fixture, SESSION).await;
    let lock = FairLock::new(&holder, "/lock").expect("valid");
    let guard = lock.acquire().await.expect("free");
    let waiter = ensemble.connect(&fixture, SESSION).await;
    let waiters_lock = FairLock::new(&waiter, "/lock").expect("valid");
    let waiting = tokio::spawn(async move { waiters_lock.acquire().await });
    fixture.until_children("/lock", 2).await;

    ensemble.kill(ensemble.followers().await[0]).await;
    let down = now();
    ensemble.kill(ensemble.leader().await).await;
    let believing = log.believe(&["/lock"], "holder", Mode::Exclusive, &guard, std::future::pending());
    within(PATIENCE, "the holder is told", believing).await;
    println!(
        "measured: quorum lost, session timeout {SESSION:?}: holds lost {} ms after it",
        (now() - down).as_millis()
    );
    assert_eq!(guard.lost().reason(), Some(LossReason::LeaseLapsed));
    background::sleep((down + 2 * SESSION).saturating_sub(now())).await;
    assert!(!waiting.is_finished(), "granted without a quorum");

    ensemble.heal().await;
    contest.until_goes_on().await;
    drop(guard);
    let granted = within(PATIENCE, "the waiter is granted", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    log.believe(
        &["/lock"],
        "waiter",
        Mode::Exclusive,
        &granted,
        background::sleep(Duration::from_millis(50)),
    )
    .await;
    granted.release().await.expect("still held");
    contest.finish(&fixture).await;
    fixture.assert_no_nodes_left(&["/lock"]).await;
    history.assert_sound();
}
