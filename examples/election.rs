//! A leader election: one process leads, and another one takes over when it ends. `cargo run --example election`

use std::ops::ControlFlow;
use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{Coordinator, LeaderElection};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let mut processes = Vec::new();
    for name in ["scheduler-1", "scheduler-2", "scheduler-3"] {
        let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
        processes.push(tokio::spawn(lead_once(zk, name)));
    }
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    tokio::spawn(watch(zk.clone()));
    for process in processes {
        process.await??;
    }
    zk.close().await;
    Ok(())
}

async fn lead_once(zk: Coordinator, name: &'static str) -> Result<()> {
    let election = LeaderElection::new(&zk, "/examples/election")?;
    election
        .run(name, |leadership| async move {
            // The term grows from leader to leader: let what you write to check it.
            println!("{name} leads, term {}", leadership.token());
            tokio::time::sleep(Duration::from_millis(300)).await;
            // `Continue` would resign and stand again, behind the others.
            ControlFlow::Break(())
        })
        .await?;
    zk.close().await;
    Ok(())
}

/// What a client of the service does: it follows the leader.
async fn watch(zk: Coordinator) -> Result<()> {
    let mut leader = LeaderElection::new(&zk, "/examples/election")?.observe().await?;
    while let Some(leader) = leader.changed().await {
        match leader {
            Some(leader) => println!("clients go to {}", String::from_utf8_lossy(&leader.value)),
            None => println!("clients wait for a leader"),
        }
    }
    Ok(())
}
