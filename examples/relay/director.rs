//! The director: starts the processes, kills the one that stops in its turn, and waits for the end of the chain.

use std::path::Path;

use crate::chain::Page;
use crate::common::cast::{self, Cast};
use crate::common::log::Log;
use crate::common::{Failure, session};
use crate::{PROCESSES, settler};

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The end of the chain.
    pub(crate) end: Page,
    pub(crate) killed: usize,
    /// How often a process said that it mended what a lost predecessor had left.
    pub(crate) mended: usize,
}

pub(crate) async fn run(cluster: &str, journal: &Path) -> Result<Outcome, Failure> {
    let zk = session::connect("director", cluster).await?;
    let (killed, mended) = play(cluster, journal).await?;
    let relay = settler::chain(&zk)?;
    let end = settler::page(relay.latest().await?.as_deref())?;
    // The result stays until somebody who knows that it is over removes it.
    relay.remove().await?;
    settler::all_here(&zk)?.remove().await?;
    zk.close().await;
    Ok(Outcome { end, killed, mended })
}

/// Plays it all, and returns when all processes have ended: how many were killed, and how many mended something.
async fn play(cluster: &str, journal: &Path) -> Result<(usize, usize), Failure> {
    let log = Log::new();
    let mut cast = Cast::new(log);
    for number in 1..=PROCESSES {
        let name = format!("settler-{number}");
        let fatal = if number == 1 { "fatal" } else { "" };
        let mut command = cast::myself()?;
        command.args(["--process", &name, cluster]).arg(journal).arg(fatal);
        cast.start(&name, &mut command)?;
    }
    let (mut killed, mut mended) = (0, 0);
    while let Some((name, line)) = cast.next().await? {
        log.note(&name, &line);
        if line.starts_with("stops") {
            cast.kill(&name).await?;
            killed += 1;
            log.note(&name, "is killed (SIGKILL) in its turn");
        } else if line.starts_with("mends") {
            mended += 1;
        }
    }
    log.note("all", "have ended");
    Ok((killed, mended))
}
