//! The known mistakes of Curator's queues in their order, their waiting and their cost, one test each, named after the issue or the mistake: not ours.

use std::time::Duration;

use zookeeper_recipes::queue::{NewItem, PushError, PushOptions, WorkQueue};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Error, LossReason};
use zookeeper_testkit::{Fixture, ServerOptions, within};

use super::{MOMENT, PATH, clean, drain, pop, queue, start_built, start_queue, text};
use crate::support::{LONG, PATIENCE, connect, connect_to, session_id, start, start_proxied};

/// An item that is given back gets a name without its priority and its time: it goes ahead of all, at once.
#[tokio::test]
async fn a_returned_item_keeps_its_priority() {
    let (fixture, ours) = start_queue("requeue loses priority").await;
    let urgency = |priority| PushOptions::new().priority(priority);
    let low = ours.push_with("low", urgency(50)).await.unwrap();
    let given_back = pop(&ours).await;
    ours.push_with("high", urgency(5)).await.unwrap();
    given_back.nack().await.unwrap();
    let high = pop(&ours).await;
    assert_eq!((text(&high).as_str(), high.priority()), ("high", 5));
    high.nack_after(MOMENT).await.unwrap();
    let back = pop(&ours).await;
    assert_eq!((back.id(), back.priority(), back.attempt()), (&low, 50, 2));
    back.ack().await.unwrap();
    // No hot loop: it is not due yet.
    assert!(ours.try_pop().await.unwrap().is_none());
    let high = pop(&ours).await;
    assert_eq!((text(&high).as_str(), high.priority(), high.attempt()), ("high", 5, 2));
    high.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

/// `DistributedIdQueue` never finds ids that hold what a node name cannot.
#[tokio::test]
async fn keys_with_slashes_and_bars_are_found_again() {
    let (fixture, ours) = start_built("ids with / and |", |queue| queue.max_attempts(1)).await;
    for key in ["id/1|2", "id_1_2", "..", "%2f", " é\n"] {
        let keyed = || NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
        let id = ours.push(keyed()).await.unwrap();
        assert_eq!(ours.push(keyed()).await.unwrap(), id);
        let delivery = pop(&ours).await;
        assert_eq!((delivery.id(), delivery.key()), (&id, Some(key)));
        delivery.nack().await.unwrap();
        assert_eq!(ours.dead_letters().await.unwrap()[0].key.as_deref(), Some(key));
        ours.purge(&id.as_str().parse().unwrap()).await.unwrap();
        // Its key is free again with it.
        assert_ne!(ours.push(keyed()).await.unwrap(), id);
        assert_eq!(drain(&ours).await, [key]);
    }
    clean(&fixture, [ours]).await;
}

/// CURATOR-56: each time that an item is given back, its name grows.
#[tokio::test]
async fn curator_56_returned_items_keep_short_names() {
    let (fixture, ours) = start_built("CURATOR-56", |queue| queue.max_attempts(100)).await;
    let id = ours.push("a").await.unwrap();
    let mut longest = Vec::new();
    for attempt in 1..=10 {
        let delivery = pop(&ours).await;
        assert_eq!((delivery.id(), delivery.attempt()), (&id, attempt));
        delivery.nack().await.unwrap();
        let tree = fixture.tree().await;
        longest.push(
            tree.keys()
                .filter(|path| path.contains("/lanes/"))
                .map(String::len)
                .max(),
        );
    }
    assert!(longest.iter().all(|length| *length == longest[0]), "{longest:?}");
    drain(&ours).await;
    clean(&fixture, [ours]).await;
}

/// CURATOR-225: an item that is given back goes to the end of the line.
#[tokio::test]
async fn curator_225_a_returned_item_keeps_its_place() {
    let (fixture, ours) = start_queue("CURATOR-225").await;
    ours.push_all(["a", "b"]).await.unwrap();
    ours.push("c").await.unwrap();
    let (first, second) = (pop(&ours).await, pop(&ours).await);
    second.nack().await.unwrap();
    first.nack().await.unwrap();
    assert_eq!(drain(&ours).await, ["a", "b", "c"]);
    // Those that were delayed stay ahead of those that were due at the same time.
    let delay = || PushOptions::new().delay(Duration::from_millis(1));
    let items = ["d", "e", "f"].map(|item| NewItem::new(item).with(delay()));
    ours.push_all(items).await.unwrap();
    let (first, second) = (pop(&ours).await, pop(&ours).await);
    second.nack().await.unwrap();
    first.nack().await.unwrap();
    assert_eq!(drain(&ours).await, ["d", "e", "f"]);
    clean(&fixture, [ours]).await;
}

/// CURATOR-336: a consumer is never told that its connection is lost.
#[tokio::test]
async fn curator_336_a_consumer_learns_of_its_loss() {
    let (fixture, proxy, zk) = start_proxied("CURATOR-336", Duration::from_secs(2)).await;
    let ours = queue(&zk);
    ours.push("a").await.unwrap();
    let delivery = pop(&ours).await;
    proxy.black_hole();
    let work = delivery.run_until_lost(std::future::pending::<()>());
    let lost = within(PATIENCE, "the consumer is told", work).await.unwrap_err();
    assert_eq!(lost.reason, LossReason::LeaseLapsed);
    proxy.heal();
    drop(delivery);
    let again = pop(&ours).await;
    again.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

/// CURATOR-623: after a long disconnect the watch is not set again, and the queue stops.
#[tokio::test]
async fn curator_623_a_disconnect_stalls_no_idle_consumer() {
    let fixture = Fixture::new("CURATOR-623").await;
    let (proxy, servers) = fixture.proxied().await;
    // The first time within the session, then after its end.
    for timeout in [LONG, Duration::from_secs(2)] {
        let (zk, theirs) = (connect_to(&servers, timeout).await, queue(&connect(&fixture).await));
        let ours = queue(&zk);
        let session = crate::support::sessions::session_of(&zk).await;
        let waiting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop().await }
        });
        fixture.until_children(&format!("{PATH}/consumers"), 1).await;
        proxy.refuse().await;
        theirs.push("a").await.unwrap();
        if timeout < LONG {
            fixture.expire(&session).await;
        }
        proxy.accept().await;
        let delivery = within(PATIENCE, "an item", waiting).await.unwrap().unwrap();
        delivery.ack().await.unwrap();
        drop((ours, theirs));
        fixture.until_children(&format!("{PATH}/consumers"), 0).await;
        zk.close().await;
    }
}

