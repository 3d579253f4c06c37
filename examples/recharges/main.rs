//! A batch of 5,000 account top-ups that several processes apply, each once, although the file is pushed twice, a worker
//! is killed in mid-batch, and one line is poisoned.
//!
//! ```text
//! cargo run --example recharges             # the ledger in a temporary directory
//! cargo run --example recharges ledger.db   # the ledger in a new file that is kept
//! ```
//!
//! The `director` pushes the file into a `WorkQueue`, a line an item, and starts four workers (the example starts
//! itself), which take the items in batches and apply them to accounts in a SQLite database (`worker`, `ledger`). What
//! keeps the accounts right:
//!
//! * the **key**: a line that is pushed again, as the whole file is, is known by its first field, and no second item;
//! * the **claim**: an item that was not acknowledged comes back when its worker's session ends. One worker is killed
//!   after it has applied half a batch and before it has acknowledged any of it: another one gets all of these items;
//! * the **item id**: the ledger notes the ids that it has applied, in the same transaction as the amounts. The items
//!   that the dead worker had applied are in it and change nothing the second time;
//! * the **attempts**: the worker that gets the line that nobody can read gives it back, and after three attempts it is
//!   dead: out of the way, and kept for an operator to look at.
//!
//! At the end the ledger is compared with the file (`audit`); the exit status is 1 if anything is wrong with it.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the example starts an embedded server. `RUST_LOG=debug` shows
//! what the crate does.

mod audit;
mod director;
#[path = "../common/ensemble.rs"]
mod ensemble;
mod input;
mod ledger;
#[path = "../common/scratch.rs"]
mod scratch;
mod worker;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::audit::Audit;
use self::ensemble::Ensemble;
use self::ledger::Ledger;
use self::scratch::ScratchDir;
use self::worker::Assignment;

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/recharges.csv");
const USAGE: &str = "usage: recharges [LEDGER]   (a new SQLite file to keep; default: a temporary one)";
/// How many of the audit's findings are printed.
const SHOWN: usize = 5;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["--worker", number, last_batch, cluster, queue, ledger] => {
            work(number, last_batch, cluster, queue, Path::new(ledger))
        }
        [] => recharge(None),
        [ledger] if !ledger.starts_with('-') => recharge(Some(ledger.into())),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("recharges: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(number: &str, last_batch: &str, cluster: &str, queue: &str, ledger: &Path) -> Result<bool, Failure> {
    let assignment = Assignment {
        name: &format!("worker {number}"),
        cluster,
        queue,
        ledger,
        last_batch: Some(last_batch.parse()?).filter(|batch| *batch > 0),
    };
    Runtime::new()?.block_on(worker::run(&assignment))?;
    Ok(true)
}

/// Whether everything went well and the ledger is right.
fn recharge(ledger: Option<PathBuf>) -> Result<bool, Failure> {
    // The runtime serves the embedded server, until the end.
    let runtime = Runtime::new()?;
    let ensemble = runtime.block_on(Ensemble::from_env())?;
    println!("{ensemble}");
    let lines = input::read(Path::new(INPUT))?;
    println!("input: {} lines, {INPUT}", lines.len());
    let scratch = ScratchDir::create()?;
    let path = ledger.unwrap_or_else(|| scratch.path().join("ledger.db"));
    let ledger = Ledger::create(&path)?;
    println!("ledger: SQLite, {}", path.display());

    let outcome = runtime.block_on(director::run(ensemble.connect_string(), &lines, &path))?;
    let books = ledger.books()?;
    let audit = Audit::new(&lines, &outcome.pushed, &outcome.dead, &books);
    for finding in audit.findings().iter().take(SHOWN) {
        println!("audit: {finding}");
    }
    println!(
        "{} killed in mid-batch; {} deliveries of items that were applied before, which changed nothing",
        if outcome.killed == 1 { "1 worker" } else { "no worker" },
        books.again
    );
    println!("{audit}");
    // The run is no test of anything if what the dead worker had done was not delivered again.
    Ok(audit.is_clean() && outcome.killed == 1 && books.again > 0)
}
