//! A bounded queue never holds more than it may, and whoever waits for room gets it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use zookeeper_recipes::Error;
use zookeeper_recipes::queue::{NewItem, PushError, PushOptions, WorkQueue};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, built, clean, drain, pop, queue, start_built, text, until_silent};
use crate::support::cost::Counted;
use crate::support::{PATIENCE, connect, elapsed, start, start_each};

const CAPACITY: usize = 10;

/// A fresh chroot, and the same bounded queue in several sessions.
async fn start_bounded(name: &str, capacity: u64) -> (Fixture, [WorkQueue; 3]) {
    let (fixture, sessions) = start_each(name).await;
    (fixture, sessions.map(|zk| built(&zk, |queue| queue.capacity(capacity))))
}

#[tokio::test]
async fn several_sessions_fill_the_queue_exactly() {
    let (fixture, queues) = start_bounded("fill", CAPACITY as u64).await;
    let pushes = queues.iter().flat_map(|queue| (0..8).map(move |_| queue.try_push("a")));
    let pushed = within(PATIENCE, "answers", future::join_all(pushes)).await;
    let full = PushError::QueueFull {
        path: queues[0].path().to_owned(),
        capacity: CAPACITY as u64,
    };
    assert_eq!(pushed.iter().filter(|pushed| pushed.is_ok()).count(), CAPACITY);
    assert!(pushed.into_iter().filter_map(Result::err).all(|error| error == full));
    assert_eq!(queues[0].len().await.unwrap(), CAPACITY);
    // What is claimed counts, and so does what is given back.
    let claimed = within(PATIENCE, "items", queues[1].pop_batch(4)).await.unwrap();
    assert_eq!(queues[2].try_push("b").await, Err(full.clone()));
    for delivery in claimed {
        delivery.nack().await.unwrap();
    }
    assert_eq!(queues[2].try_push("b").await, Err(full));
    for queue in &queues {
        pop(queue).await.ack().await.unwrap();
    }
    queues[2].push_all(["b", "b", "b"]).await.unwrap();
    assert!(queues[0].try_push("c").await.is_err());
    assert_eq!(drain(&queues[0]).await.len(), CAPACITY);
    clean(&fixture, queues).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capacity_holds_under_load_from_several_sessions() {
    const EACH: usize = 60;
    let (fixture, queues) = start_bounded("capacity", CAPACITY as u64).await;
    // Counted late and discounted early: never more than there really are.
    let (there, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let produce = async |queue: &WorkQueue| {
        let mut left = EACH;
        while left > 0 {
            let count = fastrand::usize(1..=4.min(left));
            queue.push_all(vec!["a"; count]).await.unwrap();
            let now = there.fetch_add(count, Ordering::SeqCst) + count;
            assert!(now <= CAPACITY, "{now} items");
            left -= count;
        }
    };
    let consume = async |queue: &WorkQueue| {
        while done.load(Ordering::SeqCst) < 3 * EACH {
            let Ok(delivery) = queue.pop_timeout(Duration::from_millis(200)).await else {
                continue;
            };
            // It may be here before its push knows that it is.
            let seen = eventually(PATIENCE, "its push is known", || async {
                there.load(Ordering::SeqCst) > 0
            });
            seen.await;
            there.fetch_sub(1, Ordering::SeqCst);
            delivery.ack().await.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    let producers = future::join_all(queues.iter().map(&produce));
    let consumers = future::join_all(queues.iter().take(2).map(&consume));
    within(4 * PATIENCE, "all items", future::join(producers, consumers)).await;
    assert_eq!(queues[0].len().await.unwrap(), 0);
    clean(&fixture, queues).await;
}

#[tokio::test]
async fn waiting_producers_are_woken_as_room_comes() {
    let (fixture, queues) = start_bounded("waiting", 2).await;
    queues[0].push_all(["a", "b"]).await.unwrap();
    let waiting: Vec<_> = queues
        .iter()
        .map(|queue| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.push("later").await })
        })
        .collect();
    for pushed in 1..=3 {
        pop(&queues[0]).await.ack().await.unwrap();
        eventually(PATIENCE, "one more is pushed", || async {
            waiting.iter().filter(|push| push.is_finished()).count() == pushed
        })
        .await;
        assert_eq!(queues[0].len().await.unwrap(), 2, "and no other");
    }
    for push in waiting {
        push.await.unwrap().unwrap();
    }
    assert_eq!(drain(&queues[0]).await, ["later", "later"]);
    clean(&fixture, queues).await;
}

/// An item that leaves a full queue wakes the producer that waits longest, and costs the others nothing.
#[tokio::test]
async fn room_wakes_the_first_producer_in_line() {
    const PRODUCERS: usize = 6;
    let (fixture, ours) = start_built("line of producers", |queue| queue.capacity(1)).await;
    ours.push("first").await.unwrap();
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let counted = Counted::connect(&fixture).await;
        let theirs = queue(&counted.zk);
        let pushing = tokio::spawn(async move { theirs.push(number.to_string()).await });
        fixture.until_children(&format!("{PATH}/producers"), number + 1).await;
        until_silent(&counted.proxy).await;
        producers.push((counted, pushing));
    }
    for next in 0..PRODUCERS {
        for (counted, _) in &producers {
            counted.requests(0).await;
        }
        pop(&ours).await.ack().await.unwrap();
        within(PATIENCE, "it is pushed", &mut producers[next].1)
            .await
            .unwrap()
            .unwrap();
        // The one behind it comes to the head, and looks.
        fixture
            .until_children(&format!("{PATH}/producers"), PRODUCERS - next - 1)
            .await;
        if let Some((counted, _)) = producers.get(next + 1) {
            until_silent(&counted.proxy).await;
        }
        for (counted, _) in producers.iter().skip(next + 2) {
            let counts = counted.requests(0).await.without_heartbeats();
            assert_eq!(counts.total(), 0, "a producer far behind: {counts}");
        }
    }
    assert_eq!(drain(&ours).await, [(PRODUCERS - 1).to_string()]);
    drop(producers);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn deaths_and_smaller_needs_wake_a_producer() {
    let (fixture, [ours, theirs, _]) = start_bounded("dies", 3).await;
    ours.push_all(["a", "b", "c"]).await.unwrap();
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.push_all(["d", "e"]).await }
    });
    pop(&ours).await.reject("no").await.unwrap();
    assert!(!waiting.is_finished(), "there is room for one only");
    pop(&ours).await.reject("no").await.unwrap();
    within(PATIENCE, "room", waiting).await.unwrap().unwrap();
    assert_eq!(drain(&ours).await, ["c", "d", "e"]);
    // What is brought back counts again.
    for dead in ours.dead_letters().await.unwrap() {
        ours.redrive(&dead.id).await.unwrap();
    }
    ours.push("f").await.unwrap();
    assert!(theirs.try_push("g").await.is_err());
    assert_eq!(drain(&theirs).await, ["a", "b", "f"]);
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn oversized_batches_and_other_capacities_are_refused() {
    let (fixture, [ours, theirs, _]) = start_bounded("never", 2).await;
    let path = ours.path().to_owned();
    let never = PushError::NeverFits {
        path,
        items: 3,
        capacity: 2,
    };
    assert_eq!(ours.push_all(["a", "b", "c"]).await, Err(never));
    ours.push("a").await.unwrap();
    let zk = connect(&fixture).await;
    let other = queue(&zk);
    let mismatch = within(PATIENCE, "an answer", built(&zk, |queue| queue.capacity(3)).push("b")).await;
    assert!(
        matches!(mismatch, Err(PushError::Error(Error::OptionMismatch { .. }))),
        "{mismatch:?}"
    );
    // Who says nothing keeps to what was set.
    other.push("b").await.unwrap();
    assert!(matches!(
        other.try_push("c").await,
        Err(PushError::QueueFull { capacity: 2, .. })
    ));
    assert_eq!(drain(&theirs).await, ["a", "b"]);
    clean(&fixture, [ours, theirs, other]).await;
}

