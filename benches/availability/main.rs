//! What a healthy but slow ensemble costs in holds: `cargo bench --bench availability`, some two minutes.
//!
//! * `slow_link` – commits are slow: holds taken after a time of idleness, and kept
//! * `stall` – the server stops for a part of the session timeout while sessions acquire and hold
//! * `expiry` – the server closes the session by force: from the loss to the next grant
//!
//! Everything runs at the same time, each part on servers of its own. Exit status 1 says that a promise is broken.

mod expiry;
mod slow_link;
mod stall;

use std::process::ExitCode;
use std::time::Duration;

use zookeeper_recipes::ConnectOptions;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long the parts take.
#[derive(Clone, Copy)]
struct Scale {
    idle: Duration,
    hold: Duration,
    holds: usize,
    rounds: usize,
}

impl Scale {
    const BENCH: Self = Self {
        idle: Duration::from_secs(10),
        hold: Duration::from_secs(60),
        holds: 20,
        rounds: 10,
    };
    /// Anything but `cargo bench` only wants to see that it runs.
    const TRIAL: Self = Self {
        idle: Duration::from_secs(1),
        hold: Duration::from_secs(1),
        holds: 2,
        rounds: 1,
    };
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let scale = match std::env::args().any(|argument| argument == "--bench") {
        true => Scale::BENCH,
        false => Scale::TRIAL,
    };
    let (links, stalls, expiries) =
        tokio::try_join!(slow_link::measure(scale), stall::measure(scale), expiry::measure(scale))?;

    slow_link::print(&links);
    stall::print(&stalls);
    expiry::print(&expiries);
    let kept = links.iter().all(slow_link::Row::is_kept) && stalls.iter().all(stall::Row::is_kept);
    println!("promise: {}", if kept { "kept" } else { "BROKEN" });
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(timeout: Duration) -> ConnectOptions {
    ConnectOptions::new().session_timeout(timeout)
}
