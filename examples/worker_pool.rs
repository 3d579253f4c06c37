//! A worker loop: sixteen tasks at a time, the recharges of one account in order. `cargo run --example worker_pool`

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use zookeeper_embedded::Ensemble;
use zookeeper_recipes::queue::{Job, NewItem, Order, PushOptions, WorkQueue};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const RECHARGES: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    // With a window, the consumers of several processes work side by side.
    let recharges = WorkQueue::builder(&zk, "/examples/recharges")
        .order(Order::Window(16))
        .build()?;
    let items = (0..RECHARGES).map(|number| {
        let account = format!("account {}", number % 20);
        NewItem::new(format!("{account} +{number}")).with(PushOptions::new().group(account))
    });
    recharges.push_all(items).await?;

    let progress = Arc::new(Progress::default());
    let all_done = Arc::clone(&progress);
    let summary = recharges
        .worker()
        .concurrency(16)
        // In a service: Ctrl-C or SIGTERM. What is begun is finished, the rest is given back.
        .shutdown(async move { all_done.end.notified().await })
        .run(move |recharge: Job| recharge_account(recharge, Arc::clone(&progress)))
        .await?;
    println!("{} done, {} failed and tried again", summary.done, summary.failed);
    recharges.close().await;
    zk.close().await;
    Ok(())
}

#[derive(Default)]
struct Progress {
    done: AtomicUsize,
    end: Notify,
}

/// An item whose handler returns an error, or panics, is given back; the queue's retry policy says when it comes again.
async fn recharge_account(recharge: Job, progress: Arc<Progress>) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(5)).await;
    if recharge.payload().ends_with(b"+13") && recharge.attempt() == 1 {
        return Err(io::Error::other("the card network does not answer"));
    }
    if progress.done.fetch_add(1, Ordering::SeqCst) + 1 == RECHARGES {
        progress.end.notify_one();
    }
    Ok(())
}
