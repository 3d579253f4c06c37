//! Settles payments in parallel, every one exactly once, although one worker is stopped in the middle of its work.
//!
//! ```text
//! cargo run --example payments             # the ledger in a temporary directory
//! cargo run --example payments ledger.db   # the ledger in a new file that is kept
//! ```
//!
//! Four workers take requests from one list. To settle one, a worker reads the balance of its account, computes the new
//! one and writes that. Three things keep the books right, and none of them can stand in for another:
//!
//! * a `FairLock` for each account, for order and efficiency: one worker at a time, first come, first served, so that
//!   nobody computes from a balance that is about to change (`worker`);
//! * the **fencing token** of each grant, for correctness: a worker that was stopped for so long that the ensemble gave
//!   its lock to another writes too late, whatever it believes; the ledger sees the old token and refuses (`ledger`);
//! * the payment's id: a request that arrives again is settled no second time (`ledger`).
//!
//! Midway, one worker is stopped while it holds a lock, long enough for its session to expire (`stall`). At the end the
//! books are compared with the input (`audit`); the exit status is 1 if anything is wrong with them.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the example starts an embedded server. `RUST_LOG=debug` shows
//! what the crate does.

mod audit;
#[path = "../common/ensemble.rs"]
mod ensemble;
mod input;
mod ledger;
mod report;
#[path = "../common/scratch.rs"]
mod scratch;
mod stall;
mod worker;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::audit::Audit;
use self::ensemble::Ensemble;
use self::ledger::Ledger;
use self::scratch::ScratchDir;
use self::worker::Job;

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/payments.csv");
const USAGE: &str = "usage: payments [LEDGER]   (a new SQLite file to keep; default: a temporary one)";
const WORKERS: usize = 4;
/// How many of the audit's findings are printed.
const SHOWN: usize = 5;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args_os().skip(1);
    let ledger = arguments.next().map(PathBuf::from);
    if arguments.next().is_some() || ledger.as_ref().is_some_and(|path| path.as_os_str() == "--help") {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match settle_all(ledger) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("payments: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything went well and the books are right.
fn settle_all(ledger: Option<PathBuf>) -> Result<bool, Failure> {
    let ensemble = Runtime::new()?.block_on(Ensemble::from_env())?;
    println!("{ensemble}");
    let requests = input::read(Path::new(INPUT))?;
    println!("input: {} requests, {INPUT}", requests.len());
    let scratch = ScratchDir::create()?;
    let path = ledger.unwrap_or_else(|| scratch.path().join("ledger.db"));
    let ledger = Ledger::create(&path)?;
    println!("ledger: SQLite, {}", path.display());

    let job = Job::new(requests)?;
    let failures = work(&job, ensemble.connect_string(), &path);
    for failure in &failures {
        eprintln!("{failure}");
    }
    let audit = Audit::new(job.inbox.requests(), &ledger.books()?);
    for finding in audit.findings().iter().take(SHOWN) {
        println!("audit: {finding}");
    }
    if audit.findings().len() > SHOWN {
        println!("audit: {} findings in all", audit.findings().len());
    }
    println!("{audit}");
    Ok(failures.is_empty() && audit.is_clean())
}

/// Runs the workers until no request is left. Each has a thread, a session and a connection to the ledger of its own,
/// as if it were a process on another machine.
fn work(job: &Job, cluster: &str, ledger: &Path) -> Vec<Failure> {
    thread::scope(|scope| {
        let workers: Vec<_> = (1..=WORKERS)
            .map(|number| scope.spawn(move || worker::run(&format!("worker {number}"), job, cluster, ledger)))
            .collect();
        let ends = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ends.filter_map(|end| end.unwrap_or_else(|_| Err("a worker panicked".into())).err())
            .collect()
    })
}
