//! Calls that are dropped half-way lose no item and leave no node.

use std::time::Duration;

use zookeeper_recipes::Error;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::queue::{FifoPopError, FifoQueue};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use super::{
    LINE, PATH, clean, drain, pop, popped, push, queue, start_proxied_queue, start_queues, text, wait_in_line,
};
use crate::support::polls::poll_times;
use crate::support::sessions::{expire_silent, session_of};
use crate::support::{LONG, PATIENCE, connect, connect_to, elapsed, start_proxied};

/// Dropped after any number of polls, a pop leaves no node and loses no item, and the order stays.
#[tokio::test]
async fn a_pop_that_is_dropped_anywhere_loses_nothing() {
    let (fixture, [ours, other]) = start_queues("dropped").await;
    // Before the item is there, and after.
    for waits in [false, true] {
        for polls in 1..40 {
            let item = format!("{waits}-{polls}");
            let mut popping = Box::pin(ours.pop());
            if !waits {
                push(&other, &item).await;
            }
            let polled = async {
                let (polled, ()) = tokio::join!(poll_times(popping.as_mut(), polls), async {
                    if waits {
                        push(&other, &item).await;
                    }
                });
                polled
            };
            let done = tokio::time::timeout(Duration::from_millis(300), polled).await;
            let done = done.ok().flatten();
            drop(popping);
            let got = match done {
                Some(got) => got.unwrap(),
                None => within(PATIENCE, "the item is not lost", ours.pop()).await.unwrap(),
            };
            assert_eq!(text(got), item);
            fixture.until_children(LINE, 0).await;
            fixture.until_children(PATH, 0).await;
        }
    }
    clean(&fixture, [ours, other]).await;
}

/// An item that was being removed for a pop that was dropped goes to one that waits.
#[tokio::test]
async fn another_pop_gets_a_dropped_pops_item() {
    let (fixture, proxy, ours) = start_proxied_queue("kept").await;
    for item in ["a", "b"] {
        push(&ours, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceReply);
    let popping = |queue: FifoQueue| tokio::spawn(async move { queue.pop().await });
    let dropped = popping(ours.clone());
    fault.fired().await;
    dropped.abort();
    assert!(within(PATIENCE, "dropped", dropped).await.is_err());
    let other = popping(ours.clone());
    proxy.heal();
    assert_eq!(popped(other).await, "b");
    clean(&fixture, [ours]).await;
}

/// A close ends the pops that wait, and hands over what was removed for pops that were dropped.
#[tokio::test]
async fn a_close_returns_what_pops_had_removed() {
    let fixture = Fixture::new("closed").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, other) = (
        queue(&connect_to(&servers, LONG).await),
        queue(&connect(&fixture).await),
    );
    let waiting = wait_in_line(&fixture, &ours, 1).await;
    assert!(ours.health().is_live);
    assert_eq!(within(PATIENCE, "it closes", ours.close()).await, []);
    assert!(!ours.health().is_live);
    let ended = within(PATIENCE, "the pop ends", waiting).await.unwrap();
    assert_eq!(ended, Err(FifoPopError::Error(Error::Closed)));
    assert_eq!(ours.try_pop().await, Err(FifoPopError::Error(Error::Closed)));
    assert!(ours.push("late").await.is_err());
    fixture.until_children(LINE, 0).await;

    let again = queue(&connect_to(&servers, LONG).await);
    for item in ["a", "b"] {
        push(&other, item).await;
    }
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceReply);
    let dropped = tokio::spawn({
        let again = again.clone();
        async move { again.pop().await }
    });
    fault.fired().await;
    dropped.abort();
    assert!(within(PATIENCE, "dropped", dropped).await.is_err());
    let closing = tokio::spawn({
        let again = again.clone();
        async move { again.close().await }
    });
    proxy.heal();
    let removed = within(PATIENCE, "it closes", closing).await.unwrap();
    assert_eq!(removed, [Ok(Bytes::from("a"))]);
    assert_eq!(pop(&other).await, "b");
    clean(&fixture, [ours, other, again]).await;
}

/// The removal was applied, its caller has given up, and the session ends before anybody knows: the next pop is told.
#[tokio::test]
async fn the_next_pop_gets_an_item_in_doubt() {
    let (fixture, proxy, zk) = start_proxied("doubt kept", LONG).await;
    let ours = queue(&zk);
    for item in ["a", "b", "c"] {
        push(&ours, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceReply);
    // On a busy machine a pop may be out of time before it has asked for the removal.
    while !fault.has_fired() {
        let after = Duration::from_millis(300);
        assert_eq!(elapsed(ours.pop_timeout(after).await), Some(after));
    }
    expire_silent(&fixture, &proxy, &session).await;
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        outcomes.push(within(PATIENCE, "an outcome", ours.pop()).await);
    }
    let path = format!("{PATH}/qn-0000000001");
    let item = Bytes::from("b");
    assert!(
        outcomes.contains(&Err(FifoPopError::Indeterminate { path, item })),
        "{outcomes:?}"
    );
    assert!(outcomes.contains(&Ok(Bytes::from("c"))), "{outcomes:?}");
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_dropped_push_pushes_at_most_once() {
    let fixture = Fixture::new("dropped push").await;
    let ours = queue(&connect(&fixture).await);
    for polls in 1..12 {
        let mut pushing = Box::pin(ours.push("a"));
        let done = within(PATIENCE, "polled", poll_times(pushing.as_mut(), polls)).await;
        drop(pushing);
        // Behind whatever it has sent.
        push(&ours, "z").await;
        let items = drain(&ours).await;
        let expected: &[&[&str]] = if done.is_some() {
            &[&["a", "z"]]
        } else {
            &[&["z"], &["a", "z"]]
        };
        assert!(
            expected.contains(&items.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            "{items:?}"
        );
    }
    // That of the handle.
    eventually(PATIENCE, "one ledger is left", || async {
        fixture.ephemerals().await.len() <= 1
    })
    .await;
    clean(&fixture, [ours]).await;
}
