//! The known mistakes of Curator's queues that lose an item, or have it done twice, one test each: not ours.

use zookeeper_recipes::queue::{AckError, ItemStatus};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{PATH, claims, clean, drain, pop, queue, start_proxied_queue, start_queue, text, until_silent};
use crate::support::sessions::{expire_unseen, session_of};
use crate::support::{LONG, PATIENCE, connect, connect_to, session_id, start_proxied};

/// CURATOR-605: a second consumer gets the item of one whose session is lost in mid-work, and both finish it. Here it
/// is delivered again as well, but only the second one's work counts.
#[tokio::test]
async fn curator_605_only_one_consumer_finishes_an_item() {
    let (fixture, proxy, zk) = start_proxied("CURATOR-605", LONG).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    let id = theirs.push("a").await.unwrap();
    let first = pop(&ours).await;
    expire_unseen(&fixture, &proxy, &zk).await;
    let second = pop(&theirs).await;
    assert_eq!(second.id(), &id);
    let mut write = first.fenced();
    write.add_create("/effect", b"first", CreateMode::Persistent);
    assert!(write.commit().await.is_err());
    assert!(matches!(first.ack_with("first").await, Err(AckError::Lost(_))));
    let mut write = second.fenced();
    write.add_create("/effect", b"second", CreateMode::Persistent);
    write.commit().await.unwrap();
    second.ack_with("second").await.unwrap();
    assert_eq!(theirs.result(&id).await.unwrap(), "second");
    clean(&fixture, [ours, theirs]).await;
}

/// `DistributedQueue` deletes the lock of an item by its name: after an expiry, that of the next consumer.
#[tokio::test]
async fn a_late_consumer_spares_the_next_claim() {
    let (fixture, proxy, zk) = start_proxied("lock deleted by name", LONG).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    theirs.push_all(["a", "b", "c"]).await.unwrap();
    let late = within(PATIENCE, "items", ours.pop_batch(3)).await.unwrap();
    expire_unseen(&fixture, &proxy, &zk).await;
    let next = within(PATIENCE, "items", theirs.pop_batch(3)).await.unwrap();
    let paths: Vec<String> = next.iter().map(|delivery| delivery.path().to_owned()).collect();
    let mut late = late.into_iter();
    assert!(late.next().unwrap().ack().await.is_err());
    assert!(late.next().unwrap().nack().await.is_err());
    drop(late);
    // What the dropped one sent is behind this.
    ours.push("d").await.unwrap();
    for (delivery, path) in next.iter().zip(&paths) {
        assert!(fixture.raw().check_stat(path).await.unwrap().is_some());
        assert!(delivery.is_held());
    }
    for delivery in next {
        delivery.ack().await.unwrap();
    }
    assert_eq!(drain(&theirs).await, ["d"]);
    clean(&fixture, [ours, theirs]).await;
}

/// `DistributedQueue` skips an item that another has locked, and nobody looks again when that one dies.
#[tokio::test]
async fn a_dead_consumer_strands_no_item() {
    let fixture = Fixture::new("stranded item").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, theirs) = (connect(&fixture).await, queue(&connect_to(&servers, LONG).await));
    let ours = queue(&zk);
    theirs.push("a").await.unwrap();
    let held = pop(&ours).await;
    let idle = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.pop().await }
    });
    fixture.until_children(&format!("{PATH}/consumers"), 1).await;
    until_silent(&proxy).await;
    zk.close().await;
    let delivery = within(PATIENCE, "the item of the dead one", idle)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text(&delivery), "a");
    delivery.ack().await.unwrap();
    drop(held);
    clean(&fixture, [ours, theirs]).await;
}

/// `DistributedQueue` takes its own lock for another's, when the reply of its create is lost.
#[tokio::test]
async fn a_claim_survives_its_lost_reply() {
    let (fixture, proxy, zk) = start_proxied("own orphan lock", LONG).await;
    let ours = queue(&zk);
    let id = ours.push("a").await.unwrap();
    // So that all directories are there.
    pop(&ours).await.nack().await.unwrap();
    let fault = proxy.lose_reply(When::request(Op::Multi).path("/c-"));
    let delivery = pop(&ours).await;
    assert!(fault.has_fired());
    assert_eq!((delivery.id(), delivery.attempt()), (&id, 2));
    assert_eq!(claims(&fixture, PATH).await, 1);
    assert_eq!(fixture.ephemerals().await[delivery.path()], session_id(&zk).await);
    delivery.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

/// A delete that was applied though its reply was lost: "another got it", and the item is gone without being consumed.
#[tokio::test]
async fn an_item_outlives_the_reply_that_brings_it() {
    let (fixture, proxy, zk) = start_proxied("lost item", LONG).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    theirs.push("warm").await.unwrap();
    pop(&ours).await.ack().await.unwrap();
    theirs.push("a").await.unwrap();
    // The consumer never learns that it has claimed the item: its session ends with the reply.
    let fault = proxy.inject(When::request(Op::Multi).path("/c-"), Injection::SilenceReply);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    popping.abort();
    let session = session_of(&zk).await;
    fixture.expire(&session).await;
    proxy.cut();
    proxy.heal();
    let delivery = pop(&theirs).await;
    assert_eq!(text(&delivery), "a");
    delivery.ack().await.unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// An unprotected create that is sent again puts the item twice.
#[tokio::test]
async fn a_lost_reply_is_no_duplicate_put() {
    let (fixture, proxy, ours) = start_proxied_queue("duplicate put").await;
    ours.push("a").await.unwrap();
    let fault = proxy.lose_reply(When::request(Op::Multi).path("/lanes/"));
    let id = ours.push("b").await.unwrap();
    assert!(fault.has_fired());
    assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Ready);
    assert_eq!(drain(&ours).await, ["a", "b"]);
    clean(&fixture, [ours]).await;
}

/// Bytes that cannot be decoded are logged and deleted. Here they are put aside, and the queue goes on.
#[tokio::test]
async fn a_poison_item_is_put_aside_and_kept() {
    let (fixture, ours) = start_queue("poison item").await;
    let options = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
    ours.push("a").await.unwrap();
    let poison = format!("{PATH}/lanes/100/0/s-abcdefghijklmnop.1.100.1-");
    fixture.raw().create(&poison, b"\xff poison", &options).await.unwrap();
    let foreign = format!("{PATH}/lanes/100/0/queue-");
    fixture.raw().create(&foreign, b"foreign", &options).await.unwrap();
    ours.push("b").await.unwrap();
    assert_eq!(drain(&ours).await, ["a", "b"]);
    let dead = ours.dead_letters().await.unwrap();
    assert_eq!((dead.len(), &dead[0].payload[..]), (1, &b"\xff poison"[..]));
    assert!(ours.redrive(&dead[0].id).await.is_err(), "it cannot be delivered");
    ours.purge(&dead[0].id).await.unwrap();
    // What is no segment at all is somebody else's, and left alone.
    let names = fixture.children(&format!("{PATH}/lanes/100/0")).await;
    assert!(names.len() == 1 && names[0].starts_with("queue-"), "{names:?}");
    let foreign = format!("{PATH}/lanes/100/0/{}", names[0]);
    fixture.raw().delete(&foreign, None).await.unwrap();
    clean(&fixture, [ours]).await;
}
