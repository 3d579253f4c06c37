//! needs: `AcquireTimeoutError::Elapsed { path, after, connected, blocker }`
//!
//! An acquire that timed out says whether the ensemble answered, and who is ahead.

use std::time::Duration;

use zookeeper_recipes::{
    AcquireTimeoutError, ConnectOptions, Contender, Coordinator, LeaderElection, MultiLock, Relay, RwLock, SessionState,
};
use zookeeper_testkit::{Fixture, within};

use super::LOCK;
use crate::support::sessions::reached;
use crate::support::{LONG, PATIENCE, acquire, connect, join_line, lock, start_proxied};

const LIMIT: Duration = Duration::from_millis(500);

async fn connect_as(fixture: &Fixture, identity: &str) -> Coordinator {
    let options = ConnectOptions::new()
        .session_timeout(LONG)
        .identity(identity.to_owned());
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}

/// The blocker that a timeout at `path` names.
fn blocker(error: AcquireTimeoutError, at: &str) -> Option<Contender> {
    let text = error.to_string();
    match error {
        AcquireTimeoutError::Elapsed {
            path,
            after,
            connected,
            blocker,
        } => {
            assert_eq!((path.as_str(), after, connected), (at, LIMIT, true));
            assert!(text.contains(at), "{text}");
            blocker.map(|blocker| *blocker)
        }
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_timeout_names_the_holder() {
    let fixture = Fixture::new("timeout names").await;
    let (holder, zk) = (connect_as(&fixture, "settlement-7").await, connect(&fixture).await);
    let guard = acquire(&lock(&holder, LOCK)).await;
    let error = lock(&zk, LOCK).acquire_timeout(LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("settlement-7"), "{error}");
    assert!(error.to_string().contains(&guard.token().to_string()), "{error}");
    let blocker = blocker(error, LOCK).expect("a contender is ahead");
    assert_eq!((blocker.token, blocker.path.as_str()), (guard.token(), guard.path()));
    assert_eq!(blocker.identity, "settlement-7");
    assert!(blocker.is_holder);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

/// The one that is waited for is the nearest that conflicts, not the head of the line.
#[tokio::test]
async fn a_timeout_names_the_waiter_just_ahead() {
    let fixture = Fixture::new("timeout names a waiter").await;
    let (holder, ahead, zk) = (
        connect_as(&fixture, "holder").await,
        connect_as(&fixture, "ahead").await,
        connect(&fixture).await,
    );
    let guard = acquire(&lock(&holder, LOCK)).await;
    let waiter = join_line(&fixture, &lock(&ahead, LOCK), 2).await;
    let error = lock(&zk, LOCK).acquire_timeout(LIMIT).await.unwrap_err();
    let blocker = blocker(error, LOCK).expect("a contender is ahead");
    assert_eq!(blocker.identity, "ahead");
    assert!(!blocker.is_holder);
    waiter.abort();
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn every_line_names_who_is_ahead() {
    let fixture = Fixture::new("timeouts of all lines").await;
    let (holder, zk) = (connect_as(&fixture, "holder").await, connect(&fixture).await);
    let holds = (
        RwLock::new(&holder, "/rw").unwrap().write().await.unwrap(),
        MultiLock::new(&holder, ["/m1", "/m2"])
            .unwrap()
            .acquire()
            .await
            .unwrap(),
        LeaderElection::new(&holder, "/e")
            .unwrap()
            .campaign("holder")
            .await
            .unwrap(),
        Relay::new(&holder, "/r").unwrap().join().await.unwrap(),
    );
    let errors = [
        (
            "/rw",
            RwLock::new(&zk, "/rw").unwrap().read_timeout(LIMIT).await.unwrap_err(),
        ),
        (
            "/rw",
            RwLock::new(&zk, "/rw").unwrap().write_timeout(LIMIT).await.unwrap_err(),
        ),
        (
            "/m2",
            MultiLock::new(&zk, ["/m2"])
                .unwrap()
                .acquire_timeout(LIMIT)
                .await
                .unwrap_err(),
        ),
        (
            "/e",
            LeaderElection::new(&zk, "/e")
                .unwrap()
                .campaign_timeout("", LIMIT)
                .await
                .unwrap_err(),
        ),
        (
            "/r",
            Relay::new(&zk, "/r").unwrap().join_timeout(LIMIT).await.unwrap_err(),
        ),
    ];
    for (path, error) in errors {
        let blocker = blocker(error, path).unwrap_or_else(|| panic!("{path}: no blocker named"));
        assert_eq!(blocker.identity, "holder", "{path}");
    }
    drop(holds);
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_timeout_without_a_connection_says_so() {
    let (fixture, proxy, zk) = start_proxied("timeout, cut off", LONG).await;
    proxy.refuse().await;
    reached(&mut zk.states(), SessionState::Suspended).await;
    let error = lock(&zk, LOCK).acquire_timeout(LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("not connected"), "{error}");
    assert!(
        matches!(&error, AcquireTimeoutError::Elapsed { connected: false, blocker: None, path, .. } if path == LOCK),
        "{error:?}"
    );
    proxy.accept().await;
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
