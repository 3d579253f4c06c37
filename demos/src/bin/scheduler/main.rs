//! Runs the jobs of a crontab on several processes, every one once, although one leader is killed and another is stopped
//! past its session.
//!
//! ```text
//! cargo run -p demos --bin scheduler             # the ledger in a temporary directory
//! cargo run -p demos --bin scheduler ledger.db   # the ledger in a new file that is kept
//! ```
//!
//! Four processes (the demo starts itself) are members of a `Group`, with the address at which they take jobs as
//! their data, and candidates of a `LeaderElection`. The one that leads follows a `Schedule` of minutes, by the clock of
//! the ensemble, and hands each job that is due to a live member (`process`), which runs it and records the run in a SQLite
//! database (`worker`, `ledger`). A minute takes a fifth of a second. Four things keep the record right:
//!
//! * the election: one leader at a time, and another within seconds when it is gone;
//! * the schedule: each minute is recorded once, by the leader. Those that fell between two leaders are run first
//!   (`Misfire::RunAll`), and the one in whose middle a leader was lost is run again (`Starts::AtLeastOnce`), so that nothing
//!   is missed;
//! * the **term**, the leader's fencing token: the ledger refuses records of a term older than the newest it has seen;
//! * job and minute: a run that is ordered again, because no answer came, is recorded no second time.
//!
//! The `director` kills the first leader and has the second one stop, after its last look at its guard and before it
//! records, until a third one leads. At the end the ledger is compared with the crontab; the exit status is 1 if
//! anything is wrong with it.
//!
//! `ZOOKEEPER_CONNECT` names the ensemble; without it the demo starts an embedded server. How a session is opened, with
//! `ConnectOptions`, is in `demos/src/session.rs`. `RUST_LOG=debug` shows what the crate does.

mod crontab;
mod director;
mod ledger;
mod process;
mod signal;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use self::crontab::Crontab;
use self::ledger::Ledger;
use self::process::Assignment;
use demos::environment::Environment;
use demos::print::say;
use demos::start::Help;
use demos::{BoxError, shown, start};

const CRONTAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/crontab");
/// For how long the crontab is followed.
const MINUTES: u32 = 120;
/// How long a minute of the demo takes.
const MINUTE: Duration = Duration::from_millis(200);

const HELP: Help = Help {
    name: "scheduler",
    about: "Runs a crontab on four processes, each job once, though leaders are killed and stopped.",
    arguments: "  LEDGER      a new SQLite file to keep; default: a temporary one\n",
};

fn main() -> ExitCode {
    start::main(HELP, |arguments| match *arguments {
        ["--process", name, cluster, ledger] => {
            start::process("scheduler", be_process(name, cluster, Path::new(ledger)))
        }
        _ => start::demo_with_ledger("scheduler", arguments, schedule),
    })
}

async fn be_process(name: &str, cluster: &str, ledger: &Path) -> Result<(), BoxError> {
    let assignment = Assignment {
        name,
        cluster,
        ledger,
        crontab: Crontab::read(Path::new(CRONTAB))?,
    };
    process::run(&assignment).await
}

/// Whether everything went well and the ledger is right.
async fn schedule(environment: &Environment, path: &Path) -> Result<bool, BoxError> {
    let crontab = Crontab::read(Path::new(CRONTAB))?;
    say!("input: {} jobs, {}", crontab.len(), shown(CRONTAB));
    let ledger = Ledger::create(path)?;
    say!("ledger: {}", path.display());

    director::run(environment.cluster(), path).await?;
    audit(&crontab, &ledger)
}

/// Compares the ledger with the crontab.
fn audit(crontab: &Crontab, ledger: &Ledger) -> Result<bool, BoxError> {
    let (mut due, mut once, mut twice, mut missed) = (0, 0, 0, 0);
    for minute in 0..MINUTES {
        for job in crontab.due(minute) {
            due += 1;
            match ledger.times(job, minute)? {
                0 => missed += 1,
                1 => once += 1,
                _ => twice += 1,
            }
        }
    }
    let terms = ledger.terms()?;
    let refusals = ledger.refusals()?;
    say!("records refused because their term was over: {refusals}");
    say!(
        "scheduler: {due} runs due, {once} recorded once, {twice} twice, {missed} missed, {} terms",
        terms.len()
    );
    let clean = once == due && ledger.runs()? == due && terms.is_sorted() && terms.len() >= 3 && refusals > 0;
    Ok(clean)
}
