//! The end of a handle, or of its coordinator: nothing more is taken, what goes on is finished, and no call hangs.

use futures::StreamExt;
use tokio::sync::oneshot;
use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{Job, PushError};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::foreign::{denied, guard};
use super::{PATH, clean, drain, pop, queue, start_built, start_proxied_queues, start_queue, start_queues, text};
use crate::support::{PATIENCE, connect};

#[tokio::test]
async fn a_handle_that_was_never_used_closes() {
    let (fixture, ours) = start_queue("unused").await;
    within(PATIENCE, "it closes", ours.close()).await;
    within(PATIENCE, "it closes again", ours.close()).await;
    assert!(matches!(ours.try_pop().await, Err(Error::Closed)));
    assert_eq!(ours.push("late").await, Err(PushError::Error(Error::Closed)));
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn each_close_waits_for_what_was_acknowledged() {
    let (fixture, proxy, [ours, theirs]) = start_proxied_queues("two closes").await;
    theirs.push("a").await.unwrap();
    let delivery = pop(&ours).await;
    let held = proxy.inject(When::request(Op::Multi).path("o-"), Injection::SilenceReply);
    let ack = tokio::spawn(delivery.ack());
    held.fired().await;
    let close = || {
        let ours = ours.clone();
        tokio::spawn(async move { ours.close().await })
    };
    let first = close();
    within(PATIENCE, "it is closed", async {
        while ours.health().is_live {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let (second, third) = (close(), close());
    tokio::time::sleep(crate::support::SILENCE).await;
    let early = [&first, &second, &third].map(tokio::task::JoinHandle::is_finished);
    assert_eq!(early, [false; 3], "the ack is not written yet");
    proxy.heal();
    for closed in [first, second, third] {
        within(PATIENCE, "it closes", closed).await.unwrap();
    }
    ack.await.unwrap().unwrap();
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn work_that_ends_a_shutdown_may_push() {
    let fixture = Fixture::new("push in a shutdown").await;
    let (zk, theirs) = (connect(&fixture).await, queue(&connect(&fixture).await));
    let (ours, unused) = (queue(&zk), queue(&zk));
    theirs.push("a").await.unwrap();
    let delivery = pop(&ours).await;
    let begun = zk.shutting_down();
    let shutdown = tokio::spawn(zk.shutdown(PATIENCE));
    within(PATIENCE, "it begins", begun).await;
    within(PATIENCE, "nothing is taken any more", async {
        while !matches!(ours.try_pop().await, Err(Error::Closed)) {}
    })
    .await;
    ours.push("b").await.unwrap();
    unused.push("c").await.unwrap();
    delivery.ack_then(["d"]).await.unwrap();
    let report = within(PATIENCE, "it ends", shutdown).await.unwrap();
    assert!(report.is_finished && report.is_closed, "{report:?}");
    assert_eq!(drain(&theirs).await, ["b", "c", "d"]);
    clean(&fixture, [ours, unused, theirs]).await;
}

/// One that may not stand in the line of producers.
#[tokio::test]
async fn a_producer_that_is_refused_is_told() {
    let (fixture, ours) = start_built("refused producer", |queue| queue.capacity(1)).await;
    ours.push("a").await.unwrap();
    guard(&fixture, &format!("{PATH}/producers"), zk::Permission::READ, b"").await;
    let refused = within(PATIENCE, "an error", ours.push("b")).await.unwrap_err();
    assert!(
        matches!(&refused, PushError::Error(error) if denied(error)),
        "{refused:?}"
    );
    assert_eq!(drain(&ours).await, ["a"]);
    ours.push("c").await.unwrap();
    assert_eq!(drain(&ours).await, ["c"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_stream_yields_nothing_once_closed() {
    let (fixture, [ours, theirs]) = start_queues("closed stream").await;
    let items: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    theirs.push_all(items.clone()).await.unwrap();
    let mut deliveries = ours.deliveries(32);
    let first = within(PATIENCE, "an item", deliveries.next()).await.unwrap().unwrap();
    within(PATIENCE, "it closes", ours.close()).await;
    let next = within(PATIENCE, "the end", deliveries.next()).await;
    assert!(matches!(next, Some(Err(Error::Closed))), "{next:?}");
    first.ack().await.unwrap();
    // Given back already, in order and untried, though the stream is there.
    for item in &items[1..] {
        let delivery = pop(&theirs).await;
        assert_eq!((text(&delivery), delivery.attempt()), (item.clone(), 1));
        delivery.ack().await.unwrap();
    }
    drop(deliveries);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_worker_begins_nothing_once_closed() {
    let (fixture, [ours, theirs]) = start_queues("closed worker").await;
    theirs.push_all((0..40).map(|number| number.to_string())).await.unwrap();
    let (begun, first) = oneshot::channel();
    let (let_go, go_on) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((begun, go_on)));
    let worker = tokio::spawn(ours.worker().prefetch(32).run(move |_: Job| {
        let once = once.lock().unwrap().take();
        async move {
            if let Some((begun, go_on)) = once {
                begun.send(()).unwrap();
                go_on.await.unwrap();
            }
            Ok::<_, String>(())
        }
    }));
    within(PATIENCE, "an item", first).await.unwrap();
    // The items of its handlers are waited for by the worker, not by this.
    within(PATIENCE, "it closes", ours.close()).await;
    let_go.send(()).unwrap();
    let summary = within(PATIENCE, "it ends", worker).await.unwrap().unwrap();
    assert_eq!(summary.done, 1);
    let mut left = Vec::new();
    while let Some(delivery) = theirs.try_pop().await.unwrap() {
        left.push((text(&delivery), delivery.attempt()));
        delivery.ack().await.unwrap();
    }
    let expected: Vec<(String, u32)> = (1..40).map(|number| (number.to_string(), 1)).collect();
    assert_eq!(left, expected);
    clean(&fixture, [ours, theirs]).await;
}
