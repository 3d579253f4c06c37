//! The director: starts the processes, kills one leader, stops another past its session, and revives it.

use std::path::Path;
use std::time::Duration;

use tokio::time;

use crate::clock::Clock;
use crate::common::Failure;
use crate::common::cast::{self, Cast};
use crate::common::log::Log;
use crate::signal;

const PROCESSES: usize = 4;
/// How long a leader leads before something happens to it.
const QUIET: Duration = Duration::from_secs(3);

/// Plays it all, and returns when a leader has seen the last job run and all processes have ended.
pub(crate) async fn run(cluster: &str, ledger: &Path) -> Result<(), Failure> {
    let log = Log::new();
    let clock = Clock::start_now();
    let mut cast = Cast::new(log);
    for number in 1..=PROCESSES {
        let name = format!("scheduler-{number}");
        let mut command = cast::myself()?;
        command
            .args(["--process", &name, cluster, &clock.to_text()])
            .arg(ledger);
        cast.start(&name, &mut command)?;
    }

    let first = cast.until("leads").await?;
    time::sleep(QUIET).await;
    log.note(&first, "is killed (SIGKILL)");
    cast.kill(&first).await?;

    let second = cast.until("leads").await?;
    time::sleep(QUIET).await;
    cast.order(&second, "stall").await?;
    cast.until("stalls").await?;
    log.note(
        &second,
        "is stopped (SIGSTOP), between its look at the guard and the record",
    );

    cast.until("leads").await?;
    log.note(&second, "is continued (SIGCONT)");
    signal::send("CONT", cast.id(&second)?)?;
    cast.until("revived Refused").await?;
    log.note(&second, "is refused: its term is over");
    cast.until("done").await?;
    cast.end().await
}
