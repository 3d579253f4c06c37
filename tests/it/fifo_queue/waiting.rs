//! Consumers wait on, whatever is taken from under them: the directory, the connection, the session, their nodes.

use zookeeper_recipes::Error;
use zookeeper_recipes::queue::FifoPopError;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, eventually, within};

use super::{LEDGERS, LINE, PATH, clean, drain, pop, popped, push, queue, start_queues, wait_in_line};
use crate::support::sessions::{expire, expire_unseen};
use crate::support::{LONG, PATIENCE, acquire, connect, lock, stand_in_line, start, start_proxied};

/// Curator's issue 308: `take` hangs when the server reaps the queue's container meanwhile.
#[tokio::test]
async fn curator_308_a_consumer_outlives_the_queues_directory() {
    let (fixture, [consumer, producer]) = start_queues("reaped").await;
    push(&producer, "a").await;
    assert_eq!(pop(&consumer).await, "a");
    for round in 0..3 {
        let waiting = wait_in_line(&fixture, &consumer, 1).await;
        if round > 0 {
            // The server may have reaped it before us.
            let deleted = fixture.raw().delete(PATH, None).await;
            assert!(matches!(deleted, Ok(()) | Err(zk::Error::NoNode)), "{deleted:?}");
        }
        push(&producer, "b").await;
        assert_eq!(popped(waiting).await, "b", "round {round}");
    }
    clean(&fixture, [consumer, producer]).await;
}

/// A directory that is made anew numbers its items from the beginning: what was listed before says nothing of them.
#[tokio::test]
async fn a_list_from_before_a_recreation_is_void() {
    let (fixture, [ours, other]) = start_queues("anew").await;
    for item in ["a", "b", "c"] {
        push(&other, item).await;
    }
    assert_eq!(pop(&ours).await, "a", "and lists b and c");
    assert_eq!(drain(&other).await, ["b", "c"]);
    let deleted = fixture.raw().delete(PATH, None).await;
    assert!(matches!(deleted, Ok(()) | Err(zk::Error::NoNode)), "{deleted:?}");
    for item in ["1", "2", "3"] {
        push(&other, item).await;
    }
    assert_eq!(ours.peek().await.unwrap().unwrap(), "1");
    assert_eq!(drain(&ours).await, ["1", "2", "3"]);
    clean(&fixture, [ours, other]).await;
}

/// Curator's issue 623: after a long disconnect the watch is not set again, and the queue stops.
#[tokio::test]
async fn curator_623_items_pushed_during_a_cut_arrive() {
    let (fixture, proxy, zk) = start_proxied("long cut", LONG).await;
    let (consumer, producer) = (queue(&zk), queue(&connect(&fixture).await));
    for item in ["a", "b"] {
        let waiting = wait_in_line(&fixture, &consumer, 1).await;
        proxy.refuse().await;
        push(&producer, item).await;
        proxy.accept().await;
        assert_eq!(popped(waiting).await, item);
        fixture.until_children(LINE, 0).await;
    }
    let waiting = wait_in_line(&fixture, &consumer, 1).await;
    expire_unseen(&fixture, &proxy, &zk).await;
    push(&producer, "c").await;
    assert_eq!(popped(waiting).await, "c");
    clean(&fixture, [consumer, producer]).await;
}

#[tokio::test]
async fn an_expired_consumer_waits_again_behind_the_next() {
    let (fixture, zk) = start("expired").await;
    let (first, second) = (queue(&zk), queue(&connect(&fixture).await));
    let producer = queue(&connect(&fixture).await);
    let waiting_first = wait_in_line(&fixture, &first, 1).await;
    let waiting_second = wait_in_line(&fixture, &second, 2).await;
    let before = expire(&fixture, &zk).await;
    eventually(PATIENCE, "in line again", || async {
        let line = fixture.ephemerals().await;
        let line: Vec<_> = line.iter().filter(|(path, _)| path.starts_with(LINE)).collect();
        line.len() == 2 && line.iter().all(|(_, owner)| **owner != before)
    })
    .await;
    push(&producer, "a").await;
    assert_eq!(popped(waiting_second).await, "a");
    push(&producer, "b").await;
    assert_eq!(popped(waiting_first).await, "b");
    clean(&fixture, [first, second, producer]).await;
}

/// An operator removes what is ours: a consumer in line, and the ledger by which lost replies are told.
#[tokio::test]
async fn nodes_an_operator_removes_are_made_again() {
    let (fixture, [consumer, producer]) = start_queues("operator").await;
    push(&producer, "a").await;
    assert_eq!(pop(&consumer).await, "a");
    let waiting = wait_in_line(&fixture, &consumer, 1).await;
    for (directory, count) in [(LINE, 1), (LEDGERS, 2)] {
        let ours = fixture.children(directory).await;
        assert_eq!(ours.len(), count, "{ours:?}");
        for name in ours {
            fixture
                .raw()
                .delete(&format!("{directory}/{name}"), None)
                .await
                .unwrap();
        }
    }
    fixture.until_children(LINE, 1).await;
    push(&producer, "b").await;
    assert_eq!(popped(waiting).await, "b");
    clean(&fixture, [consumer, producer]).await;
}

/// While a shutdown waits for work that goes on, nothing more is popped.
#[tokio::test]
async fn a_shutdown_ends_every_kind_of_pop() {
    let fixture = Fixture::new("shutdown of pops").await;
    let (zk, other) = (connect(&fixture).await, queue(&connect(&fixture).await));
    let (ours, work) = (queue(&zk), acquire(&lock(&zk, "/work")).await);
    let timed = {
        let ours = ours.clone();
        stand_in_line(&fixture, LINE, 1, async move { ours.pop_timeout(LONG).await }).await
    };
    let begun = zk.shutting_down();
    let shutdown = tokio::spawn(zk.shutdown(LONG));
    within(PATIENCE, "it begins", begun).await;
    let closed = FifoPopError::Error(Error::Closed);
    let ended = within(PATIENCE, "the timed pop ends", timed).await.unwrap();
    assert_eq!(ended, Err(closed.clone().into()));
    fixture.until_children(LINE, 0).await;

    push(&other, "a").await;
    assert_eq!(ours.try_pop().await, Err(closed.clone()));
    assert_eq!(ours.pop_timeout(LONG).await, Err(closed.clone().into()));
    assert_eq!(ours.pop().await, Err(closed));
    ours.push("b").await.unwrap();
    assert!(!shutdown.is_finished());
    work.release().await.unwrap();
    assert!(within(PATIENCE, "it ends", shutdown).await.unwrap().is_finished);
    assert_eq!(drain(&other).await, ["a", "b"]);
    clean(&fixture, [ours, other]).await;
}
