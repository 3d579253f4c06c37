//! How to test a service with faults: a lost reply, an expired session. `cargo run --example testing_with_faults`
//!
//! In a service's own tests, this is the body of a `#[tokio::test]`; `zookeeper-embedded` is a dev-dependency.

use std::time::Duration;

use zookeeper_embedded::{Op, Server};
use zookeeper_recipes::{ConnectOptions, FairLock, LossReason};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server::start().await?;
    let zk = ConnectOptions::new()
        .session_timeout(Duration::from_secs(2))
        .connect(&server.connect_string())
        .await?;
    let lock = FairLock::new(&zk, "/account-17")?;

    // The server creates the lock's node, and its reply is lost: the node is found again, not created twice.
    let mut rule = server
        .faults()
        .on([Op::Create2])
        .path_prefix("/account-17")
        .nth(1)
        .drop_after_apply();
    let guard = lock.acquire().await?;
    rule.wait_hits(1).await;
    println!(
        "granted although a reply was lost, {} contender",
        lock.contenders().await?.len()
    );
    assert_eq!(lock.contenders().await?.len(), 1);

    // The ensemble ends the session: the guard is told, and work that it guards is dropped.
    let session = *server.sessions().last().ok_or("no session")?;
    server.faults().expire_session(session);
    let lost = guard.run_until_lost(std::future::pending::<()>()).await;
    println!("{lost:?}");
    assert!(matches!(lost, Err(lost) if lost.reason == LossReason::SessionExpired));
    // Drop a lost guard before you acquire again: its node may still stand in line.
    drop(guard);

    // The coordinator has opened the next session; the lock can be had again.
    let guard = lock.acquire().await?;
    println!("granted again, token {}", guard.token());
    guard.release().await?;
    zk.close().await;
    Ok(())
}
