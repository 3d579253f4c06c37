//! `zkr doctor --probe`: what the ensemble grants, and what its clock says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::Output;
use crate::time::show_precise;

/// More than any ensemble grants.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Less than ensembles grant, and enough for a busy server to answer.
const SHORT: Duration = Duration::from_secs(1);
/// From here on a difference of the clocks is told as a warning.
pub(super) const SKEW: f64 = 1.0;

/// What was found out.
#[derive(Debug)]
pub(super) struct Probe {
    smallest: Duration,
    largest: Duration,
    granted: Duration,
    /// By how many seconds the ensemble's clock is ahead of ours, at least; negative where it is behind.
    pub(super) ahead: f64,
}

/// Opens two short sessions, and creates one ephemeral node.
pub(super) async fn probe(globals: &Globals) -> Result<Probe, Failure> {
    let smallest = granted(globals, SHORT).await?;
    let largest = granted(globals, LONG).await?;
    let zk = globals.connect().await?;
    let clock = clock(&zk).await;
    let granted = timeout(&zk).await;
    zk.close().await;
    Ok(Probe {
        smallest,
        largest,
        granted: granted?,
        ahead: clock?,
    })
}

async fn granted(globals: &Globals, asked: Duration) -> Result<Duration, Failure> {
    let zk = globals.asking_for(asked).connect().await?;
    let granted = timeout(&zk).await;
    zk.close().await;
    granted
}

async fn timeout(zk: &Coordinator) -> Result<Duration, Failure> {
    Ok(zk.client().await?.session_timeout())
}

async fn clock(zk: &Coordinator) -> Result<f64, Failure> {
    let client = zk.client().await?;
    let path = format!("/zkr-probe-{:016x}", fastrand::u64(..));
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let failed = |error| {
        use zookeeper_recipes::zookeeper_client::Error;
        match error {
            Error::NoAuth => Failure::rights("no CREATE on /; --probe makes one ephemeral node there").at("/"),
            error => Failure::unreachable(format!("{path}: {error}; try again")).at("/"),
        }
    };
    let before = now();
    let (stat, _) = client.create(&path, b"", &options).await.map_err(failed)?;
    let after = now();
    client.delete(&path, None).await.map_err(failed)?;
    let there = Duration::from_millis(u64::try_from(stat.ctime).unwrap_or_default()).as_secs_f64();
    // It is cut to milliseconds.
    Ok(if there > after {
        there - after
    } else {
        (there + 0.001 - before).min(0.0)
    })
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

impl Probe {
    pub(super) fn object(&self) -> Value {
        json!({
            "smallest_timeout_s": self.smallest.as_secs_f64(), "largest_timeout_s": self.largest.as_secs_f64(),
            "granted_timeout_s": self.granted.as_secs_f64(), "clock_ahead_s": self.ahead,
        })
    }

    pub(super) fn print(&self, out: Output) {
        // The ensemble's smallest timeout is two ticks unless it is configured.
        let margin = self.smallest / 4 + self.granted / 100;
        out.prose(&format!(
            "info   timeouts  the ensemble grants {} to {}, and {} to this command; with its usual tick of half the smallest, a \
             lease margin of {} or more is safe",
            match self.smallest <= SHORT {
                true => format!("{} or less", show_precise(self.smallest)),
                false => show_precise(self.smallest),
            },
            show_precise(self.largest),
            show_precise(self.granted),
            show_precise(margin)
        ));
        let ahead = Duration::from_secs_f64(self.ahead.abs());
        let severity = if self.ahead.abs() > SKEW { "warn " } else { "info " };
        out.prose(&match self.ahead.abs() < 0.001 {
            true => "info   clock  the ensemble's clock agrees with ours".to_owned(),
            false => format!(
                "{severity}  clock  the ensemble's clock is {} {} ours; ages are off by that",
                show_precise(ahead),
                if self.ahead > 0.0 { "ahead of" } else { "behind" }
            ),
        });
    }
}
