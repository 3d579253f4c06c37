//! Availability: waits end, leases last on slow links, work ends before the next hold begins, and users learn why.

mod blocked_runtimes;
mod connect_strings;
mod dead_guards;
mod faults;
mod forged;
mod lapses;
mod late_proofs;
mod outside_runtimes;
mod rights;
mod slow_links;
mod told;
#[cfg(feature = "serde")]
mod typed_pops;
mod waits;

mod chosen_runtimes;
mod ephemeral_bytes;
mod long_waits;
mod timeout_errors;
mod unknown_hosts;

use std::fmt::Display;
use std::time::Duration;

use zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::Hold;
use zookeeper_testkit::Fixture;

const LOCK: &str = "/lock";

/// Creates `path` as a persistent node: the server would reap a container between two rounds.
async fn directory(fixture: &Fixture, path: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let created = fixture.raw().create(path, b"", &options).await;
    created.unwrap_or_else(|err| panic!("{path}: {err}"));
}

/// Shows that `hold` is not lost for as long as `period`.
async fn assert_held_for(hold: &Hold, period: Duration, what: impl Display) {
    let started = std::time::Instant::now();
    if let Ok(reason) = tokio::time::timeout(period, hold.lost()).await {
        panic!("{what}: lost {:?} after {:?}", reason, started.elapsed());
    }
    assert!(hold.is_held(), "{what}");
}
