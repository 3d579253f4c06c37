//! The workers. Each has a thread, a session and a connection to the ledger of its own, as if it were a process on
//! another machine.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use crate::job::Job;
use crate::worker;
use demos::BoxError;
use demos::print::complain;

const WORKERS: usize = 4;

/// Dropping it stops the workers: they are given a second to finish what they have begun.
#[derive(Debug)]
pub(crate) struct Crew {
    job: Arc<Job>,
    threads: Vec<JoinHandle<Result<(), BoxError>>>,
    /// Closed when the last of them has ended.
    working: mpsc::Receiver<()>,
}

impl Crew {
    pub(crate) fn start(job: &Arc<Job>, cluster: &str, ledger: &Path) -> Self {
        let (is_working, working) = mpsc::channel(1);
        let start = |number| {
            let (job, is_working) = (Arc::clone(job), is_working.clone());
            let (cluster, ledger) = (cluster.to_owned(), ledger.to_owned());
            thread::spawn(move || {
                let _is_working = is_working;
                worker::run(&format!("worker {number}"), &job, &cluster, &ledger)
            })
        };
        Self {
            job: Arc::clone(job),
            threads: (1..=WORKERS).map(start).collect(),
            working,
        }
    }

    /// Waits until no request is left. Returns what went wrong.
    pub(crate) async fn end(mut self) -> Vec<BoxError> {
        // Nothing is ever sent.
        self.working.recv().await;
        self.join()
    }

    fn join(&mut self) -> Vec<BoxError> {
        let ends = self.threads.drain(..).map(JoinHandle::join);
        ends.filter_map(|end| end.unwrap_or_else(|_| Err("a worker panicked".into())).err())
            .collect()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.job.stop();
        for failure in self.join() {
            complain!("{failure}");
        }
    }
}
