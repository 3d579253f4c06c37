//! The count-down latch: open for good once so many counts are there, each of them counted once.

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, CountDownLatch, Error, LatchError, LatchTimeoutError};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use crate::budget::Counted;
use crate::cancellation::drop_after;
use crate::sessions::expire_and_follow;
use crate::strike::strike_each_request;
use crate::support::{
    LONG, PATIENCE, connect, create, elapsed, passes, session_id, stands_still, start, start_each, start_proxied,
};

const PATH: &str = "/reports/settled";

fn latch(zk: &Coordinator, count: u32) -> CountDownLatch {
    CountDownLatch::new(zk, PATH, count).unwrap()
}

type Waiting = JoinHandle<Result<(), LatchError>>;

fn wait(zk: &Coordinator, count: u32) -> Waiting {
    let latch = latch(zk, count);
    tokio::spawn(async move { latch.wait().await })
}

/// Removes the latch, and shows that it leaves nothing.
async fn finish(fixture: &Fixture, latch: &CountDownLatch) {
    latch.remove().await.unwrap();
    fixture.assert_no_nodes_left(&["/reports"]).await;
}

#[tokio::test]
async fn it_opens_with_the_last_count_and_stays_open() {
    let (fixture, [zk, other]) = start_each("opens").await;
    let settled = latch(&zk, 3);
    assert_eq!(settled.path(), PATH);
    assert_eq!(settled.count().await.unwrap(), 3);
    let waiters = [wait(&zk, 3), wait(&other, 3)];
    for (missing, zk) in [(2, &zk), (1, &other)] {
        assert_eq!(latch(zk, 3).count_down().await.unwrap(), missing);
        assert_eq!(settled.count().await.unwrap(), missing);
        for waiter in &waiters {
            stands_still(zk, waiter).await;
        }
    }
    assert_eq!(settled.count_down().await.unwrap(), 0);
    for waiter in waiters {
        passes(waiter).await;
    }
    assert_eq!(settled.count_down().await.unwrap(), 0, "nothing is left to count");
    assert_eq!(settled.count().await.unwrap(), 0);
    settled.wait().await.unwrap();
    finish(&fixture, &settled).await;
}

#[tokio::test]
async fn a_count_with_an_id_counts_once() {
    let (fixture, [zk, other]) = start_each("ids").await;
    for _ in 0..3 {
        assert_eq!(latch(&zk, 2).count_down_as("share-7").await.unwrap(), 1);
        assert_eq!(latch(&other, 2).count_down_as("share-7").await.unwrap(), 1);
    }
    assert_eq!(latch(&other, 2).count_down_as("share-8").await.unwrap(), 0);
    for id in ["", "a/b", "\0"] {
        let refused = latch(&zk, 2).count_down_as(id).await;
        assert!(
            matches!(refused, Err(LatchError::Error(Error::InvalidPath { .. }))),
            "{id:?}: {refused:?}"
        );
    }
    finish(&fixture, &latch(&zk, 2)).await;
}

#[tokio::test]
async fn counts_stay_when_the_one_who_counted_is_gone() {
    let (fixture, [zk, other]) = start_each("stay").await;
    let waiter = wait(&other, 2);
    latch(&zk, 2).count_down().await.unwrap();
    zk.close().await;
    stands_still(&other, &waiter).await;
    latch(&other, 2).count_down().await.unwrap();
    passes(waiter).await;
    finish(&fixture, &latch(&other, 2)).await;
}

#[tokio::test]
async fn another_number_is_a_mismatch_and_other_data_an_error() {
    let (fixture, zk) = start("mismatch").await;
    latch(&zk, 3).count_down().await.unwrap();
    let mismatch = LatchError::Mismatch {
        path: PATH.to_owned(),
        ours: 4,
        agreed: 3,
    };
    let wrong = latch(&zk, 4);
    assert_eq!(wrong.count_down().await, Err(mismatch.clone()));
    assert_eq!(wrong.count().await, Err(mismatch.clone()));
    assert_eq!(wrong.wait().await, Err(mismatch.clone()));
    assert_eq!(wrong.wait_timeout(LONG).await, Err(LatchTimeoutError::Error(mismatch)));
    assert_eq!(latch(&zk, 3).count().await.unwrap(), 2, "nothing was counted");
    fixture.raw().set_data(PATH, b"127.0.0.1", None).await.unwrap();
    let refused = latch(&zk, 3).count_down().await;
    assert!(
        matches!(&refused, Err(LatchError::Error(Error::Layout { path, .. })) if path == PATH),
        "{refused:?}"
    );
    finish(&fixture, &latch(&zk, 3)).await;
}

#[tokio::test]
async fn a_latch_of_nothing_is_open_and_an_empty_node_is_a_new_latch() {
    let (fixture, zk) = start("empty").await;
    latch(&zk, 0).wait().await.unwrap();
    assert_eq!(latch(&zk, 0).count_down().await.unwrap(), 0);
    latch(&zk, 0).remove().await.unwrap();
    create(&fixture, PATH, zk::CreateMode::Persistent).await;
    assert_eq!(latch(&zk, 2).count().await.unwrap(), 2);
    assert_eq!(latch(&zk, 2).count_down().await.unwrap(), 1);
    finish(&fixture, &latch(&zk, 2)).await;
}