/// CURATOR-308: a consumer hangs when the container that it watches is reaped. No directory that is watched is one.
#[tokio::test]
async fn curator_308_reaped_containers_do_not_stall_consumers() {
    let options = ServerOptions::new().container_check_interval(Duration::from_millis(100));
    let fixture = Fixture::with_own_server_options("CURATOR-308", options).await;
    let (ours, theirs) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    for round in 0..3 {
        theirs.push("a").await.unwrap();
        pop(&ours).await.ack().await.unwrap();
        let waiting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop().await }
        });
        fixture.until_children(&format!("{PATH}/consumers"), 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(fixture.tree().await.contains_key(&format!("{PATH}/lanes/100")));
        theirs.push(format!("{round}")).await.unwrap();
        let delivery = within(PATIENCE, "an item", waiting).await.unwrap().unwrap();
        assert_eq!(text(&delivery), round.to_string());
        delivery.ack().await.unwrap();
    }
    clean(&fixture, [ours, theirs]).await;
}

/// CURATOR-116: delayed items are sorted by a clock that goes on while they are.
#[tokio::test]
async fn curator_116_delayed_items_come_when_due() {
    let (fixture, ours) = start_queue("CURATOR-116").await;
    let delay = |millis| PushOptions::new().delay(Duration::from_millis(millis));
    for millis in [900, 300, 600, 1] {
        ours.push_with(millis.to_string(), delay(millis)).await.unwrap();
    }
    for millis in ["1", "300", "600", "900"] {
        let delivery = pop(&ours).await;
        assert_eq!(text(&delivery), millis);
        delivery.ack().await.unwrap();
    }
    clean(&fixture, [ours]).await;
}

/// Netflix/curator#135: a put that fails in the background is silent, and a close waits for it in vain.
#[tokio::test]
async fn netflix_135_a_push_that_fails_is_told() {
    let (fixture, zk) = start("Netflix#135").await;
    let ours = queue(&zk);
    ours.push("a").await.unwrap();
    let too_large = ours.push(vec![0; 1_000_001]).await;
    assert!(matches!(
        too_large,
        Err(PushError::Error(Error::TooLarge {
            size: 1_000_001,
            limit: 1_000_000,
            ..
        }))
    ));
    let together = ours.push_all([vec![0; 600_000], vec![1; 600_000]]).await;
    assert!(
        matches!(together, Err(PushError::Error(Error::TooLarge { .. }))),
        "{together:?}"
    );
    assert_eq!(ours.len().await.unwrap(), 1);
    within(PATIENCE, "closed", zk.close()).await;
    assert_eq!(ours.push("b").await, Err(PushError::Error(Error::Closed)));
    let theirs = queue(&connect(&fixture).await);
    assert_eq!(drain(&theirs).await, ["a"]);
    clean(&fixture, [ours, theirs]).await;
}

/// Each change lists and sorts all items in each consumer. Here neither a claim nor a push lists a backlog.
#[tokio::test]
async fn an_items_cost_is_independent_of_the_backlog() {
    let fixture = Fixture::with_embedded_server("cost").await;
    let server = fixture.server().embedded().unwrap();
    let zk = connect(&fixture).await;
    let session = session_id(&zk).await;
    let ours = queue(&zk);
    let filler = queue(&connect(&fixture).await);
    let mut costs = Vec::new();
    for backlog in [10, 100, 1_500] {
        // One segment each, so that there are several blocks.
        for _ in 0..backlog {
            filler.push("filler").await.unwrap();
        }
        // What has to be found out once is known then.
        for _ in 0..2 {
            server.reset_requests();
            ours.push("a").await.unwrap();
            pop(&ours).await.ack().await.unwrap();
        }
        costs.push(server.requests().session(session).without_pings().len());
    }
    println!("requests for one push, pop and ack: {costs:?}");
    assert!(costs.iter().all(|cost| *cost <= costs[0] + 1), "{costs:?}");
    drain(&filler).await;
    clean(&fixture, [ours, filler]).await;
}

/// Any exception but an interrupt ends the thread of a consumer for good.
#[tokio::test]
async fn a_consumer_goes_on_after_an_error() {
    let fixture = Fixture::new("run loop dies").await;
    let ours: WorkQueue = queue(&connect(&fixture).await);
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture.raw().create("/queues", b"", &options).await.unwrap();
    fixture.raw().create(PATH, b"something else", &options).await.unwrap();
    for _ in 0..2 {
        let popped = within(PATIENCE, "an answer", ours.pop()).await;
        assert!(
            matches!(popped, Err(Error::Layout { ref path, .. }) if path.ends_with(PATH)),
            "{popped:?}"
        );
        let pushed = within(PATIENCE, "an answer", ours.push("a")).await;
        assert!(
            matches!(pushed, Err(PushError::Error(Error::Layout { .. }))),
            "{pushed:?}"
        );
    }
    fixture.raw().delete(PATH, None).await.unwrap();
    ours.push("a").await.unwrap();
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours]).await;
}