#[tokio::test]
async fn a_queue_that_was_made_unbounded_stays_so() {
    let (fixture, zk) = start("unbounded").await;
    let ours = queue(&zk);
    ours.push("a").await.unwrap();
    let mismatch = within(PATIENCE, "an answer", built(&zk, |queue| queue.capacity(3)).push("b")).await;
    assert!(
        matches!(mismatch, Err(PushError::Error(Error::OptionMismatch { .. }))),
        "{mismatch:?}"
    );
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_timed_out_push_is_never_pushed() {
    let (fixture, [ours, theirs, _]) = start_bounded("push_timeout", 1).await;
    ours.push("a").await.unwrap();
    let limit = Duration::from_millis(300);
    assert_eq!(elapsed(theirs.push_timeout("in vain", limit).await), Some(limit));
    let dropped = tokio::time::timeout(limit, theirs.push("dropped")).await;
    assert!(dropped.is_err());
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.push_timeout("b", PATIENCE).await }
    });
    // Who does not wait is told while another waits.
    let told = within(PATIENCE, "an answer", theirs.try_push("c")).await;
    assert!(matches!(told, Err(PushError::QueueFull { .. })));
    assert_eq!(text(&pop(&ours).await), "a", "and dropped");
    pop(&ours).await.ack().await.unwrap();
    within(PATIENCE, "room", waiting).await.unwrap().unwrap();
    assert_eq!(drain(&ours).await, ["b"]);
    clean(&fixture, [ours, theirs]).await;
}

/// A push that has been done needs no room, however often it is repeated.
#[tokio::test]
async fn a_full_queue_still_knows_its_keys() {
    let (fixture, [ours, theirs, _]) = start_bounded("full and keyed", 2).await;
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    let a = ours.push(keyed("a")).await.unwrap();
    assert_eq!(ours.push(keyed("a")).await.unwrap(), a);
    ours.push("b").await.unwrap();
    assert_eq!(ours.try_push(keyed("a")).await.unwrap(), a);
    assert_eq!(within(PATIENCE, "an answer", theirs.push(keyed("a"))).await.unwrap(), a);
    assert!(matches!(
        theirs.try_push(keyed("c")).await,
        Err(PushError::QueueFull { .. })
    ));
    // The keys of items that could not be pushed are not taken.
    assert_eq!(fixture.children(&format!("{PATH}/keys")).await.len(), 1);
    assert_eq!(drain(&theirs).await, ["a", "b"]);
    clean(&fixture, [ours, theirs]).await;
}

/// Otherwise two steps that wait for each other's room would wait for ever.
#[tokio::test]
async fn next_steps_go_into_a_full_queue() {
    let (fixture, [ours, theirs, _]) = start_bounded("full, next step", 1).await;
    ours.push("first").await.unwrap();
    pop(&ours).await.ack_then(["second", "third"]).await.unwrap();
    assert!(theirs.try_push("d").await.is_err());
    pop(&ours).await.ack().await.unwrap();
    assert!(theirs.try_push("d").await.is_err(), "it is just full again");
    assert_eq!(drain(&theirs).await, ["third"]);
    theirs.try_push("d").await.unwrap();
    assert_eq!(drain(&ours).await, ["d"]);
    clean(&fixture, [ours, theirs]).await;
}
