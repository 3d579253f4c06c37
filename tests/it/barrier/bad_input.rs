//! Closed coordinators and bad paths.

use zookeeper_recipes::{Barrier, Error};
use zookeeper_testkit::within;

use super::{barrier, wait};
use crate::support::{PATIENCE, stands_still, start_each};

#[tokio::test]
async fn closed_coordinators_and_bad_paths_are_errors() {
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
