//! Holds outlive what a healthy ensemble may do: commit slowly, or stall for a moment.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::{ConnectError, ConnectOptions, FairLockGuard};
use zookeeper_testkit::{Fixture, background, within};

use super::assert_held_for;
use crate::support::{PATIENCE, acquire, connect_to, lock};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Link {
    margin_percent: u32,
    round_trip_percent: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_costs_no_hold() {
    let fixture = Fixture::new("slow links").await;
    let link = |margin_percent, round_trip_percent| Link {
        margin_percent,
        round_trip_percent,
    };
    let links = [link(26, 3), link(26, 5), link(26, 8), link(30, 1), link(30, 5)];
    future::join_all(links.map(|link| hold_over(&fixture, link))).await;
    fixture.assert_no_nodes_left(&[]).await;
}

async fn hold_over(fixture: &Fixture, link: Link) {
    let (proxy, servers) = fixture.proxied().await;
    let options = ConnectOptions::new()
        .session_timeout(TIMEOUT)
        .lease_margin(TIMEOUT * link.margin_percent / 100);
    let zk = within(PATIENCE, "a session", options.connect(&servers)).await.unwrap();
    // The lease of the opening is over after that.
    background::sleep(TIMEOUT).await;
    proxy.delay(TIMEOUT * link.round_trip_percent / 200);
    let path = format!("/{}-{}", link.margin_percent, link.round_trip_percent);
    let guard = acquire(&lock(&zk, &path)).await;
    assert_held_for(&guard, TIMEOUT * 5 / 2, format!("{link:?}")).await;
    proxy.delay(Duration::ZERO);
    guard.release().await.unwrap();
}

const STALL_TIMEOUT: Duration = Duration::from_secs(4);
const SESSIONS: usize = 16;
const STALLS: usize = 3;

/// The holds are of all ages when the server stalls: each session takes its own a little later than the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_a_fifth_costs_no_hold() {
    let fixture = Fixture::with_own_server("stalls").await;
    let servers = fixture.connect_string();
    let sessions = future::join_all((0..SESSIONS).map(|_| connect_to(&servers, STALL_TIMEOUT))).await;
    for stall in 0..STALLS {
        let mut guards: Vec<FairLockGuard> = Vec::new();
        for (number, zk) in sessions.iter().enumerate() {
            guards.push(acquire(&lock(zk, &format!("/lock-{number}"))).await);
            background::sleep(STALL_TIMEOUT / 32).await;
        }
        fixture.server().freeze().await;
        background::sleep(STALL_TIMEOUT / 5).await;
        fixture.server().thaw().await;
        let held = guards.iter().enumerate().map(|(number, guard)| {
            let what = format!("stall {stall}, session {number}");
            assert_held_for(guard, STALL_TIMEOUT, what)
        });
        future::join_all(held).await;
        for guard in guards {
            guard.release().await.unwrap();
        }
    }
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_margin_that_leaves_no_lease_is_refused() {
    let fixture = Fixture::new("margins").await;
    for percent in [31, 35, 40] {
        let options = ConnectOptions::new()
            .session_timeout(TIMEOUT)
            .lease_margin(TIMEOUT * percent / 100);
        let error = options.connect(&fixture.connect_string()).await.err();
        assert!(
            matches!(&error, Some(ConnectError::Options { reason }) if reason.contains("margin")),
            "{percent} %: {error:?}"
        );
    }
}
