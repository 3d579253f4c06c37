//! Replies that are lost.

use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{PATHS, all, counts, only_child, take};
use crate::support::{PATIENCE, connect, connect_to, granted, start_proxied};

#[tokio::test]
async fn contenders_of_a_lost_reply_are_found_again() {
    let fixture = Fixture::new("lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for dirs in ["missing", "there"] {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, PATIENCE).await;
            // Where the directories are missing, the first transaction is refused.
            let nth = if dirs == "missing" { 2 } else { 1 };
            if dirs == "missing" {
                for path in PATHS {
                    let _ = fixture.raw().delete(path, None).await;
                }
            }
            let fault = proxy.inject(When::request(Op::Multi).path("-lock-").nth(nth), injection);
            let guard = take(&all(&zk)).await;
            fault.fired().await;
            assert!(guard.is_held());
            assert_eq!(counts(&fixture).await, [1, 1, 1], "{injection:?}, {dirs}");
            let stat = fixture.tree().await[guard.path()];
            assert_eq!(stat.czxid, guard.token().as_i64());
            guard.release().await.unwrap();
            fixture.assert_no_nodes_left(&PATHS).await;
        }
    }
}

/// Of the nodes of a transaction whose reply is lost, somebody deletes one before they are found: the order of the
/// lines is broken, so all lines are joined anew.
#[tokio::test]
async fn an_incomplete_set_of_nodes_is_given_up() {
    let (fixture, proxy, zk) = start_proxied("lost reply, delete", PATIENCE).await;
    let other = connect(&fixture).await;
    take(&all(&other)).await.release().await.unwrap();
    let fault = proxy.inject(When::request(Op::Multi).path("-lock-"), Injection::SilenceReply);
    let pending = tokio::spawn({
        let locks = all(&zk);
        async move { locks.acquire().await }
    });
    fault.fired().await;
    let own = only_child(&fixture, PATHS[1]).await;
    let first = only_child(&fixture, PATHS[0]).await;
    fixture.raw().delete(&own, None).await.unwrap();
    proxy.refuse().await;
    proxy.heal();
    proxy.accept().await;
    let guard = granted(pending).await;
    assert_ne!(guard.path(), first);
    for path in PATHS {
        fixture.until_children(path, 1).await;
    }
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn a_release_whose_reply_is_lost_is_resolved() {
    let fixture = Fixture::new("release, lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, PATIENCE).await;
        let guard = take(&all(&zk)).await;
        let fault = proxy.inject(When::request(Op::Multi).path("-lock-"), injection);
        within(PATIENCE, "released", guard.release()).await.unwrap();
        fault.fired().await;
        assert_eq!(counts(&fixture).await, [0, 0, 0], "{injection:?}");
        fixture.assert_no_nodes_left(&PATHS).await;
    }
}
