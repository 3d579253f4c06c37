//! A link that is cut at any request: before it is sent, or when its reply is lost.

use std::future::Future;
use std::time::Duration;

use zookeeper_recipes::queue::{ItemStatus, NewItem, PushOptions, WorkQueue, WorkQueueBuilder};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{claims, drain, pop, text};
use crate::support::strike::strike_each_request;
use crate::support::{PATIENCE, connect};

/// The queue in the session that is struck, and in another one.
struct Pair {
    struck: WorkQueue,
    calm: WorkQueue,
}

/// Strikes at each request of `play` on a queue of its own; nothing is left in it after that.
async fn strike<F: Future<Output = ()>>(name: &str, play: impl Fn(Pair) -> F) {
    strike_with(name, |queue| queue, play).await;
}

/// The same for a queue with options.
async fn strike_with<F: Future<Output = ()>>(
    name: &str,
    options: impl Fn(WorkQueueBuilder) -> WorkQueueBuilder,
    play: impl Fn(Pair) -> F,
) {
    strike_each_request(name, |fixture, zk, path| {
        let (play, options) = (&play, &options);
        async move {
            let calm = options(WorkQueue::builder(&connect(&fixture).await, &path))
                .build()
                .unwrap();
            let pair = Pair {
                struck: options(WorkQueue::builder(&zk, &path)).build().unwrap(),
                calm: calm.clone(),
            };
            play(pair).await;
            assert_eq!(drain(&calm).await, Vec::<String>::new(), "{path}");
            assert_eq!(calm.dead_letters().await.unwrap(), [], "{path}");
            until_nothing_is_claimed(&fixture, &path).await;
        }
    })
    .await;
}

async fn until_nothing_is_claimed(fixture: &Fixture, path: &str) {
    fixture.until_children(&format!("{path}/consumers"), 0).await;
    eventually(PATIENCE, "nothing is claimed", || async {
        claims(fixture, path).await == 0
    })
    .await;
}

#[tokio::test]
async fn a_struck_push_is_there_once() {
    strike("push", |queues| async move {
        let id = queues.struck.push("a").await.unwrap();
        let ids = queues.struck.push_all(["b", "c"]).await.unwrap();
        assert_eq!(queues.calm.status(&id).await.unwrap(), ItemStatus::Ready);
        assert_eq!(ids.len(), 2);
        assert_eq!(drain(&queues.calm).await, ["a", "b", "c"]);
    })
    .await;
}

#[tokio::test]
async fn a_struck_bounded_push_is_counted_once() {
    strike_with(
        "bounded push",
        |queue| queue.capacity(2),
        |queues| async move {
            let (struck, calm) = (queues.struck, queues.calm);
            struck.push("a").await.unwrap();
            calm.push("b").await.unwrap();
            assert!(calm.try_push("c").await.is_err());
            pop(&struck).await.ack().await.unwrap();
            calm.try_push("c").await.unwrap();
            assert!(calm.try_push("d").await.is_err());
            assert_eq!(drain(&calm).await, ["b", "c"]);
        },
    )
    .await;
}

#[tokio::test]
async fn a_struck_keyed_push_is_there_once() {
    strike("keyed push", |queues| async move {
        let keyed = || NewItem::new("a").with(PushOptions::new().key("order/4711|a"));
        let id = queues.struck.push(keyed()).await.unwrap();
        assert_eq!(queues.struck.push(keyed()).await.unwrap(), id);
        assert_eq!(queues.calm.push(keyed()).await.unwrap(), id);
        assert_eq!(drain(&queues.calm).await, ["a"]);
    })
    .await;
}

#[tokio::test]
async fn a_struck_item_is_done_once() {
    strike("pop and ack", |queues| async move {
        let ids = queues.calm.push_all(["a", "b"]).await.unwrap();
        for (id, item) in ids.iter().zip(["a", "b"]) {
            let delivery = pop(&queues.struck).await;
            assert_eq!((delivery.id(), text(&delivery).as_str()), (id, item));
            assert_eq!(
                delivery.attempt(),
                1,
                "what was taken without being known goes back uncounted"
            );
            delivery.ack().await.unwrap();
        }
        assert_eq!(
            queues.struck.try_pop().await.unwrap().map(|delivery| text(&delivery)),
            None
        );
    })
    .await;
}

#[tokio::test]
async fn a_struck_consumer_is_woken() {
    strike("waiting", |queues| async move {
        let waiting = tokio::spawn({
            let struck = queues.struck.clone();
            async move { struck.pop().await }
        });
        // It may or may not wait by now.
        tokio::task::yield_now().await;
        queues.calm.push("a").await.unwrap();
        let delivery = within(PATIENCE, "an item", waiting).await.unwrap().unwrap();
        delivery.ack().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_struck_result_is_given_once() {
    strike("ack_with", |queues| async move {
        let id = queues.calm.push("sum").await.unwrap();
        pop(&queues.struck).await.ack_with("42").await.unwrap();
        assert_eq!(queues.struck.result(&id).await.unwrap(), "42");
        assert_eq!(queues.calm.status(&id).await.unwrap(), ItemStatus::Done);
    })
    .await;
}

#[tokio::test]
async fn a_struck_next_step_is_pushed_once() {
    strike("ack_then", |queues| async move {
        queues.calm.push("first").await.unwrap();
        let keyed = NewItem::new("keyed").with(PushOptions::new().key("k"));
        let next = [NewItem::new("next"), keyed];
        let ids = pop(&queues.struck).await.ack_then(next).await.unwrap();
        assert_eq!(ids.len(), 2);
        assert_eq!(drain(&queues.calm).await, ["next", "keyed"]);
    })
    .await;
}

#[tokio::test]
async fn a_struck_nack_gives_back_once() {
    strike_with(
        "nack",
        |queue| queue.max_attempts(3),
        |queues| async move {
            let (struck, calm) = (queues.struck, queues.calm);
            let id = calm.push("a").await.unwrap();
            pop(&struck).await.nack().await.unwrap();
            pop(&struck).await.nack_after(Duration::from_millis(1)).await.unwrap();
            let third = pop(&struck).await;
            assert_eq!((third.id(), third.attempt()), (&id, 3));
            third.nack().await.unwrap();
            assert!(matches!(struck.status(&id).await.unwrap(), ItemStatus::Dead { .. }));
            struck.redrive(&id).await.unwrap();
            pop(&struck).await.reject("no").await.unwrap();
            assert_eq!(struck.dead_letters().await.unwrap().len(), 1);
            struck.purge(&id).await.unwrap();
        },
    )
    .await;
}
