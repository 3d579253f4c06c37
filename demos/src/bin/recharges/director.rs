//! The director: has the file pushed, twice, starts the workers, kills one, and shows how far they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::future;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time;
use zookeeper_recipes::queue::{NewItem, PushOptions, WorkQueue};

use crate::ledger::Ledger;
use crate::{input, worker};
use demos::log::Log;
use demos::processes::{self, Processes};
use demos::{BoxError, session};

const WORKERS: usize = 4;
/// The worker that is killed, and at which of its items.
const VICTIM: (usize, usize) = (2, 200);
/// Items pushed in one transaction.
const CHUNK: usize = 250;
/// Lines that are expected to end as dead letters.
const DEAD: usize = 1;

/// What the queue did with the file.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The line of each item, by its id: one that was pushed twice is here once.
    pub(crate) pushed: BTreeMap<String, String>,
    /// The lines of the items that are dead.
    pub(crate) dead: Vec<String>,
    pub(crate) killed: usize,
}

/// Returns when every item is acknowledged or dead.
pub(crate) async fn run(cluster: &str, lines: &[String], path: &Path) -> Result<Outcome, BoxError> {
    let zk = session::connect("director", cluster).await?;
    let queue = worker::queue(&zk)?;
    let progress = Progress::new(lines.len());
    let mut processes = Processes::new(progress.log);

    let mut pushed = BTreeMap::new();
    push(&queue, lines, &mut pushed).await?;
    progress.note("director", &format!("has pushed the file: {} items", pushed.len()));
    for number in 1..=WORKERS {
        let last_item = if VICTIM.0 == number { VICTIM.1 } else { 0 };
        let arguments = ["--worker", &number.to_string(), &last_item.to_string(), cluster];
        processes.start(
            &format!("worker {number}"),
            processes::myself()?.args(arguments).arg(path),
        )?;
    }
    let again = async {
        push(&queue, lines, &mut pushed).await?;
        progress.note(
            "director",
            &format!("has pushed the file again: still {} items", pushed.len()),
        );
        Ok(())
    };
    let ledger = Ledger::open(path)?;
    let ((), killed) = future::try_join(again, watch(&mut processes, &progress, &queue, &ledger, lines.len())).await?;
    progress.note("director", "sees that all is done");
    processes.end().await?;
    let dead = queue.dead_letters().await?;
    zk.close().await;
    Ok(Outcome {
        pushed,
        dead: dead
            .iter()
            .map(|item| String::from_utf8_lossy(&item.payload).into_owned())
            .collect(),
        killed,
    })
}

/// Pushes all lines. An item that is known by its key is not pushed again, but its id is answered.
async fn push(queue: &WorkQueue, lines: &[String], pushed: &mut BTreeMap<String, String>) -> Result<(), BoxError> {
    for chunk in lines.chunks(CHUNK) {
        let options = |line: &str| PushOptions::new().key(input::key(line)).group(input::account(line));
        let item = |line: &String| NewItem::new(line.clone()).with(options(line));
        let ids = queue.push_all(chunk.iter().map(item)).await?;
        pushed.extend(ids.iter().map(ToString::to_string).zip(chunk.iter().cloned()));
    }
    Ok(())
}

/// Supervises all, and returns when every item is applied or dead: how many workers were killed.
async fn watch(
    processes: &mut Processes,
    progress: &Progress,
    queue: &WorkQueue,
    ledger: &Ledger,
    items: usize,
) -> Result<usize, BoxError> {
    let (mut ready, mut killed) = (0, 0);
    let mut ticks = time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            said = processes.next() => {
                let (name, line) = said?.ok_or("all workers ended")?;
                progress.note(&name, &line);
                if line == "is ready" {
                    ready += 1;
                    if ready == WORKERS {
                        processes.send_all("begin").await?;
                    }
                } else if line.starts_with("stands still") {
                    processes.kill(&name).await?;
                    killed += 1;
                    progress.note(&name, "is killed; its items come back when its session ends");
                }
            }
            _ = ticks.tick() => {
                let applied = ledger.applied()?;
                let open = items.saturating_sub(applied as usize);
                progress.show(applied);
                let is_over = killed > 0 && open <= DEAD && queue.is_empty().await?;
                if is_over && queue.dead_letters().await?.len() >= open {
                    return Ok(killed);
                }
            }
        }
    }
}

/// A bar on standard error, if that is a terminal, under what is noted.
#[derive(Debug)]
struct Progress {
    log: Log,
    bar: ProgressBar,
}

impl Progress {
    fn new(items: usize) -> Self {
        let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:40} {pos}/{len} applied, {per_sec}");
        let bar = ProgressBar::new(items as u64);
        Self {
            log: Log::start(),
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
        }
    }

    fn note(&self, name: &str, what: &str) {
        self.bar.suspend(|| self.log.note(name, what));
    }

    fn show(&self, applied: u32) {
        self.bar.set_position(applied.into());
    }
}

/// What is reached stays on the screen.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
