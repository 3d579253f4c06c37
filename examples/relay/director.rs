//! The director: starts the processes, kills the one that stops in its turn, and waits for the end of the chain.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::task;

use crate::chain::Page;
use crate::{Failure, PROCESSES, settler};

/// Longer than a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Director {
    started: Instant,
    cluster: String,
    root: String,
    journal: PathBuf,
    processes: Processes,
}

/// What came of it all.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The end of the chain.
    pub(crate) end: Page,
    pub(crate) killed: usize,
    /// How often a process said that it mended what a lost predecessor had left.
    pub(crate) mended: usize,
}

/// Dropping them kills those that are left.
#[derive(Debug, Default)]
struct Processes(HashMap<String, Child>);

impl Director {
    pub(crate) fn new(cluster: &str, journal: &Path) -> Self {
        Self {
            started: Instant::now(),
            cluster: cluster.to_owned(),
            root: format!("/relay-{}", uuid::Uuid::new_v4()),
            journal: journal.to_owned(),
            processes: Processes::default(),
        }
    }

    pub(crate) async fn run(mut self) -> Result<Outcome, Failure> {
        let zk = settler::connect("director", &self.cluster).await?;
        let root = self.root.clone();
        let (killed, mended) = task::spawn_blocking(move || self.play()).await??;
        let relay = settler::chain(&zk, &root)?;
        let end = settler::page(relay.latest().await?.as_deref())?;
        relay.remove().await?;
        settler::all_here(&zk, &root)?.remove().await?;
        zk.close().await;
        Ok(Outcome { end, killed, mended })
    }

    /// Plays it all, and returns when all processes have ended: how many were killed, and how many mended something.
    fn play(&mut self) -> Result<(usize, usize), Failure> {
        let (tell, said) = mpsc::channel();
        for number in 1..=PROCESSES {
            self.start(number, &tell)?;
        }
        drop(tell);
        let victim = self.until(&said, "stops")?;
        self.note(&victim, "is killed (SIGKILL) in its turn");
        let mut process = self.processes.0.remove(&victim).ok_or("no such process")?;
        process.kill()?;
        process.wait()?;
        let mut mended = 0;
        // Until they have all closed their output.
        loop {
            match said.recv_timeout(PATIENCE) {
                Ok((name, line)) => {
                    self.note(&name, &line);
                    mended += usize::from(line.starts_with("mends"));
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(format!("nobody said anything for {PATIENCE:?}").into()),
            }
        }
        for (name, process) in &mut self.processes.0 {
            let status = process.wait()?;
            if !status.success() {
                return Err(format!("{name}: {status}").into());
            }
        }
        self.note("all", "have ended");
        Ok((1, mended))
    }

    fn start(&mut self, number: usize, tell: &Sender<(String, String)>) -> Result<(), Failure> {
        let name = format!("settler-{number}");
        let fatal = if number == 1 { "fatal" } else { "" };
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--process", &name, &self.cluster, &self.root])
            .arg(&self.journal)
            .arg(fatal)
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (tell, speaker) = (tell.clone(), name.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send((speaker.clone(), line)).is_err() {
                    return;
                }
            }
        });
        self.processes.0.insert(name, child);
        Ok(())
    }

    /// Waits until a process says something, and tells which.
    fn until(&self, said: &Receiver<(String, String)>, beginning: &str) -> Result<String, Failure> {
        loop {
            let (name, line) = said
                .recv_timeout(PATIENCE)
                .map_err(|_| format!("nobody said {beginning:?} for {PATIENCE:?}"))?;
            self.note(&name, &line);
            if line.starts_with(beginning) {
                return Ok(name);
            }
        }
    }

    fn note(&self, name: &str, what: &str) {
        println!("{:6.2} s  {name} {what}", self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.0.values_mut() {
            // Where it has ended, there is nothing to kill.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
