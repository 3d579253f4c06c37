//! The barrier: closed while its node exists.

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Barrier, Coordinator, Error, WaitTimeoutError};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::cancellation::drop_after;
use crate::sessions::expire_and_follow;
use crate::strike::strike_each_request;
use crate::support::{
    LONG, PATIENCE, connect, create, elapsed, faults, passes, session_id, stands_still, start, start_each,
    start_proxied,
};

const PATH: &str = "/gates/freeze";

fn barrier(zk: &Coordinator) -> Barrier {
    Barrier::new(zk, PATH).unwrap()
}

type Waiting = JoinHandle<Result<(), Error>>;

fn wait(zk: &Coordinator) -> Waiting {
    let barrier = barrier(zk);
    tokio::spawn(async move { barrier.wait().await })
}

#[tokio::test]
async fn who_comes_to_a_closed_barrier_waits_until_it_is_lifted() {
    let (fixture, [zk, other]) = start_each("lifted").await;
    let gate = barrier(&zk);
    assert_eq!(gate.path(), PATH);
    within(PATIENCE, "open", gate.wait()).await.unwrap();
    gate.set().await.unwrap();
    gate.set().await.unwrap();
    let waiters = [wait(&zk), wait(&other), wait(&other)];
    for waiter in &waiters {
        stands_still(&other, waiter).await;
    }
    // By anybody.
    barrier(&other).lift().await.unwrap();
    for waiter in waiters {
        passes(waiter).await;
    }
    gate.lift().await.unwrap();
    within(PATIENCE, "open", gate.wait()).await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

#[tokio::test]
async fn a_barrier_stays_closed_when_the_one_who_closed_it_is_gone() {
    let (fixture, [zk, other]) = start_each("persistent").await;
    barrier(&zk).set().await.unwrap();
    zk.close().await;
    let waiter = wait(&other);
    stands_still(&other, &waiter).await;
    let late = barrier(&other).wait_timeout(Duration::from_millis(100)).await;
    assert_eq!(elapsed(late), Some(Duration::from_millis(100)));
    barrier(&other).lift().await.unwrap();
    passes(waiter).await;
    barrier(&other).wait_timeout(LONG).await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// Curator's and kazoo's barrier is the node itself.
#[tokio::test]
async fn a_node_made_and_removed_by_another_client_closes_and_opens_it() {
    let (fixture, zk) = start("interop").await;
    create(&fixture, "/gates", zk::CreateMode::Persistent).await;
    create(&fixture, PATH, zk::CreateMode::Persistent).await;
    let waiter = wait(&zk);
    stands_still(&zk, &waiter).await;
    fixture.raw().set_data(PATH, b"scribble", None).await.unwrap();
    stands_still(&zk, &waiter).await;
    fixture.raw().delete(PATH, None).await.unwrap();
    passes(waiter).await;
    barrier(&zk).set().await.unwrap();
    assert!(fixture.raw().check_stat(PATH).await.unwrap().is_some());
    barrier(&zk).lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

#[tokio::test]
async fn who_waited_passes_even_if_the_barrier_is_closed_again_at_once() {
    let (fixture, proxy, zk) = start_proxied("closed again", LONG).await;
    let other = connect(&fixture).await;
    for silent in [false, true] {
        barrier(&other).set().await.unwrap();
        let waiter = wait(&zk);
        stands_still(&zk, &waiter).await;
        if silent {
            proxy.refuse().await;
        }
        barrier(&other).lift().await.unwrap();
        barrier(&other).set().await.unwrap();
        if silent {
            proxy.accept().await;
        }
        passes(waiter).await;
        barrier(&other).lift().await.unwrap();
    }
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

#[tokio::test]
async fn a_waiter_survives_cuts_and_the_end_of_its_session() {
    let (fixture, proxy, zk) = start_proxied("survives", LONG).await;
    let other = connect(&fixture).await;
    barrier(&other).set().await.unwrap();
    let waiter = wait(&zk);
    stands_still(&zk, &waiter).await;
    for _ in 0..3 {
        proxy.cut();
        stands_still(&zk, &waiter).await;
    }
    expire_and_follow(&fixture, &zk).await;
    stands_still(&zk, &waiter).await;
    barrier(&other).lift().await.unwrap();
    passes(waiter).await;
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

#[tokio::test]
async fn calls_on_a_closed_coordinator_fail_and_bad_paths_are_refused() {
    let (fixture, [zk, other]) = start_each("closed").await;
    barrier(&other).set().await.unwrap();
    let (gate, waiter) = (barrier(&zk), wait(&zk));
    stands_still(&zk, &waiter).await;
    zk.clone().close().await;
    assert_eq!(within(PATIENCE, "told", waiter).await.unwrap(), Err(Error::Closed));
    assert_eq!(gate.set().await, Err(Error::Closed));
    assert_eq!(gate.lift().await, Err(Error::Closed));
    assert!(matches!(Barrier::new(&other, "gate"), Err(Error::InvalidPath { .. })));
    barrier(&other).lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// Our delete is applied, its reply is lost, and somebody closes the barrier before we are back.
#[tokio::test]
async fn a_lift_whose_reply_is_lost_does_not_open_a_barrier_that_was_closed_since() {
    let (fixture, proxy, zk) = start_proxied("lift", LONG).await;
    let other = connect(&fixture).await;
    barrier(&zk).set().await.unwrap();
    let fault = proxy.inject(When::request(Op::Multi), Injection::SilenceReply);
    let lifting = tokio::spawn({
        let gate = barrier(&zk);
        async move { gate.lift().await }
    });
    fault.fired().await;
    eventually(PATIENCE, "lifted", || async {
        fixture.raw().check_stat(PATH).await.unwrap().is_none()
    })
    .await;
    barrier(&other).set().await.unwrap();
    proxy.cut();
    proxy.heal();
    within(PATIENCE, "lifted", lifting).await.unwrap().unwrap();
    assert!(fixture.raw().check_stat(PATH).await.unwrap().is_some(), "closed since");
    barrier(&other).lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// What somebody has been told of is seen, also by one whose server lags.
#[tokio::test]
async fn a_barrier_is_seen_through_a_server_that_lags() {
    let fixture = Fixture::with_embedded_server("lag").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let _lag = faults(&fixture).lag_reads(session_id(&zk).await, 1_000);
    barrier(&other).set().await.unwrap();
    let waiter = wait(&zk);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiter.is_finished(), "passed a closed barrier");
    waiter.abort();
    barrier(&other).lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// CURATOR-654: the watch of a wait that is over stays.
#[tokio::test]
async fn curator_654_a_wait_that_times_out_leaves_no_watch() {
    let fixture = Fixture::with_own_server("watches").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    barrier(&other).set().await.unwrap();
    let watches = || async {
        let counts = zookeeper_testkit::four_letter::mntr(fixture.server().addr())
            .await
            .unwrap();
        counts["zk_watch_count"].parse::<usize>().unwrap()
    };
    let before = watches().await;
    let gate = barrier(&zk);
    for _ in 0..10 {
        let timed = gate.wait_timeout(Duration::from_millis(20)).await;
        assert!(matches!(timed, Err(WaitTimeoutError::Elapsed { .. })));
        tokio::select! {
            biased;
            waited = gate.wait() => panic!("{waited:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    eventually(PATIENCE, "no watch is left", || async { watches().await == before }).await;
    gate.lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// Whether a call that was dropped has closed or opened the barrier is open; that the next calls do what they say is not.
#[tokio::test]
async fn calls_dropped_at_any_await_point_leave_nothing_behind_them() {
    let (fixture, [zk, other]) = start_each("cancelled").await;
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for form in ["set", "lift", "wait", "wait_timeout"] {
        for polls in 0.. {
            rounds += 1;
            if form != "set" {
                barrier(&other).set().await.unwrap();
            }
            let gate = barrier(&zk);
            let attempt = Box::pin(async move {
                match form {
                    "set" => gate.set().await.unwrap(),
                    "lift" => gate.lift().await.unwrap(),
                    "wait" => gate.wait().await.unwrap(),
                    _ => gate.wait_timeout(LONG).await.unwrap(),
                }
            });
            let is_over = drop_after(polls, attempt, &zk).await;
            let again = barrier(&other);
            again.set().await.unwrap();
            let waiter = wait(&zk);
            again.lift().await.unwrap();
            passes(waiter).await;
            if is_over {
                break;
            }
        }
    }
    assert!(rounds > 8, "nothing was dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("barrier", |_, zk, path| async move {
        let gate = Barrier::new(&zk, &format!("{path}/gate")).unwrap();
        gate.set().await.unwrap();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.wait().await }
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!waiting.is_finished(), "passed a closed barrier");
        gate.lift().await.unwrap();
        waiting.await.unwrap().unwrap();
        gate.wait().await.unwrap();
    })
    .await;
}
