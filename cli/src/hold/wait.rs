//! The wait for a place: with a deadline that includes the connect, with signals, with a line now and then.

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::Instant;
use zookeeper_recipes::Coordinator;

use super::args::{HoldArgs, Place};
use super::guard::{Guard, Recipe};
use super::signals::Signals;
use crate::failure::Failure;
use crate::globals::Globals;

/// Why there is no guard.
#[derive(Debug)]
pub(super) enum NotHeld {
    Failure(Failure),
    Signal(i32),
}

impl From<Failure> for NotHeld {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// From when on it says what it waits for, and how often.
const QUIET: Duration = Duration::from_secs(5);
const EVERY: Duration = Duration::from_secs(10);

/// Connects and acquires; `--wait` bounds both.
pub(super) async fn hold(
    globals: &Globals,
    args: &HoldArgs,
    place: &Place,
    signals: &mut Signals,
) -> Result<(Coordinator, Guard), NotHeld> {
    let began = Instant::now();
    let limit = args.wait.limit();
    let id = args.id.clone().unwrap_or_else(default_id);
    let zk = tokio::select! {
        connected = within(limit.filter(|limit| !limit.is_zero()), globals.connect_as(Some(&id)), &args.path) => connected?,
        signal = signals.recv() => return Err(NotHeld::Signal(signal as i32)),
    };
    let result = {
        let timeout = timeout_of(&zk).await?;
        super::running::grace(args.process.grace, timeout, globals.lease_margin)?;
        let recipe = Recipe::new(&zk, &args.path, place, &id)?;
        // A limit that the connect has used up is not one of zero, which reads and never waits.
        let left = limit.map(|limit| match limit.is_zero() {
            true => limit,
            false => limit.saturating_sub(began.elapsed()).max(Duration::from_millis(1)),
        });
        let speaks = globals.verbose > 0 || (std::io::stderr().is_terminal() && !globals.output().quiet);
        tokio::select! {
            acquired = recipe.acquire(left, args.reason.as_deref()) => acquired.map_err(NotHeld::from),
            signal = signals.recv() => Err(NotHeld::Signal(signal as i32)),
            () = narrate(globals, &args.path, &recipe, &id), if speaks => unreachable!("it never ends"),
        }
    };
    match result {
        Ok(guard) => Ok((zk, guard)),
        Err(error) => {
            // The contender goes with its session; a second signal does not wait for that.
            tokio::select! {
                _ = tokio::time::timeout(Duration::from_secs(1), zk.close()) => {}
                _ = signals.recv() => {}
            }
            Err(error)
        }
    }
}

/// The negotiated session timeout.
pub(super) async fn timeout_of(zk: &Coordinator) -> Result<Duration, Failure> {
    Ok(zk.client().await?.session_timeout())
}

async fn narrate(globals: &Globals, path: &str, recipe: &Recipe, id: &str) {
    let out = globals.output();
    tokio::time::sleep(QUIET).await;
    loop {
        if let Some(blocker) = recipe.blocker(id).await {
            out.say(&format!("waiting for {path}: {blocker}"));
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn within<T>(
    limit: Option<Duration>,
    call: impl Future<Output = Result<T, Failure>>,
    path: &str,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return call.await };
    match tokio::time::timeout(limit, call).await {
        Ok(done) => done,
        Err(_) => Err(Failure::no(format!(
            "{path}: not granted within {} ms; could not tell who holds it: not connected",
            limit.as_millis()
        ))),
    }
}

/// Host and process.
fn default_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!(
        "{}:{}",
        if host.is_empty() { "unknown" } else { host },
        std::process::id()
    )
}
