//! A queue of tasks: each is done at least once, and acknowledged once. `cargo run --example work_queue`

use std::time::Duration;

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::queue::{PushOptions, WorkQueue};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let mails = WorkQueue::builder(&zk, "/examples/mails").max_attempts(2).build()?;

    let invoice = mails
        .push_with("invoice 4711", PushOptions::new().keep_outcome())
        .await?;
    // Pushed a second time under one key, an item is not queued again.
    mails
        .push_with("reminder 12", PushOptions::new().key("reminder 12"))
        .await?;
    mails
        .push_with("reminder 12", PushOptions::new().key("reminder 12"))
        .await?;
    mails.push("a mail that no server takes").await?;
    println!("{} items", mails.len().await?);

    while let Some(mail) = mails.try_pop().await? {
        let text = String::from_utf8_lossy(mail.payload()).into_owned();
        println!("attempt {} of {text:?}", mail.attempt());
        match mail.run_until_lost(send(&text)).await? {
            Ok(receipt) => mail.ack_with(receipt).await?,
            Err(reason) => mail.nack_because(reason).await?,
        }
    }

    println!(
        "the invoice: {:?}",
        mails.result_timeout(&invoice, Duration::from_secs(1)).await?
    );
    for dead in mails.dead_letters().await? {
        println!("dead letter {}: {}", dead.id, dead.reason);
        mails.purge(&dead.id).await?;
    }
    mails.close().await;
    zk.close().await;
    Ok(())
}

async fn send(text: &str) -> std::result::Result<String, String> {
    match text.contains("no server") {
        true => Err("550 mailbox not found".into()),
        false => Ok(format!("250 accepted {text}")),
    }
}
