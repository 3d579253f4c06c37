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
//!   no worker computes from a balance that is about to change (`worker`);
//! * the **fencing token** of each grant, for correctness: a worker that was stopped for so long that the ensemble gave
//!   its lock to another writes too late, whatever it believes; the ledger sees the old token and refuses (`ledger`);
//! * the payment's id: a request that arrives again is settled no second time (`ledger`).
//!
//! Midway, one worker is stopped while it holds a lock, long enough for its session to expire (`stall`). At the end the
//! books are compared with the input (`audit`); the exit status is 1 if anything is wrong with them. After Ctrl-C, the
//! workers are given a second to finish what they have begun (`crew`).
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod audit;
mod crew;
mod job;
mod ledger;
mod report;
mod stall;
mod timeline;
mod worker;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use self::audit::Audit;
use self::crew::Crew;
use self::job::Job;
use self::ledger::Ledger;
use demos::environment::Environment;
use demos::print::{complain, say};
use demos::start::Help;
use demos::{BoxError, payment, shown, start};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/payments.csv");

const HELP: Help = Help {
    name: "payments",
    about: "Settles 2,200 payment requests, each once, although one worker is stopped midway.",
    arguments: "  LEDGER      a new SQLite file to keep; default: a temporary one\n  --svg FILE  draws who held the stalled account's lock\n",
};

fn main() -> ExitCode {
    start::main(HELP, |arguments| {
        let (svg, arguments) = match *arguments {
            ["--svg", file, ref rest @ ..] => (Some(Path::new(file)), rest),
            ref all => (None, all),
        };
        start::demo_with_ledger("payments", arguments, async |environment, ledger| {
            settle_all(environment, ledger, svg).await
        })
    })
}

/// Whether everything went well and the books are right.
async fn settle_all(environment: &Environment, path: &Path, svg: Option<&Path>) -> Result<bool, BoxError> {
    let requests = payment::read(INPUT)?;
    say!("input: {} requests, {}", requests.len(), shown(INPUT));
    let ledger = Ledger::create(path)?;
    say!("ledger: {}", path.display());

    let job = Arc::new(Job::new(requests)?);
    let failures = Crew::start(&job, environment.cluster(), path).end().await;
    for failure in &failures {
        complain!("{failure}");
    }
    let audit = Audit::new(job.requests(), &ledger.books()?, ledger.refusals()?);
    audit.print_findings();
    say!("{}", job.timeline);
    if let (Some(file), Some(picture)) = (svg, job.timeline.svg()) {
        fs::write(file, picture).map_err(|error| format!("{}: {error}", file.display()))?;
        say!("drawn in {}", file.display());
    }
    say!("{audit}");
    Ok(failures.is_empty() && audit.is_clean())
}
