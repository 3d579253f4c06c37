//! The director: starts the processes, kills the one that stops in its turn, and waits for the end of the chain.

use std::path::Path;

use crate::chain::Page;
use crate::{PROCESSES, settler};
use demos::log::Log;
use demos::processes::{self, Processes};
use demos::{BoxError, session};

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The end of the chain.
    pub(crate) end: Page,
    pub(crate) killed: usize,
    /// How often a process said that it mended what a lost predecessor had left.
    pub(crate) mended: usize,
}

pub(crate) async fn run(cluster: &str, journal: &Path) -> Result<Outcome, BoxError> {
    let zk = session::connect("director", cluster).await?;
    let (killed, mended) = supervise(cluster, journal).await?;
    let relay = settler::chain(&zk)?;
    let end = settler::page(relay.latest().await?.as_deref())?;
    // The result stays until a process that knows that it is over removes it.
    relay.remove().await?;
    settler::all_here(&zk)?.remove().await?;
    zk.close().await;
    Ok(Outcome { end, killed, mended })
}

/// Supervises all, and returns when all processes have ended: how many were killed, and how many mended something.
async fn supervise(cluster: &str, journal: &Path) -> Result<(usize, usize), BoxError> {
    let log = Log::start();
    let mut processes = Processes::new(log);
    for number in 1..=PROCESSES {
        let name = format!("settler-{number}");
        let fatal = if number == 1 { "fatal" } else { "" };
        let mut command = processes::myself()?;
        command.args(["--process", &name, cluster]).arg(journal).arg(fatal);
        processes.start(&name, &mut command)?;
    }
    let (mut killed, mut mended) = (0, 0);
    while let Some((name, line)) = processes.next().await? {
        log.note(&name, &line);
        if line.starts_with("stops") {
            processes.kill(&name).await?;
            killed += 1;
            log.note(&name, "is killed (SIGKILL) in its turn");
        } else if line.starts_with("mends") {
            mended += 1;
        }
    }
    log.note("all", "have ended");
    Ok((killed, mended))
}
