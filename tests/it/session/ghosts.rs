//! A process that crashed and was restarted fast finds the node of its former session.

use std::time::Duration;

use tracing::Level;
use zookeeper_recipes::{ConnectOptions, Coordinator, LeaderElection};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::events;
use crate::support::{LONG, PATIENCE, acquire, assert_waits, granted, join_line, lock, stand_in_line};

const SHORT: Duration = Duration::from_secs(2);

async fn start(servers: &str, identity: &str, timeout: Duration) -> Coordinator {
    events::record();
    let options = ConnectOptions::new().session_timeout(timeout).identity(identity);
    within(PATIENCE, "a session", options.connect(servers)).await.unwrap()
}

fn told(part: &str) -> bool {
    events::about(Level::INFO, "former session of this process")
        .iter()
        .any(|event| event.contains(part))
}

#[tokio::test]
async fn a_restarted_process_awaits_its_former_session() {
    let fixture = Fixture::new("own ghost").await;
    let (proxy, servers) = fixture.proxied().await;
    // As a process that crashed: its session lives on at the server.
    let former = start(&servers, "ghost-lock", SHORT).await;
    let crashed = acquire(&lock(&former, "/l")).await;
    proxy.black_hole();
    let ghost = crashed.path().to_owned();

    let zk = start(&fixture.connect_string(), "ghost-lock", LONG).await;
    let waiting = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    eventually(PATIENCE, "it is told", || async { told(&ghost) }).await;
    assert!(fixture.tree().await.contains_key(&ghost), "it is not ended");
    let guard = granted(waiting).await;
    assert!(!fixture.tree().await.contains_key(&ghost), "its session has expired");
    assert_ne!(guard.path(), ghost, "it is not taken over");
    guard.release().await.unwrap();
    drop((crashed, former));
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// The process that looks dead may be frozen, or there are two with one identity.
#[tokio::test]
async fn a_ghost_that_lives_keeps_its_leadership() {
    let fixture = Fixture::new("living ghost").await;
    let servers = fixture.connect_string();
    let (first, second) = (
        start(&servers, "ghost-e", SHORT).await,
        start(&servers, "ghost-e", SHORT).await,
    );
    let election = |zk: &Coordinator| LeaderElection::new(zk, "/e").unwrap();
    let leadership = within(PATIENCE, "elected", election(&first).campaign("ghost-e"))
        .await
        .unwrap();
    let candidate = election(&second);
    let waiting = stand_in_line(&fixture, "/e", 2, async move { candidate.campaign("ghost-e").await }).await;
    eventually(PATIENCE, "it is told", || async { told(leadership.path()) }).await;
    tokio::time::sleep(SHORT * 2).await;
    assert_waits(&waiting).await;
    assert!(leadership.is_held());
    leadership.resign().await.unwrap();
    granted(waiting).await.resign().await.unwrap();
    fixture.assert_no_nodes_left(&["/e"]).await;
}

#[tokio::test]
async fn others_are_no_ghosts() {
    let fixture = Fixture::new("no ghost").await;
    let servers = fixture.connect_string();
    let (first, second) = (
        start(&servers, "no-ghost-1", LONG).await,
        start(&servers, "no-ghost-2", LONG).await,
    );
    let guard = acquire(&lock(&first, "/l")).await;
    let other = join_line(&fixture, &lock(&second, "/l"), 2).await;
    // Behind a place of its own that lives.
    let own = join_line(&fixture, &lock(&second, "/l"), 3).await;
    assert_waits(&own).await;
    guard.release().await.unwrap();
    granted(other).await.release().await.unwrap();
    granted(own).await.release().await.unwrap();
    assert!(!told("no-ghost"));
    fixture.assert_no_nodes_left(&["/l"]).await;
}
