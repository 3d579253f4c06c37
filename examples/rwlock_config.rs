//! A read-write lock: many readers of a configuration, one writer that replaces it. `cargo run --example rwlock_config`

use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{RwLock, SharedValue};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let lock = RwLock::new(&zk, "/examples/rwlock/lock")?;
    let limits = SharedValue::new(&zk, "/examples/rwlock/limits")?;
    limits.set("100").await?;

    let readers = (1..=3).map(|number| tokio::spawn(read(number, lock.clone(), limits.clone())));
    let readers: Vec<_> = readers.collect();
    // Readers that come after the writer wait behind it: it does not starve.
    let writer = lock.write().await?;
    limits.set("250").await?;
    println!("the writer has replaced the limits");
    // The writer goes on as a reader; no other writer comes in between.
    let reader = writer.downgrade().await?;
    reader.release().await?;

    for reader in readers {
        reader.await??;
    }
    println!("in the end the limits are {}", text(&limits).await?);
    zk.close().await;
    Ok(())
}

async fn read(number: u32, lock: RwLock, limits: SharedValue) -> Result<()> {
    let guard = lock.read().await?;
    println!("reader {number} works with the limits {}", text(&limits).await?);
    guard
        .run_until_lost(tokio::time::sleep(Duration::from_millis(200)))
        .await?;
    guard.release().await?;
    Ok(())
}

async fn text(value: &SharedValue) -> Result<String> {
    let value = value.get().await?.map(|current| current.value).unwrap_or_default();
    Ok(String::from_utf8_lossy(&value).into_owned())
}
