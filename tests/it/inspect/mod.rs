//! What the inspector says of what stands there, whatever client made it.

mod dead_locks;
mod observing;
mod places;
mod reasons;

use std::time::Duration;

use zookeeper_recipes::inspect::{Inspector, PlaceInfo};
use zookeeper_recipes::zookeeper_client::CreateMode;
use zookeeper_recipes::{ConnectOptions, Coordinator};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE, create};

/// A guid of Curator's and one of kazoo's.
const UUID: &str = "2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11";
const HEX: &str = "2c3b1a4e9f4b4a578a587a1d2c9b0e11";

/// A session that says of itself that it is `identity`.
async fn connect_as(fixture: &Fixture, identity: &str) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(LONG).identity(identity);
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}

/// Nodes as others would make them: `U` and `H` stand for guids, a path that ends in `!` is ephemeral.
async fn make(fixture: &Fixture, paths: &[&str]) {
    for path in paths {
        let mode = match path.ends_with('!') {
            true => CreateMode::Ephemeral,
            false => CreateMode::Persistent,
        };
        let path = path.trim_end_matches('!').replace('U', UUID).replace('H', HEX);
        create(fixture, &path, mode).await;
    }
}

/// `path kind count`, with a `?` where there is a doubt, of each place but nodes that are mere directories.
fn told(places: &[PlaceInfo]) -> Vec<String> {
    let told = places.iter().filter(|place| place.kind.to_string() != "node");
    told.map(|place| {
        let doubt = if place.certain { "" } else { "?" };
        format!("{} {}{doubt} {}", place.path, place.kind, place.count)
    })
    .collect()
}

async fn places(inspector: &Inspector, tree: &str) -> Vec<PlaceInfo> {
    within(PATIENCE, "a walk", inspector.places(tree)).await.unwrap()
}

const SECOND: Duration = Duration::from_secs(1);
