//! Holds on a server that stops for a part of the session timeout.

use std::time::{Duration, Instant};

use futures::future;
use tokio::time::{sleep, sleep_until};
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{Coordinator, FairLock};
use zookeeper_testkit::RealServer;

use super::{Failure, Scale, options};

const TIMEOUT: Duration = Duration::from_secs(4);
const SESSIONS: usize = 16;
/// In thousandths of the session timeout. The last one is printed, not promised.
const STALLS: [u32; 4] = [100, 200, 250, 300];
const PROMISED: u32 = 250;

/// When the server stops, and when the round is over, counted from its beginning.
const STOP: Duration = TIMEOUT.saturating_mul(3).checked_div(5).unwrap();
const END: Duration = TIMEOUT.saturating_mul(2);

/// The holds of all rounds at one length of stall.
#[derive(Default)]
pub(crate) struct Row {
    permille: u32,
    holds: usize,
    lost_during: usize,
    lost_after: usize,
    /// Of those lost, how many were granted after the stall began.
    lost_fresh: usize,
    heartbeats: u64,
    rounds: usize,
}

/// What became of one hold.
struct Fate {
    granted: Instant,
    lost: Option<Instant>,
}

impl Row {
    fn lost(&self) -> usize {
        self.lost_during + self.lost_after
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.lost() == 0 || self.permille > PROMISED
    }
}

pub(crate) async fn measure(scale: Scale) -> Result<Vec<Row>, Failure> {
    future::try_join_all(STALLS.map(|permille| row(permille, scale))).await
}

async fn row(permille: u32, scale: Scale) -> Result<Row, Failure> {
    let server = RealServer::start().await;
    let cluster = server.connect_string();
    let sessions = future::try_join_all((0..SESSIONS).map(|_| options(TIMEOUT).connect(&cluster))).await?;
    let root = Client::connect(&cluster).await?;
    for number in 0..SESSIONS {
        let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
        root.create(&format!("/stall-{number}"), b"", &persistent).await?;
    }
    // The leases of the openings are over after that.
    sleep(TIMEOUT).await;
    let mut row = Row {
        permille,
        rounds: scale.rounds,
        ..Row::default()
    };
    for _ in 0..scale.rounds {
        let before = transactions(&server).await;
        let began = Instant::now();
        let stall = async {
            sleep_until((began + STOP).into()).await;
            server.freeze().await;
            let from = Instant::now();
            sleep(TIMEOUT * permille / 1_000).await;
            server.thaw().await;
            (from, Instant::now())
        };
        let holds = future::try_join_all(sessions.iter().enumerate().map(|(number, zk)| hold(zk, number, began)));
        let ((from, until), fates) = tokio::join!(stall, holds);
        for fate in fates? {
            row.count(&fate, from, until);
        }
        // Each hold is a create and a delete; what else was committed is heartbeats.
        let others = 2 * SESSIONS as u64;
        row.heartbeats += (transactions(&server).await - before).saturating_sub(others);
    }
    future::join_all(sessions.into_iter().map(Coordinator::close)).await;
    Ok(row)
}

impl Row {
    fn count(&mut self, fate: &Fate, from: Instant, until: Instant) {
        self.holds += 1;
        let Some(lost) = fate.lost else { return };
        match lost < until {
            true => self.lost_during += 1,
            false => self.lost_after += 1,
        }
        self.lost_fresh += usize::from(fate.granted > from);
    }
}

/// Acquires at a time of its own in the first T of the round, and holds until its end.
async fn hold(zk: &Coordinator, number: usize, began: Instant) -> Result<Fate, Failure> {
    let lock = FairLock::new(zk, &format!("/stall-{number}"))?;
    let begin = began + TIMEOUT * u32::try_from(number)? / u32::try_from(SESSIONS)?;
    sleep_until(begin.into()).await;
    let guard = lock.acquire().await?;
    let granted = Instant::now();
    let mut signal = guard.lost();
    let lost = tokio::select! {
        _ = &mut signal => Some(Instant::now()),
        () = sleep_until((began + END).into()) => None,
    };
    if lost.is_none() {
        guard.release().await?;
    }
    Ok(Fate { granted, lost })
}

/// Transactions committed since the start, by the last zxid. A reading of the metrics commits none.
async fn transactions(server: &RealServer) -> u64 {
    let answer = server.four_letter("srvr").await.unwrap_or_default();
    let zxid = answer.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    zxid.and_then(|zxid| u64::from_str_radix(zxid.trim(), 16).ok())
        .unwrap_or_default()
        & 0xffff_ffff
}

pub(crate) fn print(rows: &[Row]) {
    println!(
        "stall of the server, T = {} s, {SESSIONS} sessions, default margin",
        TIMEOUT.as_secs()
    );
    println!(
        "stall | promised | holds | lost during | lost after | of them granted since it began | heartbeats per round"
    );
    for row in rows {
        println!(
            "{:.2} T | {:>8} | {:>5} | {:>11} | {:>10} | {:>30} | {:>20}",
            f64::from(row.permille) / 1_000.0,
            if row.permille <= PROMISED { "yes" } else { "no" },
            row.holds,
            row.lost_during,
            row.lost_after,
            row.lost_fresh,
            row.heartbeats / row.rounds.max(1) as u64,
        );
    }
}
