//! A settlement run in phases by several processes, which goes on and comes out right although one of them is killed.
//!
//! ```text
//! cargo run -p demos --bin batch
//! ```
//!
//! Four workers (the demo starts itself) settle the shares of a day's payments with a bank, in three phases: every
//! share is reserved, then posted, then confirmed. No share may be posted before all are reserved, and so on, and the
//! bank takes two calls at a time (`bank`). What keeps to that (`worker`):
//!
//! * a `DoubleBarrier` for each phase: no worker begins it before all are there, and none goes on before all are done;
//! * a `Semaphore`: at most two workers at once talk to the bank, over all processes;
//! * a `CountDownLatch` for each phase counts the shares, each once whichever worker did it, and that of the last phase tells
//!   the reporter.
//!
//! In the second phase, the `director` kills a worker while the bank has its call: the share is posted, and no worker
//! knows. Another process takes the worker's place: it finds the phase open and enters, and does the worker's shares
//! again; the bank books none of them twice. The others wait inside meanwhile. The member and the permit of the dead
//! one are given up by the ensemble when its session ends.
//!
//! At the end the bank's book is compared with the input; the exit status is 1 if anything is wrong with it.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod bank;
mod director;
mod shares;
mod worker;

use std::process::ExitCode;

use self::bank::Book;
use self::shares::Shares;
use self::worker::Assignment;
use demos::environment::Environment;
use demos::print::say;
use demos::start::Help;
use demos::{BoxError, shown, start};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/payments.csv");
const PHASES: [&str; 3] = ["reserve", "post", "confirm"];
const SHARES: usize = 12;
const WORKERS: usize = 4;
/// How many calls the bank takes at a time.
const LINES: u32 = 2;

const HELP: Help = Help {
    name: "batch",
    about: "Settles a day in three phases by four processes, of which one is killed.",
    arguments: "",
};

fn main() -> ExitCode {
    start::main(HELP, |arguments| match *arguments {
        ["--worker", number, cluster, bank] => start::process("batch", work(number, cluster, bank)),
        [] => start::demo("batch", settle),
        _ => start::usage("usage: batch"),
    })
}

async fn work(number: &str, cluster: &str, bank: &str) -> Result<(), BoxError> {
    let assignment = Assignment {
        number: number.parse()?,
        cluster,
        bank: bank.parse()?,
        shares: Shares::read(INPUT)?,
    };
    worker::run(&assignment).await
}

/// Whether everything went well and the book is right.
async fn settle(environment: &Environment) -> Result<bool, BoxError> {
    let shares = Shares::read(INPUT)?;
    say!(
        "input: {} payments in {SHARES} shares, {}",
        shares.payments(),
        shown(INPUT)
    );
    let (book, killed) = director::run(environment.cluster()).await?;
    Ok(audit(&shares, &book, killed))
}

/// Compares the bank's book with the input.
fn audit(shares: &Shares, book: &Book, killed: usize) -> bool {
    let due = PHASES.len() * SHARES;
    let right = (0..PHASES.len())
        .flat_map(|phase| (0..SHARES).map(move |share| (phase, share)))
        .filter(|(phase, share)| book.cents(*phase, *share) == Some(shares.cents(*share)))
        .count();
    say!(
        "{} cents; {} asked for again, {} calls at once at most, {killed} of {WORKERS} workers killed",
        shares.total(),
        book.again,
        book.most_at_once
    );
    say!(
        "batch: {due} shares due = {right} booked right; {} wrong, {} out of phase",
        book.wrong,
        book.early
    );
    let most = usize::try_from(LINES).unwrap_or(usize::MAX);
    let kept = book.wrong == 0 && book.early == 0 && book.most_at_once <= most;
    // The run is no test of anything if no worker was killed, or if what that one had done was not done again.
    right == due && kept && killed == 1 && book.again >= 1
}
