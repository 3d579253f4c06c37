//! What bystanders see, and what a leader tells them.

use zookeeper_recipes::{ElectionLayout, LossReason, ProclaimError};
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{LAYOUTS, LEADER, election, lead, leads, value};
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, connect, connect_to, start};

#[tokio::test]
async fn observers_see_leaders_proclamations_and_vacancies() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("observe").await;
        let bystander = connect(&fixture).await;
        let mut observer = election(&bystander, layout).observe().await.unwrap();
        assert_eq!(observer.current(), None, "the path does not even exist");

        let zk = connect(&fixture).await;
        let leadership = lead(&election(&zk, layout), "a").await;
        let seen = within(PATIENCE, "a leads", observer.wait_for(leads("a")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((seen.term, seen.is_leader), (leadership.token(), true));
        leadership.proclaim("a, ready").await.unwrap();
        within(PATIENCE, "a is ready", observer.wait_for(leads("a, ready")))
            .await
            .unwrap();
        leadership.resign().await.unwrap();
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();

        // The directory may be gone by now, and is made again.
        fixture.assert_no_nodes_left(&[LEADER]).await;
        let _ = fixture.raw().delete(LEADER, None).await;
        let again = lead(&election(&zk, layout), "b").await;
        within(PATIENCE, "b leads", observer.wait_for(leads("b")))
            .await
            .unwrap();
        drop(again);
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();
        bystander.close().await;
        assert_eq!(within(PATIENCE, "the end", observer.changed()).await, None);
    }
}

#[tokio::test]
async fn an_observer_catches_up_after_cuts_and_expiries() {
    let fixture = Fixture::new("observer catches up").await;
    let layout = ElectionLayout::default();
    let (proxy, servers) = fixture.proxied().await;
    let bystander = connect_to(&servers, LONG).await;
    let mut observer = election(&bystander, layout).observe().await.unwrap();
    let zk = connect(&fixture).await;
    for round in 0..3 {
        let first = lead(&election(&zk, layout), "before").await;
        within(PATIENCE, "seen", observer.wait_for(leads("before")))
            .await
            .unwrap();
        let session = session_of(&bystander).await;
        proxy.refuse().await;
        first.resign().await.unwrap();
        let next = lead(&election(&zk, layout), "after").await;
        if round == 1 {
            fixture.expire(&session).await;
        }
        proxy.accept().await;
        let seen = within(PATIENCE, "caught up", observer.wait_for(leads("after")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(seen.term, next.token());
        next.resign().await.unwrap();
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();
    }
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

/// Curator's listeners run inside the latch's monitor on the event thread: a slow one stalls all.
#[tokio::test]
async fn curator_listeners_an_unread_observer_stalls_nobody() {
    let (fixture, zk) = start("slow observer").await;
    let election = election(&zk, ElectionLayout::default());
    let mut slow = election.observe().await.unwrap();
    let mut quick = election.observe().await.unwrap();
    for round in 0..20 {
        let who = round.to_string();
        let leadership = lead(&election, &who).await;
        within(PATIENCE, "seen", quick.wait_for(leads(&who))).await.unwrap();
        leadership.resign().await.unwrap();
    }
    within(PATIENCE, "seen", quick.wait_for(Option::is_none)).await.unwrap();
    within(PATIENCE, "the latest is seen", slow.wait_for(Option::is_none))
        .await
        .unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_proclamation_survives_its_lost_reply() {
    let fixture = Fixture::new("proclaim, reply lost").await;
    let (proxy, servers) = fixture.proxied().await;
    let election = election(&connect_to(&servers, LONG).await, ElectionLayout::default());
    let leadership = lead(&election, "a").await;
    for fault in [
        proxy.lose_reply(When::request(Op::SetData)),
        proxy.cut_before(When::request(Op::SetData).nth(2)),
    ] {
        within(PATIENCE, "proclaimed", leadership.proclaim("b")).await.unwrap();
        fault.fired().await;
        assert_eq!(value(&election.leader().await.unwrap().unwrap()), "b");
    }
    assert!(leadership.is_held());
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_leader_that_is_lost_proclaims_nothing() {
    let (fixture, zk) = start("proclaim after loss").await;
    let leadership = lead(&election(&zk, ElectionLayout::default()), "a").await;
    fixture.raw().delete(leadership.path(), None).await.unwrap();
    let lost = leadership.proclaim("b").await.unwrap_err();
    assert!(
        matches!(&lost, ProclaimError::Lost(lost) if lost.reason == LossReason::NodeRemoved),
        "{lost}"
    );
    assert!(!leadership.is_held());
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
