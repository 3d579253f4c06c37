//! Settles payments in parallel, every one exactly once, although one worker is stopped in the middle of its work.
//!
//! ```text
//! cargo run -p demos --bin payments             # the ledger in a temporary directory
//! cargo run -p demos --bin payments ledger.db   # the ledger in a new file that is kept
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
//! books are compared with the input (`audit`); the exit status is 1 if anything is wrong with them. After Ctrl-C, the
//! workers are given 2 s to finish what they have begun (`crew`).
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod audit;
mod crew;
mod job;
mod ledger;
mod report;
mod stall;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use self::audit::Audit;
use self::crew::Crew;
use self::job::Job;
use self::ledger::Ledger;
use demos::environment::Environment;
use demos::print::{complain, say};
use demos::{BoxError, payment, start};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/payments.csv");

fn main() -> ExitCode {
    start::main(|arguments| start::demo_with_ledger("payments", arguments, settle_all))
}

/// Whether everything went well and the books are right.
async fn settle_all(environment: &Environment, path: &Path) -> Result<bool, BoxError> {
    let requests = payment::read(INPUT)?;
    say!("input: {} requests, {INPUT}", requests.len());
    let ledger = Ledger::create(path)?;
    say!("ledger: SQLite, {}", path.display());

    let job = Arc::new(Job::new(requests)?);
    let failures = Crew::start(&job, environment.cluster(), path).end().await;
    for failure in &failures {
        complain!("{failure}");
    }
    let audit = Audit::new(job.requests(), &ledger.books()?, ledger.refusals()?);
    audit.print_findings();
    say!("{audit}");
    Ok(failures.is_empty() && audit.is_clean())
}
