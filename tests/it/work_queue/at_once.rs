//! Items that are taken without a place in line: nobody who stands there is passed by for long, and nothing is lost when
//! two take the same.

use zookeeper_recipes::queue::PushOptions;
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_testkit::{Fault, Fixture, Injection, Op, Proxy, When, eventually, within};

use super::{PATH, claims, clean, drain, pop, popped, queue, start_proxied_queues, text, until_silent, wait_in_line};
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, connect, start_proxied};

/// Holds the next claim of the client behind `proxy` back, until [`Proxy::heal`]: it has looked, and has not taken.
fn hold_claim(proxy: &Proxy) -> Fault {
    proxy.inject(When::request(Op::Multi).path("/c-"), Injection::SilenceBefore)
}

/// Comes to stand in line, as another consumer would, and says where.
async fn stand_in_line(fixture: &Fixture) -> String {
    let everybody = Acls::anyone_all();
    let directory = format!("{PATH}/consumers");
    // It may be there.
    let options = CreateMode::Persistent.with_acls(everybody);
    let _ = fixture.raw().create(&directory, b"", &options).await;
    let prefix = format!("{directory}/_c_0123456789abcdef0123456789abcdef-lock-");
    let options = CreateMode::EphemeralSequential.with_acls(everybody);
    let (_, number) = fixture.raw().create(&prefix, b"", &options).await.unwrap();
    format!("{prefix}{number}")
}

#[tokio::test]
async fn a_slow_consumer_in_line_is_not_overtaken() {
    let (fixture, proxy, [slow, fast]) = start_proxied_queues("slow in line").await;
    let first = wait_in_line(&fixture, &slow, 1).await;
    until_silent(&proxy).await;
    proxy.black_hole();
    fast.push("a").await.unwrap();
    fast.push("b").await.unwrap();
    let second = wait_in_line(&fixture, &fast, 2).await;
    assert_eq!(fast.len().await.unwrap(), 2);
    assert!(!second.is_finished());
    proxy.heal();
    let (first, second) = (popped(first).await, popped(second).await);
    assert_eq!((text(&first).as_str(), text(&second).as_str()), ("a", "b"));
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    clean(&fixture, [slow, fast]).await;
}

#[tokio::test]
async fn a_newcomer_is_overtaken_at_most_once() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("passed by once").await;
    for item in ["a", "b", "c"] {
        theirs.push(item).await.unwrap();
    }
    let fault = hold_claim(&proxy);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    let contender = stand_in_line(&fixture).await;
    proxy.heal();
    // It had looked before.
    let first = popped(popping).await;
    assert_eq!(text(&first), "a");
    first.ack().await.unwrap();
    let popping = wait_in_line(&fixture, &ours, 2).await;
    assert_eq!(theirs.len().await.unwrap(), 2);
    assert!(!popping.is_finished());
    fixture.raw().delete(&contender, None).await.unwrap();
    let second = popped(popping).await;
    assert_eq!(text(&second), "b");
    second.ack().await.unwrap();
    assert_eq!(drain(&theirs).await, ["c"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn of_two_rivals_one_takes_the_next_item() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("the same at once").await;
    for together in [false, true] {
        if together {
            theirs.push_all(["a", "b", "c"]).await.unwrap();
        } else {
            for item in ["a", "b", "c"] {
                theirs.push(item).await.unwrap();
            }
        }
        let fault = hold_claim(&proxy);
        let popping = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop_batch(2).await }
        });
        fault.fired().await;
        let first = pop(&theirs).await;
        proxy.heal();
        let batch = within(PATIENCE, "a batch", popping).await.unwrap().unwrap();
        let items: Vec<String> = batch.iter().map(text).collect();
        assert_eq!(
            (text(&first).as_str(), items.as_slice()),
            ("a", &["b", "c"].map(String::from)[..])
        );
        for delivery in batch.into_iter().chain([first]) {
            assert_eq!(delivery.attempt(), 1);
            delivery.ack().await.unwrap();
        }
    }
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_session_ended_before_its_claim_takes_nothing() {
    let (fixture, proxy, zk) = start_proxied("expired before its claim", LONG).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    let id = theirs.push("a").await.unwrap();
    let session = session_of(&zk).await;
    let fault = hold_claim(&proxy);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    fixture.expire(&session).await;
    assert_eq!(theirs.len().await.unwrap(), 1);
    // The claim arrives, too late.
    proxy.heal();
    let delivery = popped(popping).await;
    assert_eq!((delivery.id(), delivery.attempt()), (&id, 1));
    delivery.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// The claim is committed, and its consumer gone before it knows: the item is the next one's, in its place.
#[tokio::test]
async fn a_pop_dropped_while_claiming_spends_no_attempt() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("dropped in its claim").await;
    theirs.push("held").await.unwrap();
    // So that the directories of the claims are there.
    let held = pop(&theirs).await;
    theirs.push("a").await.unwrap();
    theirs.push("b").await.unwrap();
    let fault = hold_claim(&proxy);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    popping.abort();
    assert!(popping.await.is_err_and(|error| error.is_cancelled()));
    proxy.heal();
    // Behind what was on its way.
    ours.push("c").await.unwrap();
    eventually(PATIENCE, "the claim is given back", || async {
        claims(&fixture, PATH).await == 1
    })
    .await;
    held.ack().await.unwrap();
    for item in ["a", "b", "c"] {
        let delivery = pop(&theirs).await;
        assert_eq!((text(&delivery).as_str(), delivery.attempt()), (item, 1));
        delivery.ack().await.unwrap();
    }
    clean(&fixture, [ours, theirs]).await;
}

/// What a consumer has listed and another has taken by the time it reads it: what comes next by order is what stood behind
/// it, or what is left of it, and not what is less urgent or came later.
#[tokio::test]
async fn a_vanished_item_does_not_disturb_the_order() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("gone when read").await;
    for together in [false, true] {
        if together {
            theirs.push_all(["a", "b"]).await.unwrap();
        } else {
            for item in ["a", "b"] {
                let urgent = PushOptions::new().priority(1);
                theirs.push_with(item, urgent).await.unwrap();
            }
        }
        theirs.push("comes last").await.unwrap();
        let segment = When::request(Op::Multi).path("/c-");
        let fault = proxy.inject(segment, Injection::SilenceBefore);
        let popping = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop_batch(if together { 10 } else { 1 }).await }
        });
        fault.fired().await;
        let first = pop(&theirs).await;
        assert_eq!(text(&first), "a");
        proxy.heal();
        let batch = within(PATIENCE, "a batch", popping).await.unwrap().unwrap();
        assert_eq!(text(&batch[0]), "b");
        for delivery in batch.into_iter().chain([first]) {
            delivery.ack().await.unwrap();
        }
        if let Some(delivery) = theirs.try_pop().await.unwrap() {
            delivery.ack().await.unwrap();
        }
    }
    clean(&fixture, [ours, theirs]).await;
}
