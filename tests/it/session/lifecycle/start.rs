//! Connecting in the background, and a chroot that is made.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use zookeeper_recipes::zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectError, ConnectOptions, Error, SessionState};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, lock};

#[tokio::test]
async fn a_lazy_coordinator_works_once_the_ensemble_does() {
    let fixture = Fixture::new("lazy").await;
    let (proxy, servers) = fixture.proxied().await;
    proxy.refuse().await;
    let options = ConnectOptions::new().session_timeout(LONG).lazy(true);
    let began = Instant::now();
    let zk = options.connect(&servers).await.unwrap();
    assert!(began.elapsed() < LONG / 3, "it did not wait");
    assert_eq!(zk.states().current(), SessionState::Connecting);
    let waiting = tokio::spawn({
        let lock = lock(&zk, "/l");
        async move { lock.acquire().await }
    });
    eventually(PATIENCE, "health says why", || async {
        let health = zk.health();
        health.is_live && !health.is_ready && health.message.contains(": ")
    })
    .await;
    println!("{}", zk.health());

    proxy.accept().await;
    let guard = within(PATIENCE, "it connects by itself", waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(zk.health().is_ready, "{}", zk.health());
    assert_eq!(zk.states().current(), SessionState::Connected);
    guard.release().await.unwrap();
    zk.close().await;
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_lazy_coordinator_closes_before_it_has_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let options = ConnectOptions::new().session_timeout(LONG).lazy(true);
    let zk = options.connect(&silent).await.unwrap();
    let waiting = tokio::spawn({
        let lock = lock(&zk, "/l");
        async move { lock.acquire().await }
    });
    let clone = zk.clone();
    within(LONG / 3, "closed", zk.close()).await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), Error::Closed);
    assert_eq!(clone.states().current(), SessionState::Closed);
    assert!(!clone.health().is_live);
}

#[tokio::test]
async fn a_malformed_connect_string_fails_at_once() {
    let lazy = ConnectOptions::new().lazy(true).connect("host:notaport").await;
    assert!(matches!(lazy, Err(ConnectError::ConnectString { .. })), "{lazy:?}");
}

#[tokio::test]
async fn a_chroot_is_made_if_asked_for() {
    let fixture = Fixture::new("chroot").await;
    let servers = format!("{}/a/b/c", fixture.connect_string());
    let refused = ConnectOptions::new().connect(&servers).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NoChroot { .. }), "{refused}");
    for lazy in [false, true] {
        let servers = format!("{servers}/{lazy}");
        let options = ConnectOptions::new()
            .session_timeout(LONG)
            .lazy(lazy)
            .create_chroot(true);
        let zk = within(PATIENCE, "connected", options.connect(&servers)).await.unwrap();
        let guard = acquire(&lock(&zk, "/l")).await;
        guard.release().await.unwrap();
        zk.close().await;
    }
    let made = fixture.raw().get_children("/a/b/c").await.unwrap().0;
    assert_eq!(made.len(), 2, "{made:?}");
    fixture.assert_no_nodes_left(&[]).await;
}

/// Rights on what is above are needed only where something is missing.
#[tokio::test]
async fn a_chroot_without_rights_is_denied() {
    let fixture = Fixture::new("chroot denied").await;
    let root: Client = fixture.connect().await;
    let read_only = Acls::anyone_read();
    let mode = CreateMode::Persistent.with_acls(read_only);
    root.create("/locked", b"", &mode).await.unwrap();
    let servers = format!("{}/locked/ours", fixture.connect_string());
    let options = ConnectOptions::new()
        .session_timeout(Duration::from_secs(4))
        .create_chroot(true);
    let error = within(PATIENCE, "an answer", options.connect(&servers))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::CreateChroot { .. }), "{error:?}");
    assert!(error.to_string().contains("could not be made"), "{error}");
}
