//! How fast one client creates and deletes nodes, and how long a server takes to start.
//!
//! `cargo bench -p zookeeper-embedded`; with `--features conformance` also against a real standalone ZooKeeper, which
//! needs a JVM.

use std::time::{Duration, Instant};

use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_embedded::Server;

#[cfg(feature = "conformance")]
#[path = "../tests/conformance/real.rs"]
mod real;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);

fn main() {
    // `cargo test --all-targets` runs benches, too: without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let starts = 200;
        let mut slowest = Duration::ZERO;
        let began = Instant::now();
        for _ in 0..starts {
            let began = Instant::now();
            let server = Server::start().await.expect("started");
            slowest = slowest.max(began.elapsed());
            drop(server);
        }
        println!(
            "start and stop: {:.0?} on average, slowest start {slowest:.0?}",
            began.elapsed() / starts
        );

        let server = Server::start().await.expect("started");
        let embedded = best_rate(&server.connect_string()).await;
        println!("embedded: {embedded:.0} create+delete pairs a second, one client, one at a time");
        compare(embedded).await;
    });
}

#[cfg(feature = "conformance")]
async fn compare(embedded: f64) {
    for (sync, about) in [(true, "as it comes"), (false, "without waiting for the disk")] {
        let server = real::RealServer::start(sync);
        // A warm JVM is compared, not a cold one.
        best_rate(&server.address.to_string()).await;
        let rate = best_rate(&server.address.to_string()).await;
        println!(
            "real, {about}: {rate:.0} a second; embedded is {:.1} times as fast",
            embedded / rate
        );
    }
}

#[cfg(not(feature = "conformance"))]
async fn compare(_embedded: f64) {
    println!("run with --features conformance to compare with a real server");
}

/// The best of a few rounds: what the server can do, rather than what else the machine did meanwhile.
async fn best_rate(address: &str) -> f64 {
    let client = Client::connect(address).await.expect("connected");
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut pairs = 0;
        while began.elapsed() < ROUND {
            client.create("/bench", b"payload", &options).await.expect("created");
            client.delete("/bench", None).await.expect("deleted");
            pairs += 1;
        }
        best = best.max(f64::from(pairs) / began.elapsed().as_secs_f64());
    }
    best
}
