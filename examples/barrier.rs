//! A double barrier: no worker begins a phase before all are there, or leaves it before all are done.
//! `cargo run --example barrier`

use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{CountDownLatch, DoubleBarrier};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const WORKERS: u32 = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let done = CountDownLatch::new(&zk, "/examples/barrier/done", WORKERS)?;
    for number in 1..=WORKERS {
        let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
        tokio::spawn(async move {
            if let Err(error) = work(&zk, number).await {
                eprintln!("worker {number}: {error}");
            }
            zk.close().await;
        });
    }
    done.wait_timeout(Duration::from_secs(10)).await?;
    println!("all workers are done");
    done.remove().await?;
    zk.close().await;
    Ok(())
}

async fn work(zk: &zookeeper_recipes::Coordinator, number: u32) -> Result<()> {
    for phase in ["reserve", "post"] {
        let barrier = DoubleBarrier::new(zk, &format!("/examples/barrier/{phase}"), WORKERS as usize)?;
        let entered = barrier.enter().await?;
        println!("worker {number} begins to {phase}");
        entered
            .run_until_lost(tokio::time::sleep(Duration::from_millis(100) * number))
            .await?;
        entered.leave().await?;
    }
    // Counted once, however often it is said under this name.
    CountDownLatch::new(zk, "/examples/barrier/done", WORKERS)?
        .count_down_as(&format!("worker {number}"))
        .await?;
    Ok(())
}
