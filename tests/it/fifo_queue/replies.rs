//! Replies that are lost: each item once all the same, and where that cannot be known, the caller is told.

use std::time::{Duration, Instant};

use zookeeper_recipes::FairLock;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::queue::{FifoPopError, FifoPushError, FifoQueue};
use zookeeper_testkit::{Injection, Op, When, eventually, within};

use super::{PATH, clean, drain, pop, popped, push, queue, start_proxied_queue, start_proxied_queues};
use crate::support::sessions::{expire_silent, session_of};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, start_proxied};

/// Curator, row "lost item without lock": its delete is sent again, fails, and is taken for another consumer's.
#[tokio::test]
async fn curator_lost_item_a_lost_reply_still_delivers() {
    let (fixture, proxy, queue) = start_proxied_queue("lost pop").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for item in ["a", "b", "c"] {
            push(&queue, item).await;
        }
        assert_eq!(pop(&queue).await, "a");
        let fault = proxy.inject(When::request(Op::Multi).path("qn-"), injection);
        assert_eq!(pop(&queue).await, "b", "{injection:?}");
        fault.fired().await;
        assert_eq!(drain(&queue).await, ["c"], "{injection:?}");
    }
    clean(&fixture, [queue]).await;
}

/// As above, in the presence of another consumer, who has removed the item in the meantime.
#[tokio::test]
async fn a_cut_pop_is_told_from_another_consumers() {
    let (fixture, proxy, [ours, other]) = start_proxied_queues("cut pop").await;
    for item in ["a", "b", "c"] {
        push(&other, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceBefore);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    assert_eq!(pop(&other).await, "b");
    proxy.cut();
    proxy.heal();
    assert_eq!(popped(popping).await, "c");
    clean(&fixture, [ours, other]).await;
}

/// A removal that was cut off is not for the item that has its name and version later, in a directory made anew.
#[tokio::test]
async fn a_cut_pop_spares_items_of_equal_name() {
    let (fixture, proxy, [ours, other]) = start_proxied_queues("same name").await;
    push(&ours, "a").await;
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceBefore);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    assert_eq!(pop(&other).await, "a");
    fixture.raw().delete(PATH, None).await.unwrap();
    push(&other, "b").await;
    assert_eq!(fixture.children(PATH).await, ["qn-0000000000"]);
    proxy.cut();
    proxy.heal();
    assert_eq!(popped(popping).await, "b");
    assert_eq!(drain(&other).await.len(), 0);
    clean(&fixture, [ours, other]).await;
}

/// Ledgers that an operator has removed are no sign of a lost session: after a reconnect another node tells.
#[tokio::test]
async fn dead_ledgers_cost_no_hold_after_a_reconnect() {
    const LEASE: Duration = Duration::from_secs(12);
    let (fixture, proxy, zk) = start_proxied("dead ledgers", LEASE).await;
    let lock = FairLock::new(&zk, "/lock").unwrap();
    let hold = within(PATIENCE, "held", lock.acquire()).await.unwrap();
    let mut queues = Vec::new();
    for number in 0..8 {
        let path = format!("/queue-{number}");
        let queue = FifoQueue::new(&zk, &path).unwrap();
        push(&queue, "a").await;
        let directory = format!("{path}-__fifo__/ledgers");
        for name in fixture.children(&directory).await {
            let ledger = format!("{directory}/{name}");
            fixture.raw().delete(&ledger, None).await.unwrap();
        }
        if number % 2 == 0 {
            fixture.raw().delete(&directory, None).await.unwrap();
        }
        queues.push(queue);
    }
    proxy.cut();
    let sure_until = || Instant::now() + hold.remaining();
    let before = sure_until();
    eventually(PATIENCE, "the hold is lost, or proven after the reconnect", || async {
        !hold.is_held() || sure_until() > before + LEASE / 6
    })
    .await;
    assert!(hold.is_held());
    for queue in &queues {
        assert_eq!(drain(queue).await, ["a"]);
    }
    hold.release().await.unwrap();
}

/// Curator, row "duplicate put": its create is sent again, and both are applied.
#[tokio::test]
async fn curator_duplicate_put_a_lost_reply_pushes_once() {
    let (fixture, proxy, queue) = start_proxied_queue("lost push").await;
    push(&queue, "a").await;
    for (item, injection) in [("b", Injection::LoseReply), ("c", Injection::CutBefore)] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        push(&queue, item).await;
        fault.fired().await;
    }
    assert_eq!(drain(&queue).await, ["a", "b", "c"]);
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("fifo", |fixture, zk, path| async move {
        let queue = FifoQueue::new(&zk, &format!("{path}/q")).unwrap();
        let other = FifoQueue::new(&connect(&fixture).await, queue.path()).unwrap();
        for item in ["a", "b"] {
            queue.push(item).await.unwrap();
        }
        assert_eq!(queue.try_pop().await.unwrap().unwrap(), "a");
        assert_eq!(queue.pop().await.unwrap(), "b");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop().await.unwrap() }
        });
        fixture.until_children(&format!("{path}/q-__fifo__/line"), 1).await;
        other.push("c").await.unwrap();
        assert_eq!(waiting.await.unwrap(), "c");
        assert_eq!(other.len().await.unwrap(), 0);
        // Left in the background.
        fixture.until_children(&format!("{path}/q-__fifo__/line"), 0).await;
    })
    .await;
}

/// The session ends while nobody knows what became of the removal, and the item is gone: the caller is told which.
#[tokio::test]
async fn an_indeterminate_pop_names_its_item() {
    let (fixture, proxy, zk) = start_proxied("indeterminate pop", LONG).await;
    let (ours, producer) = (queue(&zk), queue(&connect(&fixture).await));
    for item in ["a", "b", "c"] {
        push(&producer, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let session = session_of(&zk).await;
    for (injection, expected) in [(Injection::SilenceReply, None), (Injection::SilenceBefore, Some("c"))] {
        let session = if expected.is_some() {
            session_of(&zk).await
        } else {
            session.clone()
        };
        let fault = proxy.inject(When::request(Op::Multi).path("qn-"), injection);
        let popping = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop().await }
        });
        fault.fired().await;
        expire_silent(&fixture, &proxy, &session).await;
        let outcome = within(PATIENCE, "an outcome", popping).await.unwrap();
        match expected {
            None => {
                let path = format!("{PATH}/qn-0000000001");
                let item = Bytes::from("b");
                assert_eq!(outcome, Err(FifoPopError::Indeterminate { path, item }));
            }
            // It was not removed, so nothing is in doubt: it is taken in the next session.
            Some(item) => assert_eq!(outcome.unwrap(), item),
        }
    }
    clean(&fixture, [ours, producer]).await;
}

#[tokio::test]
async fn a_push_that_cannot_be_known_is_indeterminate() {
    let (fixture, proxy, zk) = start_proxied("indeterminate push", LONG).await;
    let queue = queue(&zk);
    push(&queue, "a").await;
    for (injection, expected) in [
        (Injection::SilenceReply, vec!["a", "b"]),
        (Injection::SilenceBefore, vec![]),
    ] {
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let pushing = tokio::spawn({
            let queue = queue.clone();
            async move { queue.push("b").await }
        });
        fault.fired().await;
        expire_silent(&fixture, &proxy, &session).await;
        let outcome = within(PATIENCE, "an outcome", pushing).await.unwrap();
        assert_eq!(outcome, Err(FifoPushError::Indeterminate), "{injection:?}");
        assert_eq!(drain(&queue).await, expected, "{injection:?}");
    }
    clean(&fixture, [queue]).await;
}
