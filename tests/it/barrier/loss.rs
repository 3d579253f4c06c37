//! Waiters that lose their link or their session.

use super::{barrier, wait};
use crate::support::sessions::expire_and_follow;
use crate::support::{LONG, connect, passes, stands_still, start_proxied};

#[tokio::test]
async fn a_waiter_survives_cuts_and_its_session() {
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
