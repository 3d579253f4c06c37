//! Replies that are lost.

use std::time::Duration;

use zookeeper_recipes::DoubleBarrier;
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually};

use super::{PATH, all_leave, enter, entered, leave, left};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to};

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    for we_come_last in [false, true] {
        strike_each_request("double barrier", move |fixture, zk, path| async move {
            let other = connect(&fixture).await;
            let (mine, theirs) = (
                DoubleBarrier::new(&zk, &path, 2).unwrap(),
                DoubleBarrier::new(&other, &path, 2).unwrap(),
            );
            let (first, last) = if we_come_last { (theirs, mine) } else { (mine, theirs) };
            let entering = tokio::spawn({
                let first = first.clone();
                async move { first.enter().await }
            });
            eventually(PATIENCE, "one is there", || async {
                fixture.children(&path).await.len() == 1
            })
            .await;
            assert!(!entering.is_finished());
            let last = last.enter().await.unwrap();
            let first = entering.await.unwrap().unwrap();
            assert!(first.is_held() && last.is_held());
            let leaving = leave(first);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!leaving.is_finished(), "left while one is inside");
            last.leave().await.unwrap();
            left(leaving).await;
            assert!(fixture.children(&path).await.is_empty());
        })
        .await;
    }
}

/// The connection breaks at the transaction that opens the barrier, on a real server as well.
#[tokio::test]
async fn an_opening_whose_reply_is_lost_is_seen() {
    let fixture = Fixture::new("lost opening").await;
    let (proxy, servers) = fixture.proxied().await;
    let zks = [connect(&fixture).await, connect_to(&servers, LONG).await];
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let one = enter(&zks[0], 2, 1).await;
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let two = enter(&zks[1], 2, 0).await;
        fault.fired().await;
        all_leave([entered(one).await, entered(two).await]).await;
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}
