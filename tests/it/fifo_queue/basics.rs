//! What a queue does in calm weather, and on which znodes.

use std::time::Duration;

use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{FifoPopError, FifoPushError};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, within};

use super::{LINE, PATH, clean, drain, pop, popped, push, queue, start_queues, wait_in_line};
use crate::support::{LONG, PATIENCE, connect, create, elapsed, start};

#[tokio::test]
async fn items_of_any_bytes_leave_in_order() {
    let (fixture, [ours, theirs]) = start_queues("order").await;
    let items: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        (0..=255).collect(),
        b"\xff\xfe/|\0".to_vec(),
        vec![7; 100_000],
    ];
    for item in &items {
        ours.push(item.clone()).await.unwrap();
    }
    assert_eq!(theirs.len().await.unwrap(), items.len());
    for item in &items {
        assert_eq!(theirs.peek().await.unwrap().as_deref(), Some(item.as_slice()));
        assert_eq!(theirs.pop().await.unwrap(), item);
    }
    assert_eq!(theirs.try_pop().await.unwrap(), None);
    assert_eq!(
        (theirs.peek().await.unwrap(), theirs.is_empty().await.unwrap()),
        (None, true)
    );
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_queue_that_nobody_has_made_is_empty() {
    let fixture = Fixture::new("nothing").await;
    let queue = queue(&connect(&fixture).await);
    assert_eq!(queue.path(), PATH);
    assert_eq!(
        (queue.try_pop().await.unwrap(), queue.peek().await.unwrap()),
        (None, None)
    );
    assert_eq!(queue.len().await.unwrap(), 0);
    assert_eq!(fixture.tree().await.len(), 0, "reading makes no node");
}

#[tokio::test]
async fn the_layout_is_curators() {
    let fixture = Fixture::new("layout").await;
    let queue = queue(&connect(&fixture).await);
    push(&queue, "raw").await;
    assert_eq!(
        fixture.children(PATH).await,
        ["qn-0000000000"],
        "and nothing of ours beside it"
    );
    let (data, stat) = fixture.raw().get_data("/queues/mails/qn-0000000000").await.unwrap();
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"raw"[..], 0));
    let options = zk::CreateMode::PersistentSequential.with_acls(zk::Acls::anyone_all());
    fixture
        .raw()
        .create("/queues/mails/qn-", b"theirs", &options)
        .await
        .unwrap();
    assert_eq!(drain(&queue).await, ["raw", "theirs"]);
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn waiting_consumers_get_items_in_turn() {
    let (fixture, [one, two]) = start_queues("wait").await;
    let producer = queue(&connect(&fixture).await);
    let first = wait_in_line(&fixture, &one, 1).await;
    let second = wait_in_line(&fixture, &two, 2).await;
    push(&producer, "a").await;
    assert_eq!(popped(first).await, "a");
    assert!(!second.is_finished());
    push(&producer, "b").await;
    assert_eq!(popped(second).await, "b");
    clean(&fixture, [one, two, producer]).await;
}

#[tokio::test]
async fn a_timed_out_pop_leaves_the_line() {
    let fixture = Fixture::new("limit").await;
    let queue = queue(&connect(&fixture).await);
    let after = Duration::from_millis(100);
    assert_eq!(elapsed(queue.pop_timeout(after).await), Some(after));
    assert_eq!(fixture.children(LINE).await.len(), 0);
    push(&queue, "a").await;
    assert_eq!(queue.pop_timeout(LONG).await.unwrap(), "a");
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn children_that_are_no_items_are_ignored() {
    let (fixture, [queue, producer]) = start_queues("foreign").await;
    push(&producer, "a").await;
    let foreign = [
        "0",
        "qn-",
        "qn-poison",
        "queue-0000000000",
        "entry-100-0000000000",
        "zzz",
    ];
    for name in foreign {
        create(&fixture, &format!("{PATH}/{name}"), zk::CreateMode::Persistent).await;
    }
    assert_eq!(queue.len().await.unwrap(), 1);
    assert_eq!(pop(&queue).await, "a");
    let waiting = wait_in_line(&fixture, &queue, 1).await;
    create(&fixture, &format!("{PATH}/late"), zk::CreateMode::Persistent).await;
    push(&producer, "b").await;
    assert_eq!(popped(waiting).await, "b");
    for name in foreign.into_iter().chain(["late"]) {
        fixture.raw().delete(&format!("{PATH}/{name}"), None).await.unwrap();
    }
    clean(&fixture, [queue, producer]).await;
}

#[tokio::test]
async fn a_closed_coordinator_ends_pops_that_wait() {
    let (fixture, zk) = start("closed").await;
    let queue = queue(&zk);
    let waiting = wait_in_line(&fixture, &queue, 1).await;
    zk.close().await;
    let outcome = within(PATIENCE, "ends", waiting).await.unwrap();
    assert_eq!(outcome, Err(FifoPopError::Error(Error::Closed)));
    assert_eq!(queue.push("a").await, Err(FifoPushError::Error(Error::Closed)));
    clean(&fixture, [queue]).await;
}
