//! needs: `ConnectOptions::long_wait(Duration)`
//!
//! A wait that is longer than a threshold is a WARN that names the holder, once.

use std::time::Duration;

use tracing::Level;
use zookeeper_recipes::{ConnectOptions, Coordinator};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::events;
use crate::support::{LONG, PATIENCE, acquire, granted, join_line, lock};

const THRESHOLD: Duration = Duration::from_millis(300);

async fn connect_as(fixture: &Fixture, identity: &str, threshold: Duration) -> Coordinator {
    events::record();
    let options = ConnectOptions::new()
        .session_timeout(LONG)
        .identity(identity.to_owned())
        .long_wait(threshold);
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}

fn warnings_of(path: &str, holder: &str) -> usize {
    let warnings = events::about(Level::WARN, path);
    warnings.iter().filter(|warning| warning.contains(holder)).count()
}

#[tokio::test]
async fn a_warning_of_long_waits_names_the_holder() {
    let path = "/long-wait";
    let fixture = Fixture::new("long wait").await;
    let holder = connect_as(&fixture, "holder-of-long-wait", THRESHOLD).await;
    let patient = connect_as(&fixture, "patient", LONG).await;
    let zk = connect_as(&fixture, "waiter", THRESHOLD).await;
    let guard = acquire(&lock(&holder, path)).await;
    let first = join_line(&fixture, &lock(&zk, path), 2).await;
    let second = join_line(&fixture, &lock(&patient, path), 3).await;
    eventually(PATIENCE, "a WARN that names the holder", || async {
        warnings_of(path, "holder-of-long-wait") == 1
    })
    .await;
    guard.release().await.unwrap();
    granted(first).await.release().await.unwrap();
    granted(second).await.release().await.unwrap();
    assert_eq!(
        warnings_of(path, "holder-of-long-wait"),
        1,
        "the patient one says nothing"
    );
    fixture.assert_no_nodes_left(&[path]).await;
}

#[tokio::test]
async fn a_short_wait_is_no_warning() {
    let path = "/short-wait";
    let fixture = Fixture::new("short wait").await;
    let (holder, zk) = (
        connect_as(&fixture, "holder-of-short-wait", LONG).await,
        connect_as(&fixture, "waiter", LONG).await,
    );
    let guard = acquire(&lock(&holder, path)).await;
    let waiter = join_line(&fixture, &lock(&zk, path), 2).await;
    tokio::time::sleep(2 * THRESHOLD).await;
    guard.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    assert_eq!(events::about(Level::WARN, path), [""; 0]);
    fixture.assert_no_nodes_left(&[path]).await;
}
