//! A settlement chain: each step needs the result of the one before, several processes take turns, and one of them is
//! killed in the middle of its turn.
//!
//! ```text
//! cargo run -p demos --bin relay
//! ```
//!
//! A day's payments are settled in batches, strictly one after the other: a batch begins with the balance and the seal
//! of the batch before it, and ends with a balance and a seal of its own, as the pages of an account book do. Four
//! processes (the demo starts itself) join a `Relay` again and again; the one that has the turn is given the `previous`
//! result, settles the next batch, and completes the turn with the new one. That is stored in the transaction that
//! gives the turn up, so that there is one chain: only the participant that has the turn can add to it.
//!
//! Half-way, the director kills the process that has the turn (SIGKILL), when it has written half of its batch to the
//! bank's journal. Its successor gets the last completed result and is told that its predecessor was lost: it strikes
//! the unfinished batch out of the journal and settles it again.
//!
//! At the end the chain and the journal are compared with the input; the exit status is 1 if anything is wrong.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod chain;
mod director;
mod journal;
mod settler;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

use self::chain::{Batches, Page};
use self::director::Outcome;
use self::journal::{Entry, Journal};
use self::settler::Assignment;
use demos::environment::Environment;
use demos::print::say;
use demos::start::Help;
use demos::{BoxError, shown, start};

const INPUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/payments.csv");
const BATCHES: usize = 40;
const PROCESSES: usize = 4;
/// The batch in which a process is killed.
const FATAL: usize = BATCHES / 2;

const HELP: Help = Help {
    name: "relay",
    about: "Settles 40 batches strictly one after the other, though a process is killed midway.",
    arguments: "",
};

fn main() -> ExitCode {
    start::main(HELP, |arguments| match *arguments {
        ["--process", name, cluster, journal, fatal] => {
            start::process("relay", settle(name, cluster, journal, fatal == "fatal"))
        }
        [] => start::demo("relay", direct),
        _ => start::usage("usage: relay"),
    })
}

async fn settle(name: &str, cluster: &str, journal: &str, fatal: bool) -> Result<(), BoxError> {
    let assignment = Assignment {
        name,
        cluster,
        journal: Journal::open(Path::new(journal))?,
        batches: Batches::read(INPUT)?,
        fatal,
    };
    settler::run(&assignment).await
}

/// Whether everything went well and the chain is right.
async fn direct(environment: &Environment) -> Result<bool, BoxError> {
    let batches = Batches::read(INPUT)?;
    say!(
        "input: {} payments in {BATCHES} batches, {}",
        batches.payments(),
        shown(INPUT)
    );
    let journal = environment.scratch("journal.csv");
    let outcome = director::run(environment.cluster(), &journal).await?;
    let entries = Journal::open(&journal)?.entries()?;
    Ok(audit(&batches, &outcome, &entries))
}

/// Compares the end of the chain, and the journal, with the input.
fn audit(batches: &Batches, outcome: &Outcome, entries: &[Entry]) -> bool {
    let mut expected = Page::default();
    for number in 0..BATCHES {
        expected = expected.next(batches.of(number).iter().map(|payment| payment.cents).sum());
    }
    let mut settled = HashMap::<&str, usize>::new();
    for entry in entries {
        *settled.entry(&entry.id).or_default() += 1;
    }
    let once = batches
        .all()
        .filter(|payment| settled.get(payment.id.as_str()) == Some(&1))
        .count();
    let twice = settled.values().filter(|times| **times > 1).count();
    let in_order = entries.is_sorted_by_key(|entry| entry.batch);
    let balance: i64 = entries.iter().map(|entry| entry.cents).sum();
    let is_right = outcome.end == expected && balance == expected.balance && in_order;
    say!(
        "{} batches in one chain, which is {}; {} of {PROCESSES} processes killed, {} batch mended",
        outcome.end.number,
        if is_right { "right" } else { "WRONG" },
        outcome.killed,
        outcome.mended
    );
    say!(
        "relay: {} payments due = {once} settled once; {twice} twice, {} lost",
        batches.payments(),
        batches.payments() - once - twice
    );
    // The run is no test of anything if no process was killed in its turn.
    is_right && once == batches.payments() && twice == 0 && outcome.killed == 1 && outcome.mended == 1
}
