//! Replies that are lost, and results that come late: stored once, or not, or in doubt and said so.

use zookeeper_recipes::{CompleteError, Relay};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{RESULT, TURN, complete, finish, join, relay, told};
use crate::support::sessions::{expire_silent, session_of};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to, granted, start_proxied};

/// A holder that is cut off, does not know it and completes later: nothing of it is stored.
#[tokio::test]
async fn a_result_after_the_loss_is_not_stored() {
    let (fixture, proxy, zk) = start_proxied("late", LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    complete(join(&others).await, "a").await;
    let turn = join(&ours).await;
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceBefore);
    let completing = tokio::spawn(turn.complete("late"));
    fault.fired().await;
    fixture.expire(&session).await;
    let next = join(&others).await;
    assert_eq!(told(&next), (Some(&b"a"[..]), true, 1));
    complete(next, "b").await;
    proxy.cut();
    proxy.heal();
    let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
    assert!(matches!(outcome, Err(CompleteError::Lost(_))), "{outcome:?}");
    assert_eq!(others.latest().await.unwrap().unwrap(), "b");
    finish(&fixture, &others).await;
}

/// A result whose reply is lost with the session is found again in the next one, whoever came after it.
#[tokio::test]
async fn a_result_survives_reply_and_session() {
    let (fixture, proxy, zk) = start_proxied("found again", LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    for (followers, expected) in [(0, Ok(())), (3, Ok(())), (16, Err(CompleteError::Indeterminate))] {
        let turn = join(&ours).await;
        let step = turn.step();
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
        let completing = tokio::spawn(turn.complete("ours"));
        fault.fired().await;
        for follower in 0..followers {
            let turn = join(&others).await;
            assert!(!turn.predecessor_lost());
            assert_eq!(turn.step(), step + 1 + follower);
            complete(turn, "theirs").await;
        }
        expire_silent(&fixture, &proxy, &session).await;
        let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
        assert_eq!(outcome, expected, "{followers} followers");
    }
    finish(&fixture, &others).await;
}

/// The relay was removed after the result was stored and before its participant knew: nobody can tell any more.
#[tokio::test]
async fn a_result_for_a_removed_relay_is_indeterminate() {
    let (fixture, proxy, zk) = start_proxied("removed since", LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    let turn = join(&ours).await;
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
    let completing = tokio::spawn(turn.complete("ours"));
    fault.fired().await;
    others.remove().await.unwrap();
    let turn = join(&others).await;
    assert_eq!(told(&turn), (None, false, 0));
    expire_silent(&fixture, &proxy, &session).await;
    let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
    assert_eq!(outcome, Err(CompleteError::Indeterminate));
    complete(turn, "theirs").await;
    finish(&fixture, &others).await;
}

/// Between the reads of record and result, all of it is removed: a turn of a fresh relay, and no complaint.
#[tokio::test]
async fn a_relay_removed_between_reads_begins_anew() {
    let (fixture, proxy, zk) = start_proxied("between", LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    complete(join(&others).await, "a").await;
    let fault = proxy.inject(When::request(Op::GetData).path(RESULT), Injection::SilenceBefore);
    let joining = tokio::spawn({
        let ours = ours.clone();
        async move { join(&ours).await }
    });
    fault.fired().await;
    others.remove().await.unwrap();
    proxy.cut();
    proxy.heal();
    let turn = within(PATIENCE, "a turn", joining).await.unwrap();
    assert_eq!(told(&turn), (None, false, 0));
    complete(turn, "b").await;

    // Removed and begun by others: what is read belongs to one of the two.
    let fault = proxy.inject(When::request(Op::GetData).path(RESULT), Injection::SilenceBefore);
    let reading = tokio::spawn({
        let ours = ours.clone();
        async move { ours.latest().await }
    });
    fault.fired().await;
    others.remove().await.unwrap();
    let turn = join(&others).await;
    proxy.cut();
    proxy.heal();
    let latest = within(PATIENCE, "the latest", reading).await.unwrap();
    assert_eq!(latest.unwrap(), None);
    complete(turn, "c").await;
    finish(&fixture, &others).await;
}

#[tokio::test]
async fn lost_replies_begin_and_complete_a_turn_once() {
    let fixture = Fixture::new("lost replies").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, others) = (
        relay(&connect_to(&servers, LONG).await),
        relay(&connect(&fixture).await),
    );
    complete(join(&others).await, "a").await;
    for (step, injection) in (1..).step_by(2).zip([Injection::LoseReply, Injection::CutBefore]) {
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), injection);
        let turn = join(&ours).await;
        fault.fired().await;
        assert_eq!(told(&turn), (Some(&b"a"[..]), false, step), "{injection:?}");
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), injection);
        complete(turn, "b").await;
        fault.fired().await;
        let turn = join(&others).await;
        assert_eq!(told(&turn), (Some(&b"b"[..]), false, step + 1), "{injection:?}");
        complete(turn, "a").await;
    }
    finish(&fixture, &others).await;
}

/// The session ends when the turn has begun and its participant does not know yet: it joins again, and is not its own
/// lost predecessor. Somebody who really was lost before it is still told of.
#[tokio::test]
async fn a_call_is_not_its_own_lost_predecessor() {
    let (fixture, proxy, zk) = start_proxied("unreturned", LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    complete(join(&others).await, "a").await;
    for lost in [false, true] {
        if lost {
            join(&others).await.release().await.unwrap();
        }
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
        let joining = tokio::spawn({
            let ours = ours.clone();
            async move { ours.join().await }
        });
        fault.fired().await;
        expire_silent(&fixture, &proxy, &session).await;
        let turn = granted(joining).await;
        assert_eq!(turn.predecessor_lost(), lost);
        complete(turn, "b").await;
    }
    finish(&fixture, &others).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("relay", |fixture, zk, path| async move {
        let relay = Relay::new(&zk, &format!("{path}/r")).unwrap();
        let other = Relay::new(&connect(&fixture).await, relay.path()).unwrap();
        let turn = relay.join().await.unwrap();
        assert_eq!(told(&turn), (None, false, 0));
        turn.complete("a").await.unwrap();
        let turn = other.join().await.unwrap();
        assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
        let waiting = tokio::spawn({
            let relay = relay.clone();
            async move { relay.join().await.unwrap() }
        });
        fixture.until_children(&format!("{path}/r/line"), 2).await;
        drop(turn);
        let turn = waiting.await.unwrap();
        assert_eq!(told(&turn), (Some(&b"a"[..]), true, 1));
        turn.complete("b").await.unwrap();
        assert_eq!(relay.latest().await.unwrap().unwrap(), "b");
        let turn = other.join().await.unwrap();
        assert_eq!(told(&turn), (Some(&b"b"[..]), false, 2));
        turn.complete("c").await.unwrap();
    })
    .await;
}
