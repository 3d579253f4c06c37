//! An inspector on a tree of 10,000 locks with 20,000 waiters: how long it takes, how many requests are in flight, how much
//! memory it needs.
//!
//!     cargo bench --bench inspect                      10,000 locks, a real server
//!     INSPECT_LOCKS=1000 cargo bench --bench inspect   fewer

#![allow(clippy::unwrap_used, reason = "a bench that fails shows where")]

#[path = "common/server.rs"]
mod server;

use std::time::Instant;

use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use zookeeper_recipes::inspect::doctor::Doctor;
use zookeeper_recipes::inspect::{Detail, Inspector};
use zookeeper_recipes::zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_testkit::ServerOptions;

use self::server::BenchServer;

/// The contenders are shared by so many sessions, since each may own only so many bytes of paths.
const SESSIONS: usize = 9;

#[tokio::main]
async fn main() {
    let locks: usize = std::env::var("INSPECT_LOCKS").map_or(10_000, |locks| locks.parse().unwrap());
    let server = BenchServer::find_or_start(ServerOptions::default()).await;
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(Client::connect(server.cluster()).await.unwrap());
    }
    let root = format!("/inspect-{}", std::process::id());
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    clients[0].create(&root, b"", &persistent).await.unwrap();
    let began = Instant::now();
    let creates = (0..locks).map(|lock| fill(&clients, &root, lock));
    stream::iter(creates).buffer_unordered(64).collect::<Vec<()>>().await;
    println!(
        "made {locks} locks with {} waiters in {:.1?}",
        2 * locks,
        began.elapsed()
    );

    let zk = zookeeper_recipes::connect(server.cluster()).await.unwrap();
    for round in ["places", "counts", "doctor"] {
        let inspector = Inspector::new(&zk);
        let before = reset_peak();
        let began = Instant::now();
        let seen = match round {
            "places" => {
                let places = inspector.places(&root).await.unwrap();
                let waiters: usize = places.iter().map(|place| place.waiters().count()).sum();
                assert_eq!(waiters, 2 * locks);
                format!("{} places kept, {waiters} waiters", places.len())
            }
            "counts" => {
                let mut standing = 0;
                let count = |place: zookeeper_recipes::inspect::PlaceInfo| {
                    standing += if place.kind.is_lock() { place.count } else { 0 };
                };
                inspector.for_each(&root, Detail::Counts, count).await.unwrap();
                assert_eq!(standing, 3 * locks);
                format!("{standing} contenders counted")
            }
            _ => {
                let diagnosis = Doctor::new(&inspector).diagnose(&root).await.unwrap();
                format!(
                    "{} findings, {} waits",
                    diagnosis.findings.len(),
                    diagnosis.graph.waits().len()
                )
            }
        };
        let took = began.elapsed();
        println!(
            "{round}: {seen}; {took:.2?}, {} requests, at most {} in flight; peak memory {} MB, of which {} MB were there before",
            inspector.requests(),
            inspector.most_in_flight(),
            peak() / 1024,
            before / 1024,
        );
        assert!(inspector.most_in_flight() <= 64, "more than 64 requests were in flight");
        assert!(peak() / 1024 < 100, "it needed 100 MB or more");
        assert!(took.as_secs() < 10, "it took 10 s or more");
    }
    let mut deletes = FuturesUnordered::new();
    zk.close().await;
    for client in clients {
        drop(client);
    }
    // The ephemeral nodes go with their sessions; the directories are removed here, where the server is another's.
    if server.own().is_none() {
        let client = Client::connect(server.cluster()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        deletes.extend((0..locks).map(|lock| {
            let (client, path) = (client.clone(), format!("{root}/{lock}"));
            async move { client.delete(&path, None).await }
        }));
        while deletes.next().await.is_some() {}
        let _ = client.delete(&root, None).await;
    }
}

/// A lock with a holder and two waiters, each of another session.
async fn fill(clients: &[Client], root: &str, lock: usize) {
    let path = format!("{root}/{lock}");
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let sequential = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    clients[lock % SESSIONS].create(&path, b"", &persistent).await.unwrap();
    for (place, client) in clients.iter().cycle().skip(lock).take(3).enumerate() {
        let name = format!("{path}/_c_{lock:08x}-{place:04x}-4000-8000-000000000000-lock-");
        let identity = format!("host-{place}:{lock}");
        client.create(&name, identity.as_bytes(), &sequential).await.unwrap();
    }
}

/// The most memory that was resident since the last reset, in kB.
fn peak() -> usize {
    status("VmHWM:")
}

/// Forgets the peak; what is resident now.
fn reset_peak() -> usize {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    status("VmRSS:")
}

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(0)
}
