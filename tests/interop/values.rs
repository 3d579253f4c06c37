//! `SharedValue` and `SharedCounter`, Curator's `SharedValue`, `SharedCount` and `DistributedAtomicLong`, and kazoo's
//! `Counter(support_curator=True)`.

use zookeeper_recipes::{Coordinator, Error, SharedCounter, SharedCounterError, SharedValue, SharedValueError};
use zookeeper_testkit::{Fixture, within};

use crate::peer::Peer;
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, expire};

const PATH: &str = "/value";

#[tokio::test]
async fn curators_shared_value_and_ours_are_one() {
    let fixture = Fixture::new("curators_shared_value_and_ours_are_one").await;
    let zk = connect(&fixture).await;
    let ours = SharedValue::new(&zk, PATH).expect("a path");
    let mut observer = ours.observe().await.expect("observed");
    let curator = Peer::curator();
    let java = curator
        .actor_with(&fixture.connect_string(), SHORT, "value", PATH, &["seed"])
        .await;
    let mut sees = async |expected: &str| {
        let seen = observer.wait_for(|value| value.as_ref().is_some_and(|value| value.value == expected));
        within(PATIENCE, format!("ours sees {expected}"), seen)
            .await
            .expect("it goes on");
    };
    sees("seed").await;
    ours.set("first").await.expect("set");
    assert_eq!(java.ask("await first").await, "");
    java.ask("set second").await;
    sees("second").await;

    let stale = ours.get().await.expect("read");
    assert_eq!(java.ask("set-if-unchanged third").await, "true");
    let refused = ours.compare_and_set(stale.as_ref(), "lost").await;
    assert_eq!(refused.err(), Some(SharedValueError::Changed));
    let current = ours.get().await.expect("read");
    ours.compare_and_set(current.as_ref(), "fourth")
        .await
        .expect("unchanged");
    assert_eq!(java.ask("await fourth").await, "");
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn each_side_goes_on_following_the_value_after_the_end_of_its_session() {
    let fixture = Fixture::new("values_after_the_end_of_sessions").await;
    let (zk, other) = (connect_mortal(&fixture).await, connect(&fixture).await);
    let (ours, others) = (
        SharedValue::new(&zk, PATH).expect("a path"),
        SharedValue::new(&other, PATH).expect("a path"),
    );
    let java = Peer::curator()
        .actor_with(&fixture.connect_string(), SHORT, "value", PATH, &["seed"])
        .await;
    let mut observer = ours.observe().await.expect("observed");
    java.expire().await;
    expire(&fixture, &zk).await;
    others.set("first").await.expect("set");
    assert_eq!(java.ask("await first").await, "");
    java.ask("set second").await;
    let seen = observer.wait_for(|value| value.as_ref().is_some_and(|value| value.value == "second"));
    within(PATIENCE, "ours sees it", seen).await.expect("it goes on");
    ours.set("third").await.expect("set");
    assert_eq!(java.ask("await third").await, "");
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn curators_shared_count_kazoos_counter_and_ours_count_exactly() {
    const TIMES: i64 = 40;
    let fixture = Fixture::new("curators_shared_count_kazoos_counter_and_ours").await;
    let (zk_1, zk_2) = (connect(&fixture).await, connect(&fixture).await);
    let servers = fixture.connect_string();
    let java = Peer::curator()
        .actor_with(&servers, SHORT, "count", PATH, &["-5"])
        .await;
    let python = Peer::kazoo().actor_with(&servers, SHORT, "counter", PATH, &["0"]).await;
    let counting = python.tell(&format!("add-often {TIMES}"));
    let mut ours = Vec::new();
    for zk in [&zk_1, &zk_2] {
        let counter = SharedCounter::new_shared_count(zk, PATH).expect("a path");
        ours.push(tokio::spawn(async move {
            for _ in 0..TIMES {
                counter.fetch_add(1).await.expect("added");
            }
        }));
    }
    for one in ours {
        within(PATIENCE, "ours has counted", one).await.expect("no panic");
    }
    counting.done().await;
    let sum = 3 * TIMES - 5;
    assert_eq!(java.ask(&format!("await {sum}")).await, "");
    assert_eq!(python.ask("get").await, sum.to_string());
    let counter = SharedCounter::new_shared_count(&zk_1, PATH).expect("a path");
    assert_eq!(counter.get().await, Ok(sum));

    java.ask("set -2").await;
    assert_eq!(counter.get().await, Ok(-2));
    assert_eq!(python.ask("add 1").await, "-1");
    assert_eq!(counter.fetch_add(8).await, Ok(-1));
    assert_eq!(java.ask("await 7").await, "");
    // Four bytes.
    let overflow = counter.set(i64::from(i32::MAX) + 1).await;
    assert_eq!(overflow.err(), Some(SharedCounterError::Overflow));
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn curators_atomic_long_and_ours_count_exactly() {
    const TIMES: i64 = 40;
    let fixture = Fixture::new("curators_atomic_long_and_ours_count_exactly").await;
    let (zk_1, zk_2) = (connect(&fixture).await, connect(&fixture).await);
    let servers = fixture.connect_string();
    let curator = Peer::curator();
    let (java_1, java_2) = (
        curator.actor_with(&servers, SHORT, "long", PATH, &[]).await,
        curator.actor_with(&servers, SHORT, "long", PATH, &[]).await,
    );
    let command = format!("add-often {TIMES}");
    let counting = [java_1.tell(&command), java_2.tell(&command)];
    let mut ours = Vec::new();
    for zk in [&zk_1, &zk_2] {
        let counter = SharedCounter::new(zk, PATH).expect("a path");
        ours.push(tokio::spawn(async move {
            for _ in 0..TIMES {
                counter.fetch_add(1).await.expect("added");
            }
        }));
    }
    for one in ours {
        within(PATIENCE, "ours has counted", one).await.expect("no panic");
    }
    for one in counting {
        one.done().await;
    }
    let counter = SharedCounter::new(&zk_1, PATH).expect("a path");
    assert_eq!(counter.get().await, Ok(4 * TIMES));
    assert_eq!(java_1.ask("get").await, (4 * TIMES).to_string());
    assert_eq!(counter.compare_and_set(4 * TIMES, -(1 << 40)).await, Ok(true));
    assert_eq!(
        java_1.ask(&format!("compare-and-set {} 258", -(1_i64 << 40))).await,
        "258"
    );
    assert_eq!(java_2.ask("compare-and-set 5 6").await, "refused");
    assert_eq!(java_2.ask("add -1000").await, "-742");
    assert_eq!(counter.get().await, Ok(-742));
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Counts of eight bytes and of four, with an observer of ours that lives on.
#[tokio::test]
async fn each_side_goes_on_counting_after_the_end_of_its_session() {
    for (recipe, options, new) in [
        (
            "count",
            &["0"][..],
            SharedCounter::new_shared_count as fn(&Coordinator, &str) -> _,
        ),
        ("long", &[], SharedCounter::new),
    ] {
        let fixture = Fixture::new("counters_after_the_end_of_sessions").await;
        let zk = connect_mortal(&fixture).await;
        let ours = new(&zk, PATH).expect("a path");
        let java = Peer::curator()
            .actor_with(&fixture.connect_string(), SHORT, recipe, PATH, options)
            .await;
        assert_eq!(ours.fetch_add(1).await, Ok(0));
        let mut observer = ours.observe().await.expect("observed");
        for (round, ends_theirs) in [(1, true), (2, false), (3, true)] {
            match ends_theirs {
                true => java.expire().await,
                false => expire(&fixture, &zk).await,
            }
            assert_eq!(ours.fetch_add(10).await, Ok(11 * round - 10));
            match recipe {
                "count" => {
                    assert_eq!(java.ask(&format!("await {}", 11 * round)).await, "");
                    assert_eq!(java.ask(&format!("set-if-unchanged {}", 11 * round + 1)).await, "true");
                }
                _ => assert_eq!(java.ask("add 1").await, (11 * round + 1).to_string()),
            }
            let counted = observer.wait_for(|count| *count == Ok(11 * round + 1));
            let seen = within(PATIENCE, "ours sees it", counted).await;
            seen.expect("it goes on").expect("a count");
        }
        fixture.assert_no_nodes_left(&[PATH]).await;
    }
}

#[tokio::test]
async fn a_counter_of_the_other_width_is_refused() {
    let fixture = Fixture::new("a_counter_of_the_other_width_is_refused").await;
    let zk = connect(&fixture).await;
    let curator = Peer::curator();
    curator
        .actor_with(&fixture.connect_string(), SHORT, "count", PATH, &["7"])
        .await;
    let refused = SharedCounter::new(&zk, PATH).expect("a path").get().await;
    assert!(matches!(refused, Err(Error::Layout { .. })), "{refused:?}");
}
