//! Revocation between `FairLock` and Curator's `InterProcessMutex`, asked for in both directions.

use zookeeper_recipes::{FairLock, Lost, Revocation};
use zookeeper_testkit::{Fixture, within};

use crate::line::still_waits;
use crate::peer::Peer;
use crate::support::{LONG, PATIENCE, connect};

const PATH: &str = "/lock";

#[tokio::test]
async fn curators_revoker_asks_a_holder_of_ours() {
    let fixture = Fixture::new("curators_revoker_asks_a_holder_of_ours").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "mutex", PATH).await;
    let guard = FairLock::new(&zk, PATH)
        .expect("a path")
        .acquire()
        .await
        .expect("granted");
    let node = fixture.children(PATH).await.remove(0);
    java.ask(&format!("revoke {node}")).await;
    let asked: Result<Revocation, Lost> = within(PATIENCE, "the holder is asked", guard.revocation()).await;
    let revocation = asked.expect("it is held");
    assert_eq!(
        (revocation.requester, revocation.reason),
        (None, None),
        "Curator does not say"
    );
    assert!(guard.is_held(), "it decides itself");
    guard.release().await.expect("held until now");
    java.ask("acquire").await;
    java.ask("release").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn we_ask_a_holder_of_curators() {
    let fixture = Fixture::new("we_ask_a_holder_of_curators").await;
    let zk = connect(&fixture).await;
    let lock = FairLock::new(&zk, PATH).expect("a path");
    let servers = fixture.connect_string();
    let java = Peer::curator()
        .actor_with(&servers, LONG, "mutex", PATH, &["revocable"])
        .await;
    java.ask("acquire").await;
    let holder = lock.contenders().await.expect("listed").remove(0);
    let asked = java.tell("await-revocation");
    assert!(still_waits(&asked).await);
    assert!(
        lock.request_revocation(&holder, "the nightly run is due")
            .await
            .expect("asked")
    );
    assert_eq!(asked.done().await, "revoked");
    // All that Curator understands.
    let (data, _) = fixture.raw().get_data(&holder.path).await.expect("it still holds");
    assert_eq!(data, b"__REVOKE__");
    java.ask("release").await;
    assert!(!lock.request_revocation(&holder, "too late").await.expect("asked"));
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Curator listens only where it was told to before it acquired.
#[tokio::test]
async fn a_holder_of_curators_that_does_not_listen_keeps_the_lock() {
    let fixture = Fixture::new("a_holder_of_curators_that_does_not_listen").await;
    let zk = connect(&fixture).await;
    let lock = FairLock::new(&zk, PATH).expect("a path");
    let java = Peer::curator().actor(&fixture, "mutex", PATH).await;
    java.ask("acquire").await;
    let holder = lock.contenders().await.expect("listed").remove(0);
    assert!(lock.request_revocation(&holder, "please").await.expect("asked"));
    let asked = lock.contenders().await.expect("listed");
    assert_eq!(&asked[0].identity[..], b"__REVOKE__");
    assert_eq!(java.ask("await-revocation 200").await, "timeout");
    java.ask("release").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}
