//! Replies that are lost.

use std::time::Duration;

use zookeeper_recipes::Barrier;
use zookeeper_testkit::{Injection, Op, When, eventually, within};

use super::{PATH, barrier};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, start_proxied};

/// Our delete is applied, its reply is lost, and somebody closes the barrier before we are back.
#[tokio::test]
async fn a_lost_lift_spares_a_newer_barrier() {
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
