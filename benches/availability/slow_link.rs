//! Holds over a link whose round trips take a part of the session timeout.

use std::time::{Duration, Instant};

use futures::future;
use zookeeper_recipes::FairLock;
use zookeeper_testkit::{Proxy, RealServer};

use super::{Failure, Scale, options};

const TIMEOUT: Duration = Duration::from_secs(5);
const ROUND_TRIPS: [u32; 4] = [1, 3, 5, 8];

/// The holds at one round trip.
pub(crate) struct Row {
    percent: u32,
    holds: usize,
    lost: Vec<Duration>,
    grant: Duration,
    least: Duration,
    heartbeats: usize,
    held: Duration,
}

/// One hold.
struct Held {
    grant: Duration,
    lost: Option<Duration>,
    least: Duration,
    heartbeats: usize,
    held: Duration,
}

impl Row {
    pub(crate) fn is_kept(&self) -> bool {
        self.lost.is_empty()
    }
}

pub(crate) async fn measure(scale: Scale) -> Result<Vec<Row>, Failure> {
    let server = RealServer::start().await;
    future::try_join_all(ROUND_TRIPS.map(|percent| row(&server, percent, scale))).await
}

async fn row(server: &RealServer, percent: u32, scale: Scale) -> Result<Row, Failure> {
    let holds = (0..scale.holds).map(|number| hold(server, percent, format!("/slow-{percent}-{number}"), scale));
    let holds = future::try_join_all(holds).await?;
    Ok(Row {
        percent,
        holds: holds.len(),
        lost: holds.iter().filter_map(|hold| hold.lost).collect(),
        grant: holds.iter().map(|hold| hold.grant).max().unwrap_or_default(),
        least: holds.iter().map(|hold| hold.least).min().unwrap_or_default(),
        heartbeats: holds.iter().map(|hold| hold.heartbeats).sum(),
        held: holds.iter().map(|hold| hold.held).sum(),
    })
}

/// One coordinator a hold: heartbeats are not shared.
async fn hold(server: &RealServer, percent: u32, path: String, scale: Scale) -> Result<Held, Failure> {
    let proxy = Proxy::start(server.addr()).await;
    let zk = options(TIMEOUT).connect(&proxy.connect_string()).await?;
    let lock = FairLock::new(&zk, &path)?;
    proxy.delay(TIMEOUT * percent / 200);
    tokio::time::sleep(scale.idle).await;
    proxy.reset_counts();
    let asked = Instant::now();
    let guard = lock.acquire().await?;
    let granted = Instant::now();
    let mut least = guard.remaining();
    let mut signal = guard.lost();
    let is_lost = loop {
        tokio::select! {
            _ = &mut signal => break true,
            () = tokio::time::sleep(Duration::from_millis(10)) => least = least.min(guard.remaining()),
        }
        if granted.elapsed() >= scale.hold {
            break false;
        }
    };
    let (held, heartbeats) = (granted.elapsed(), proxy.requests().heartbeats());
    drop(guard);
    zk.close().await;
    Ok(Held {
        grant: granted - asked,
        lost: is_lost.then_some(held),
        least: if is_lost { Duration::ZERO } else { least },
        heartbeats,
        held,
    })
}

pub(crate) fn print(rows: &[Row]) {
    println!("slow link, T = {} s, default margin", TIMEOUT.as_secs());
    println!("round trip | holds | lost | lost after (first) | longest acquire | least remaining | heartbeats per T");
    for row in rows {
        let first = row
            .lost
            .iter()
            .min()
            .map_or("-".to_owned(), |first| format!("{first:.2?}"));
        let per_timeout = row.heartbeats as f64 * TIMEOUT.as_secs_f64() / row.held.as_secs_f64().max(0.001);
        println!(
            "{:>8} % | {:>5} | {:>4} | {first:>18} | {:>15} | {:>15} | {per_timeout:>16.2}",
            row.percent,
            row.holds,
            row.lost.len(),
            format!("{:.2?}", row.grant),
            format!("{:.2?}", row.least),
        );
    }
}
