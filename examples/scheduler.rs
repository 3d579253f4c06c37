//! A job once per due time, whichever process leads, through a rolling restart. `cargo run --example scheduler`

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::Notify;
use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{Coordinator, LeaderElection, Schedule, Timetable};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let connect = || zookeeper_recipes::connect(ensemble.connect_string());
    tokio::try_join!(
        lead_until_restarted("scheduler-1", connect().await?),
        lead_until_restarted("scheduler-2", connect().await?),
        lead_until_restarted("scheduler-3", connect().await?),
    )?;

    let zk = connect().await?;
    let progress = invoices(&zk)?.progress().await?;
    println!("{} runs started, {} skipped", progress.started, progress.skipped);
    zk.close().await;
    Ok(())
}

/// Due at the multiples of 200 ms by the ensemble's clock. With the feature `cron`: `Timetable::cron("30 4 * * MON-FRI")`.
fn invoices(zk: &Coordinator) -> Result<Schedule> {
    let timetable = Timetable::every(Duration::from_millis(200))?;
    Ok(Schedule::new(zk, "/examples/scheduler/invoices", timetable)?)
}

async fn lead_until_restarted(name: &str, zk: Coordinator) -> Result<()> {
    let invoices = invoices(&zk)?;
    let election = LeaderElection::new(&zk, "/examples/scheduler/leader")?;
    election
        .run(name.to_owned(), |leadership| {
            let invoices = &invoices;
            async move {
                // In a service: Ctrl-C or SIGTERM. Here: after three runs.
                let (restart, mut runs) = (Notify::new(), 0);
                let ended = invoices
                    .run_until(&leadership, restart.notified(), |run| {
                        runs += 1;
                        if runs == 3 {
                            restart.notify_one();
                        }
                        async move { println!("{name} sends invoices, term {}, due {:?}", run.term, run.due) }
                    })
                    .await;
                match ended {
                    // The next leader goes on; this process campaigns again.
                    Err(error) if error.is_lost() => ControlFlow::Continue(()),
                    ended => ControlFlow::Break(ended),
                }
            }
        })
        .await??;
    zk.close().await;
    Ok(())
}
