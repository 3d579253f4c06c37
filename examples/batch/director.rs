//! The director: starts the workers, kills one while the bank has its call, and puts another in its place.

use std::collections::HashMap;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use tokio::{task, time};

use crate::bank::{Bank, Book};
use crate::{Failure, PHASES, WORKERS, worker};

/// Longer than a run may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Director {
    started: Instant,
    cluster: String,
    root: String,
    bank: Bank,
    trapped: Receiver<usize>,
    workers: Workers,
}

/// Dropping them kills those that are left.
#[derive(Debug, Default)]
struct Workers(HashMap<usize, Child>);

impl Director {
    pub(crate) fn new(cluster: &str) -> Result<Self, Failure> {
        let (tell, trapped) = mpsc::channel();
        Ok(Self {
            started: Instant::now(),
            cluster: cluster.to_owned(),
            root: format!("/batch-{}", uuid::Uuid::new_v4()),
            bank: Bank::open(tell)?,
            trapped,
            workers: Workers::default(),
        })
    }

    /// Returns the bank's book when all is done, and how many workers were killed.
    pub(crate) async fn run(mut self) -> Result<(Book, usize), Failure> {
        let zk = worker::connect("reporter", &self.cluster).await?;
        let root = self.root.clone();
        let playing = task::spawn_blocking(move || {
            let killed = self.play();
            (self, killed)
        });
        time::timeout(PATIENCE, worker::until_done(&zk, &root))
            .await
            .map_err(|_| format!("not done after {PATIENCE:?}"))??;
        println!("reporter: the last share is done");
        let (this, killed) = playing.await?;
        let killed = killed?;
        for phase in 0..PHASES.len() {
            worker::done(&zk, &root, phase)?.remove().await?;
        }
        zk.close().await;
        Ok((this.bank.book(), killed))
    }

    /// Plays it all, and returns when all workers have ended.
    fn play(&mut self) -> Result<usize, Failure> {
        for number in 0..WORKERS {
            self.start(number)?;
        }
        let number = self.trapped.recv_timeout(PATIENCE)?;
        let mut victim = self.workers.0.remove(&number).ok_or("no such worker")?;
        self.note(&format!(
            "worker {number} is killed (SIGKILL), and the bank has its call"
        ));
        victim.kill()?;
        victim.wait()?;
        self.note("another takes its place");
        self.start(number)?;
        for (number, worker) in &mut self.workers.0 {
            let status = worker.wait()?;
            if !status.success() {
                return Err(format!("worker {number}: {status}").into());
            }
        }
        Ok(1)
    }

    fn start(&mut self, number: usize) -> Result<(), Failure> {
        let worker = Command::new(std::env::current_exe()?)
            .args(["--worker", &number.to_string(), &self.cluster, &self.root])
            .arg(self.bank.addr().to_string())
            .spawn()?;
        self.workers.0.insert(number, worker);
        Ok(())
    }

    fn note(&self, what: &str) {
        println!("{:6.2} s  {what}", self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in self.0.values_mut() {
            // Where it has ended, there is nothing to kill.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}
