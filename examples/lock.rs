//! A fair lock: one worker at a time computes from the balance of an account. `cargo run --example lock`

use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{AcquireTimeoutError, FairLock};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let mut workers = Vec::new();
    for name in ["anna", "ben", "carla"] {
        // Each service has a session of its own.
        let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
        workers.push(tokio::spawn(async move {
            let worked = work(name, FairLock::new(&zk, "/examples/lock/account-17")?).await;
            // Gives back what is still held, and ends the session.
            zk.close().await;
            worked
        }));
    }
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn work(name: &str, lock: FairLock) -> Result<()> {
    for _ in 0..2 {
        let guard = match lock.acquire_timeout(Duration::from_secs(2)).await {
            Ok(guard) => guard,
            // The message says who holds the lock.
            Err(error @ AcquireTimeoutError::Elapsed { .. }) => {
                println!("{name} gives up: {error}");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        println!("{name} holds the lock, token {}", guard.token());
        // Dropped at the moment at which the hold is lost.
        guard
            .run_until_lost(tokio::time::sleep(Duration::from_millis(100)))
            .await?;
        guard.release().await?;
    }
    Ok(())
}
