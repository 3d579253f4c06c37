//! A waiter whose future is not polled while its turn comes: the list of its turn is asked for without it.

use std::future::Future;
use std::pin::Pin;

use zookeeper_recipes::{Error, FairLockGuard};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::cost::Counted;
use crate::support::{PATIENCE, acquire, connect, lock};

type Waiting = Pin<Box<dyn Future<Output = Result<FairLockGuard, Error>>>>;

/// A waiter behind a holder that went when nobody polled it any more; its list has been answered.
async fn waiter_whose_turn_came(fixture: &Fixture, counted: &Counted) -> Waiting {
    let holder = acquire(&lock(&connect(fixture).await, "/l")).await;
    let own = lock(&counted.zk, "/l");
    let mut waiting: Waiting = Box::pin(async move { own.acquire().await });
    let waits = eventually(PATIENCE, "it waits", || async { counted.zk.stats().waiters == 1 });
    tokio::select! {
        biased;
        granted = &mut waiting => panic!("granted while another holds it: {granted:?}"),
        () = waits => {}
    }
    counted.requests(4).await;
    holder.release().await.unwrap();
    eventually(PATIENCE, "the line is listed", || async {
        counted.proxy.requests().lists() == 1
    })
    .await;
    waiting
}

#[tokio::test]
async fn its_turn_costs_one_list() {
    let fixture = Fixture::new("unpolled").await;
    let counted = Counted::connect(&fixture).await;
    let waiting = waiter_whose_turn_came(&fixture, &counted).await;
    let guard = within(PATIENCE, "granted", waiting).await.unwrap();
    counted.assert_one_list_woken().await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_node_removed_meanwhile_is_not_granted() {
    let fixture = Fixture::new("unpolled removed").await;
    let counted = Counted::connect(&fixture).await;
    let waiting = waiter_whose_turn_came(&fixture, &counted).await;
    let removed = format!("/l/{}", fixture.children("/l").await[0]);
    fixture.raw().delete(&removed, None).await.unwrap();
    // What the server has told of it arrives before this.
    counted.requests(1).await;
    let guard = within(PATIENCE, "granted", waiting).await.unwrap();
    assert_ne!(guard.path(), removed);
    assert!(guard.is_held());
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn dropped_it_leaves_nothing() {
    let fixture = Fixture::new("unpolled dropped").await;
    let counted = Counted::connect(&fixture).await;
    drop(waiter_whose_turn_came(&fixture, &counted).await);
    acquire(&lock(&counted.zk, "/l")).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}
