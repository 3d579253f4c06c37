//! A waiter sees its own end while it waits for anything else.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::SessionState;
use zookeeper_testkit::{Fixture, Proxy};

use super::directory;
use crate::support::sessions::{Acquiring, reached};
use crate::support::{LONG, acquire, connect, connect_to, lock};

const LANES: usize = 10;
const ROUNDS_PER_LANE: usize = 20;

#[tokio::test]
async fn a_waiter_deleted_unseen_is_granted() {
    two_hundred_rounds("deleted behind a cut").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_threads_grant_a_waiter_deleted_unseen() {
    two_hundred_rounds("deleted behind a cut, two threads").await;
}

async fn two_hundred_rounds(name: &str) {
    let fixture = Fixture::new(name).await;
    future::join_all((0..LANES).map(|lane| rounds(&fixture, lane))).await;
    let paths: Vec<String> = (0..LANES).map(path).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left(&paths).await;
}

fn path(lane: usize) -> String {
    format!("/lane-{lane}")
}

async fn rounds(fixture: &Fixture, lane: usize) {
    let path = path(lane);
    directory(fixture, &path).await;
    let (proxy, servers) = fixture.proxied().await;
    let (cut_off, other) = (connect_to(&servers, LONG).await, connect(fixture).await);
    for round in 0..ROUNDS_PER_LANE {
        let holder = acquire(&lock(&other, &path)).await;
        let waiter = Acquiring::start_at(fixture, &lock(&cut_off, &path), 1).await;
        // An event that reaches the waiter at each stage of its way into the line, over the rounds.
        tokio::time::sleep(Duration::from_millis(2 * round as u64)).await;
        proxy.refuse().await;
        reached(&mut cut_off.states(), SessionState::Suspended).await;
        delete_line(fixture, &path).await;
        drop(holder);
        reconnect(&proxy).await;
        let guard = waiter.granted().await;
        guard.release().await.unwrap();
    }
}

async fn delete_line(fixture: &Fixture, path: &str) {
    for child in fixture.children(path).await {
        // The holder may have given its node back meanwhile.
        let _ = fixture.raw().delete(&format!("{path}/{child}"), None).await;
    }
    fixture.until_children(path, 0).await;
}

async fn reconnect(proxy: &Proxy) {
    proxy.reset_counts();
    proxy.accept().await;
}