#[tokio::test]
async fn a_timeout_elapses_and_waits_survive_the_end_of_their_session() {
    let (fixture, [zk, other]) = start_each("timeout").await;
    let after = Duration::from_millis(100);
    assert_eq!(elapsed(latch(&zk, 1).wait_timeout(after).await), Some(after));
    let waiter = wait(&zk, 1);
    stands_still(&zk, &waiter).await;
    expire_and_follow(&fixture, &zk).await;
    stands_still(&zk, &waiter).await;
    latch(&other, 1).count_down().await.unwrap();
    passes(waiter).await;
    finish(&fixture, &latch(&other, 1)).await;
}

#[tokio::test]
async fn a_latch_that_was_removed_counts_anew_and_keeps_its_waiters() {
    let (fixture, zk) = start("removed").await;
    let waiter = wait(&zk, 2);
    let settled = latch(&zk, 2);
    settled.count_down_as("a").await.unwrap();
    settled.remove().await.unwrap();
    settled.remove().await.unwrap();
    assert_eq!(settled.count_down_as("a").await.unwrap(), 1);
    stands_still(&zk, &waiter).await;
    assert_eq!(settled.count_down_as("b").await.unwrap(), 0);
    passes(waiter).await;
    finish(&fixture, &settled).await;
}

/// CAS that collide go on until all are counted, each once, and the latch opens with the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_count_at_once() {
    const COUNTS: u32 = 60;
    let fixture = Fixture::new("many").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(connect(&fixture).await);
    }
    let waiter = wait(&sessions[0], COUNTS);
    let counts = (0..COUNTS).map(|number| {
        let latch = latch(&sessions[number as usize % 3], COUNTS);
        tokio::spawn(async move { latch.count_down().await.unwrap() })
    });
    let mut missing = Vec::new();
    for count in counts.collect::<Vec<_>>() {
        missing.push(within(PATIENCE * 2, "counted", count).await.unwrap());
    }
    missing.sort_unstable();
    assert_eq!(missing, (0..COUNTS).collect::<Vec<_>>());
    passes(waiter).await;
    finish(&fixture, &latch(&sessions[0], COUNTS)).await;
}

#[tokio::test]
async fn a_count_whose_reply_is_lost_is_counted_once() {
    let (fixture, proxy, zk) = start_proxied("lost count", LONG).await;
    let settled = latch(&zk, 4);
    for (missing, injection) in [(3, Injection::LoseReply), (2, Injection::CutBefore)] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let counted = within(PATIENCE, "counted", settled.count_down()).await.unwrap();
        assert_eq!(counted, missing, "{injection:?}");
        assert!(fault.has_fired());
        assert_eq!(settled.count().await.unwrap(), missing);
    }
    finish(&fixture, &settled).await;
}

/// With its id a count that was dropped is made up for, and counted once.
#[tokio::test]
async fn calls_dropped_at_any_await_point_count_once_or_not_at_all() {
    let (fixture, [zk, other]) = start_each("cancelled").await;
    let id = session_id(&zk).await;
    let (mut counted, mut not) = (0, 0);
    for form in ["count_down_as", "wait", "wait_timeout"] {
        for polls in 0.. {
            let ours = latch(&zk, 2);
            let attempt = Box::pin(async move {
                match form {
                    "count_down_as" => assert_eq!(ours.count_down_as("a").await.unwrap(), 1),
                    "wait" => ours.wait().await.unwrap(),
                    _ => ours.wait_timeout(LONG).await.unwrap(),
                }
            });
            let is_over = drop_after(polls, attempt, &zk).await;
            let settled = latch(&other, 2);
            other.client().await.unwrap().sync("/").await.unwrap();
            match settled.count().await.unwrap() {
                1 if form == "count_down_as" => counted += 1,
                missing => {
                    assert_eq!(missing, 2, "{form} after {polls} polls");
                    not += 1;
                }
            }
            assert_eq!(settled.count_down_as("a").await.unwrap(), 1);
            let waiter = wait(&zk, 2);
            assert_eq!(settled.count_down_as("b").await.unwrap(), 0);
            passes(waiter).await;
            finish(&fixture, &settled).await;
            if is_over {
                break;
            }
        }
    }
    assert!(counted > 0 && not > 0, "{counted} counted, {not} not");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("latch", |_, zk, path| async move {
        let latch = CountDownLatch::new(&zk, &format!("{path}/latch"), 2).unwrap();
        let waiting = tokio::spawn({
            let latch = latch.clone();
            async move { latch.wait().await }
        });
        assert_eq!(latch.count_down().await.unwrap(), 1);
        assert!(!waiting.is_finished(), "passed a closed latch");
        assert_eq!(latch.count_down().await.unwrap(), 0);
        waiting.await.unwrap().unwrap();
        latch.remove().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_count_is_two_requests_and_wakes_nobody_but_the_last_which_wakes_each_once() {
    let fixture = Fixture::new("budget").await;
    let (counted, other) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    latch(&other.zk, 3).count_down().await.unwrap();
    other.requests(1).await;
    let waiter = wait(&counted.zk, 3);
    let counts = counted.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::Exists), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    latch(&other.zk, 3).count_down().await.unwrap();
    let counts = other.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::Multi), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    stands_still(&counted.zk, &waiter).await;
    let counts = counted.requests(0).await.matching(|request| request.op != Op::Sync);
    assert_eq!(counts.total(), 0, "{counts}");
    latch(&other.zk, 3).count_down().await.unwrap();
    passes(waiter).await;
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Exists), counts.total()), (1, 1), "{counts}");
    finish(&fixture, &latch(&counted.zk, 3)).await;
}
