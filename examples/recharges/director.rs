//! The director: has the file pushed, twice, starts the workers, kills one, and shows how far they are.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures::future;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{self, Instant};
use zookeeper_client::Client;
use zookeeper_recipes::queue::{NewItem, PushOptions, WorkQueue};

use crate::ledger::Ledger;
use crate::{Failure, input, worker};

const WORKERS: usize = 4;
/// The worker that is killed, and in which of its batches.
const VICTIM: (usize, usize) = (2, 3);
/// Items pushed in one transaction.
const CHUNK: usize = 250;
/// Lines that are expected to end as dead items.
const DEAD: usize = 1;
/// Longer than a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

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
pub(crate) async fn run(cluster: &str, lines: &[String], path: &Path) -> Result<Outcome, Failure> {
    let root = format!("/recharges-{}", uuid::Uuid::new_v4());
    let zk = worker::connect("director", cluster).await?;
    let queue = worker::queue(&zk, &root)?;
    let mut pushed = BTreeMap::new();
    let (tell, said) = mpsc::unbounded_channel();
    let mut cast = Cast {
        started: Instant::now(),
        bar: bar(lines.len()),
        workers: HashMap::new(),
        said,
        ready: 0,
        killed: 0,
    };

    push(&queue, lines, &mut pushed).await?;
    cast.note("director", &format!("has pushed the file: {} items", pushed.len()));
    for number in 1..=WORKERS {
        cast.start(number, &tell, &[cluster, &root], path)?;
    }
    let again = async {
        push(&queue, lines, &mut pushed).await?;
        let what = format!("has pushed the file again: still {} items", pushed.len());
        Ok(tell.send(("director".to_owned(), what))?)
    };
    let ledger = Ledger::open(path)?;
    let playing = future::try_join(again, cast.watch(&queue, &ledger, lines.len()));
    time::timeout(PATIENCE, playing)
        .await
        .map_err(|_| format!("not done after {PATIENCE:?}"))??;
    cast.note("director", "sees that all is done");
    let killed = cast.end().await?;
    let dead = queue.dead().await?;
    let outcome = Outcome {
        pushed,
        dead: dead
            .iter()
            .map(|item| String::from_utf8_lossy(&item.payload).into_owned())
            .collect(),
        killed,
    };
    zk.close().await;
    remove(cluster, &root).await?;
    Ok(outcome)
}

/// Pushes all lines. An item that is known by its key is not pushed again, but its id is answered.
async fn push(queue: &WorkQueue, lines: &[String], pushed: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    for chunk in lines.chunks(CHUNK) {
        let item = |line: &String| NewItem::new(line.clone()).with(PushOptions::new().key(input::key(line)));
        let ids = queue.push_all(chunk.iter().map(item)).await?;
        pushed.extend(ids.iter().map(ToString::to_string).zip(chunk.iter().cloned()));
    }
    Ok(())
}

/// Removes the queue of this run, with its keys.
async fn remove(cluster: &str, root: &str) -> Result<(), Failure> {
    let client = Client::connect(cluster).await?;
    let mut levels = vec![vec![root.to_owned()]];
    while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
        let lists = future::join_all(level.iter().map(|path| client.list_children(path))).await;
        let lists = level.iter().zip(lists).flat_map(|(path, names)| {
            let names = names.unwrap_or_default();
            names.into_iter().map(move |name| format!("{path}/{name}"))
        });
        levels.push(lists.collect());
    }
    for level in levels.iter().rev() {
        // The server removes empty containers, too.
        future::join_all(level.iter().map(|path| client.delete(path, None))).await;
    }
    Ok(())
}

/// Who says what.
type Said = (String, String);

/// The workers, and what they say.
#[derive(Debug)]
struct Cast {
    started: Instant,
    bar: ProgressBar,
    workers: HashMap<String, Worker>,
    said: mpsc::UnboundedReceiver<Said>,
    ready: usize,
    killed: usize,
}

/// Dropping it kills it.
#[derive(Debug)]
struct Worker {
    process: Child,
    /// It ends when this does.
    input: Option<ChildStdin>,
}

impl Cast {
    fn start(
        &mut self,
        number: usize,
        tell: &mpsc::UnboundedSender<Said>,
        arguments: &[&str],
        ledger: &Path,
    ) -> Result<(), Failure> {
        let last_batch = if VICTIM.0 == number { VICTIM.1 } else { 0 };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--worker", &number.to_string(), &last_batch.to_string()])
            .args(arguments)
            .arg(ledger)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = process.stdin.take();
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let (name, tell) = (format!("worker {number}"), tell.clone());
        self.workers.insert(name.clone(), Worker { process, input });
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if tell.send((name.clone(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Plays it all, and returns when every item is applied or dead.
    async fn watch(&mut self, queue: &WorkQueue, ledger: &Ledger, items: usize) -> Result<(), Failure> {
        let mut ticks = time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                Some((name, line)) = self.said.recv() => {
                    self.note(&name, &line);
                    if line == "is ready" {
                        self.ready += 1;
                        if self.ready == WORKERS {
                            self.begin().await?;
                        }
                    } else if line.starts_with("stands still") {
                        self.kill(&name).await?;
                    }
                }
                _ = ticks.tick() => {
                    let applied = ledger.applied()?;
                    let open = items.saturating_sub(applied as usize);
                    self.bar.set_position(applied.into());
                    for (name, worker) in &mut self.workers {
                        if let Some(status) = worker.process.try_wait()? {
                            return Err(format!("{name}: {status}").into());
                        }
                    }
                    let is_played = self.killed > 0 && open <= DEAD && queue.is_empty().await?;
                    if is_played && queue.dead().await?.len() >= open {
                        self.bar.abandon();
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        for worker in self.workers.values_mut() {
            let input = worker.input.as_mut().ok_or("no input")?;
            input.write_all(b"begin\n").await?;
        }
        Ok(())
    }

    async fn kill(&mut self, name: &str) -> Result<(), Failure> {
        let mut victim = self.workers.remove(name).ok_or("no such worker")?;
        victim.process.kill().await?;
        self.killed += 1;
        self.note(name, "is killed (SIGKILL); its items come back when its session ends");
        Ok(())
    }

    /// Tells those that are left to end, and waits for them: they finish what they have. Returns how many were killed.
    async fn end(mut self) -> Result<usize, Failure> {
        for worker in self.workers.values_mut() {
            drop(worker.input.take());
        }
        for (name, worker) in &mut self.workers {
            let status = worker.process.wait().await?;
            if !status.success() {
                return Err(format!("{name}: {status}").into());
            }
        }
        Ok(self.killed)
    }

    fn note(&self, name: &str, what: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        self.bar.suspend(|| println!("{elapsed:6.2} s  {name} {what}"));
    }
}

/// On standard error, and only if that is a terminal.
fn bar(items: usize) -> ProgressBar {
    let bar = ProgressBar::new(items as u64);
    let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:40} {pos}/{len} applied, {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
