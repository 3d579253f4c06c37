//! A batch of 5,000 account top-ups that several processes apply, each once, although the file is pushed twice, a worker
//! is killed in mid-batch, and one line is poisoned.
//!
//! ```text
//! cargo run -p demos --bin recharges             # the ledger in a temporary directory
//! cargo run -p demos --bin recharges ledger.db   # the ledger in a new file that is kept
//! ```
//!
//! The `director` pushes the file into a `WorkQueue`, a line an item, and starts four workers (the demo starts
//! itself), whose worker loops apply the items to accounts in a SQLite database (`worker`, `ledger`). What keeps the
//! accounts right:
//!
//! * the **group**: the recharges of one account are applied in their order and one at a time, those of different accounts
//!   side by side;
//! * the **key**: a line that is pushed again, as the whole file is, is known by its first field, and no second item;
//! * the **claim**: an item that was not acknowledged comes back when its worker's session ends. One worker is killed
//!   after it has applied items and before it has acknowledged them: other workers get all of these;
//! * the **item id**: the ledger notes the ids that it has applied, in the same transaction as the amounts. The items
//!   that the dead worker had applied are in it and change nothing the second time;
//! * the **attempts**: a line that cannot be read is given back, and after three attempts it is a dead letter: out of the
//!   way, and kept for an operator to look at.
//!
//! At the end the ledger is compared with the file (`audit`); the exit status is 1 if anything is wrong with it.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod audit;
mod director;
mod input;
mod ledger;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use self::audit::Audit;
use self::ledger::Ledger;
use self::worker::Assignment;
use demos::environment::Environment;
use demos::print::say;
use demos::start::Help;
use demos::{BoxError, shown, start};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/recharges.csv");

const HELP: Help = Help {
    name: "recharges",
    about: "Applies 5,000 top-ups, each once, although a worker is killed and a line is poisoned.",
    arguments: "  LEDGER      a new SQLite file to keep; default: a temporary one\n",
};

fn main() -> ExitCode {
    start::main(HELP, |arguments| match *arguments {
        ["--worker", number, last_item, cluster, ledger] => {
            start::process("recharges", work(number, last_item, cluster, Path::new(ledger)))
        }
        _ => start::demo_with_ledger("recharges", arguments, recharge),
    })
}

async fn work(number: &str, last_item: &str, cluster: &str, ledger: &Path) -> Result<(), BoxError> {
    let assignment = Assignment {
        name: &format!("worker {number}"),
        cluster,
        ledger,
        last_item: Some(last_item.parse()?).filter(|item| *item > 0),
    };
    worker::run(&assignment).await
}

/// Whether everything went well and the ledger is right.
async fn recharge(environment: &Environment, path: &Path) -> Result<bool, BoxError> {
    let lines = input::read(INPUT)?;
    say!("input: {} lines, {}", lines.len(), shown(INPUT));
    let ledger = Ledger::create(path)?;
    say!("ledger: {}", path.display());

    let outcome = director::run(environment.cluster(), &lines, path).await?;
    let again = ledger.again()?;
    let audit = Audit::new(&lines, &outcome.pushed, &outcome.dead, &ledger.books()?);
    audit.print_findings();
    say!(
        "{} killed; {again} items delivered again after they were applied: no change",
        if outcome.killed == 1 { "1 worker" } else { "no worker" },
    );
    say!("{audit}");
    // The run is no test of anything if what the dead worker had done was not delivered again.
    Ok(audit.is_clean() && outcome.killed == 1 && again > 0)
}
