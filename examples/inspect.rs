//! What stands in an ensemble: who holds, who waits, and a deadlock. `cargo run --example inspect`
//!
//! On the command line: `zkr ls`, `zkr who`, `zkr doctor`.

use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::inspect::Inspector;
use zookeeper_recipes::inspect::doctor::Doctor;
use zookeeper_recipes::{ConnectOptions, FairLock};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TREE: &str = "/examples/inspect";

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let mut accounts = Vec::new();
    for (name, from) in [("web-1", "anna"), ("web-2", "ben")] {
        // What an operator sees of a contender; the default is host:pid.
        let options = ConnectOptions::new().identity(name);
        let zk = options.connect(ensemble.connect_string()).await?;
        let account = FairLock::new(&zk, &format!("{TREE}/{from}"))?;
        accounts.push((zk, account.acquire_as("transfer").await?));
    }
    // Two locks in two orders: a deadlock. A `MultiLock` takes both or none.
    let mut waits = Vec::new();
    for ((zk, _), to) in accounts.iter().zip(["ben", "anna"]) {
        let account = FairLock::new(zk, &format!("{TREE}/{to}"))?;
        waits.push(tokio::spawn(async move { account.acquire().await.map(drop) }));
    }

    // A coordinator that only looks. Looking never writes.
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let inspector = Inspector::new(&zk);
    while inspector.waits_for(TREE).await?.waits().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for place in inspector.locks(TREE).await? {
        println!("{} is a {}", place.path, place.kind);
        for contender in &place.contenders {
            let state = if contender.is_holder { "holds" } else { "waits" };
            let name = String::from_utf8_lossy(&contender.identity);
            println!("  {name} {state}, token {}, {:?}", contender.token, contender.reason);
        }
    }

    let doctor = Doctor::new(&inspector).min_age(Duration::ZERO);
    for finding in doctor.diagnose(TREE).await?.findings {
        println!(
            "{} {}: {}; {}",
            finding.severity, finding.check, finding.message, finding.remedy
        );
    }

    // A release ends it: the first wait is granted, then the second one.
    for (_, held) in &accounts {
        println!("token {} is held: {}", held.token(), held.is_held());
    }
    for ((zk, held), wait) in accounts.into_iter().zip(waits.into_iter().rev()) {
        held.release().await?;
        wait.await??;
        drop(zk);
    }
    Ok(())
}
