//! The server closes a session by force: nothing can be kept, and the work has what time it has.

use std::time::{Duration, Instant};

use zookeeper_client::{Client, Error};
use zookeeper_recipes::{Coordinator, FairLock};
use zookeeper_testkit::{RealServer, eventually_some};

use super::{Failure, Scale, options};

const TIMEOUT: Duration = Duration::from_secs(4);

/// From the loss to the next grant, in milliseconds, of each round. Negative: the next was granted first.
pub(crate) async fn measure(scale: Scale) -> Result<Vec<f64>, Failure> {
    let server = RealServer::start().await;
    let cluster = server.connect_string();
    let (zk, other) = tokio::try_join!(options(TIMEOUT).connect(&cluster), options(TIMEOUT).connect(&cluster))?;
    let root = Client::connect(&cluster).await?;
    let mut gaps = Vec::new();
    for _ in 0..2 * scale.rounds {
        let guard = FairLock::new(&zk, "/expiry")?.acquire().await?;
        let waiting = FairLock::new(&other, "/expiry")?;
        let next = tokio::spawn(async move { waiting.acquire().await.map(|guard| (guard, Instant::now())) });
        eventually_some(TIMEOUT, "two stand in line", || async {
            let children = root.list_children("/expiry").await.ok()?;
            (children.len() == 2).then_some(())
        })
        .await;
        let signal = guard.lost();
        let told = tokio::spawn(async move { (signal.await, Instant::now()) });
        expire(&cluster, &zk).await?;
        let ((_, lost), granted) = (told.await?, next.await?);
        let (next, granted) = granted?;
        let gap = granted.saturating_duration_since(lost).as_secs_f64()
            - lost.saturating_duration_since(granted).as_secs_f64();
        gaps.push(gap * 1_000.0);
        drop(guard);
        next.release().await?;
    }
    zk.close().await;
    other.close().await;
    gaps.sort_by(f64::total_cmp);
    Ok(gaps)
}

/// A second client takes the session over and closes it, until the server no longer knows it.
async fn expire(cluster: &str, zk: &Coordinator) -> Result<(), Failure> {
    let session = zk.client().await?.session().clone();
    loop {
        let connector = Client::connector().with_session(session.clone()).with_fail_eagerly();
        match connector.connect(cluster).await {
            Err(Error::SessionExpired) => return Ok(()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) fn print(gaps: &[f64]) {
    let at = |percent: usize| gaps.get(gaps.len() * percent / 100).copied().unwrap_or_default();
    println!("expiry by the server: from lost() to the next grant");
    println!(
        "{} rounds | least {:.1} ms | median {:.1} ms | most {:.1} ms",
        gaps.len(),
        at(0),
        at(50),
        gaps.last().copied().unwrap_or_default()
    );
}
