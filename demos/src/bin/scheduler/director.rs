//! The director: starts the processes, kills one leader, stops another past its session, and revives it.

use std::path::Path;
use std::time::Duration;

use tokio::time;

use crate::signal;
use demos::BoxError;
use demos::log::Log;
use demos::processes::{self, Processes};

const PROCESSES: usize = 4;
/// How long a leader leads before something happens to it.
const QUIET: Duration = Duration::from_secs(3);

/// Supervises all, and returns when a leader has seen the last job run and all processes have ended.
pub(crate) async fn run(cluster: &str, ledger: &Path) -> Result<(), BoxError> {
    let log = Log::start();
    let mut processes = Processes::new(log);
    for number in 1..=PROCESSES {
        let name = format!("scheduler-{number}");
        let mut command = processes::myself()?;
        command.args(["--process", &name, cluster]).arg(ledger);
        processes.start(&name, &mut command)?;
    }

    let first = processes.until("leads").await?;
    time::sleep(QUIET).await;
    log.note(&first, "is killed (SIGKILL)");
    processes.kill(&first).await?;

    let second = processes.until("leads").await?;
    time::sleep(QUIET).await;
    processes.send(&second, "stall").await?;
    processes.until("stalls").await?;
    log.note(
        &second,
        "is stopped (SIGSTOP), between its look at the guard and the record",
    );

    processes.until("leads").await?;
    log.note(&second, "is continued (SIGCONT)");
    signal::send("CONT", processes.id(&second)?)?;
    processes.until("revived Refused").await?;
    log.note(&second, "is refused: its term is over");
    processes.until("done").await?;
    processes.end().await
}
