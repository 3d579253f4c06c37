//! Who passes, and who waits.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, within};

use super::{PATH, barrier, wait};
use crate::support::{
    LONG, PATIENCE, connect, create, elapsed, faults, passes, session_id, stands_still, start, start_each,
    start_proxied,
};

#[tokio::test]
async fn a_closed_barrier_holds_until_it_is_lifted() {
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
async fn a_barrier_outlives_the_session_that_closed_it() {
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
async fn nodes_of_other_clients_close_and_open_it() {
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
async fn waiters_pass_though_it_closes_again() {
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

/// What somebody has been told of is seen, also by one whose server lags.
#[tokio::test]
async fn a_barrier_is_seen_through_lagging_servers() {
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
