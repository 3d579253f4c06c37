//! A semaphore over all processes: a partner takes three calls at a time. `cargo run --example semaphore_rate`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::Semaphore;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let partner = Arc::new(Partner::default());
    let mut services = Vec::new();
    for _ in 0..4 {
        let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
        let partner = Arc::clone(&partner);
        services.push(tokio::spawn(async move {
            // All users of a semaphore agree on its permits; another number is an error.
            let lines = Semaphore::new(&zk, "/examples/semaphore/partner", 3)?;
            for _ in 0..5 {
                let permit = lines.acquire().await?;
                permit.run_until_lost(partner.call()).await?;
                permit.release().await?;
            }
            zk.close().await;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }));
    }
    for service in services {
        service.await??;
    }
    println!("20 calls, at most {} at a time", partner.most.load(Ordering::SeqCst));
    Ok(())
}

#[derive(Default)]
struct Partner {
    calls: AtomicUsize,
    most: AtomicUsize,
}

impl Partner {
    async fn call(&self) {
        let now = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
