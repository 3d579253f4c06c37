//! A settlement run in phases by several processes, which goes on and comes out right although one of them is killed.
//!
//! ```text
//! cargo run --example batch
//! ```
//!
//! Four workers (the example starts itself) settle the shares of a day's payments with a bank, in three phases: every
//! share is reserved, then posted, then confirmed. No share may be posted before all are reserved, and so on, and the
//! bank takes two calls at a time (`bank`). What keeps to that (`worker`):
//!
//! * a `DoubleBarrier` for each phase: no worker begins it before all are there, and none goes on before all are done;
//! * a `Semaphore`: at most two workers at once talk to the bank, over all processes;
//! * a `CountDownLatch` for each phase counts the shares, each once whoever did it, and that of the last phase tells
//!   the reporter.
//!
//! In the second phase, the `director` kills a worker while the bank has its call: the share is posted, and nobody
//! knows. Another process takes the worker's place: it finds the phase open and enters, and does the worker's shares
//! again; the bank books none of them twice. The others wait inside meanwhile. The member and the permit of the dead
//! one are given up by the ensemble when its session ends.
//!
//! At the end the bank's book is compared with the input; the exit status is 1 if anything is wrong with it.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the example starts an embedded server. `RUST_LOG=debug` shows
//! what the crate does.

mod bank;
mod director;
#[path = "../common/ensemble.rs"]
mod ensemble;
mod shares;
mod worker;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::bank::Book;
use self::director::Director;
use self::ensemble::Ensemble;
use self::shares::Shares;
use self::worker::Assignment;

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/payments.csv");
const PHASES: [&str; 3] = ["reserve", "post", "confirm"];
const SHARES: usize = 12;
const WORKERS: usize = 4;
/// How many calls the bank takes at a time.
const LINES: u32 = 2;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["--worker", number, cluster, root, bank] => work(number, cluster, root, bank),
        [] => settle(),
        _ => {
            eprintln!("usage: batch");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(number: &str, cluster: &str, root: &str, bank: &str) -> Result<bool, Failure> {
    let assignment = Assignment {
        number: number.parse()?,
        cluster,
        root,
        bank: bank.parse()?,
        shares: Shares::read(Path::new(INPUT))?,
    };
    Runtime::new()?.block_on(worker::run(&assignment))?;
    Ok(true)
}

/// Whether everything went well and the book is right.
fn settle() -> Result<bool, Failure> {
    let runtime = Runtime::new()?;
    let ensemble = runtime.block_on(Ensemble::from_env())?;
    println!("{ensemble}");
    let shares = Shares::read(Path::new(INPUT))?;
    println!("input: {} payments in {SHARES} shares, {INPUT}", shares.payments());
    let director = Director::new(ensemble.connect_string())?;
    let (book, killed) = runtime.block_on(director.run())?;
    Ok(audit(&shares, &book, killed))
}

/// Compares the bank's book with the input.
fn audit(shares: &Shares, book: &Book, killed: usize) -> bool {
    let due = PHASES.len() * SHARES;
    let right = (0..PHASES.len())
        .flat_map(|phase| (0..SHARES).map(move |share| (phase, share)))
        .filter(|(phase, share)| book.cents(*phase, *share) == Some(shares.cents(*share)))
        .count();
    println!(
        "batch: {due} shares due, {right} booked right, {} wrong, {} asked for again, {} out of phase, {} calls at once \
         at most, {killed} of {WORKERS} workers killed and replaced, {} cents in each phase",
        book.wrong,
        book.again,
        book.early,
        book.most_at_once,
        shares.total(),
    );
    let most = usize::try_from(LINES).unwrap_or(usize::MAX);
    let kept = book.wrong == 0 && book.early == 0 && book.most_at_once <= most;
    // The run is no test of anything if nobody was killed, or if what that one had done was not done again.
    right == due && kept && killed == 1 && book.again >= 1
}
