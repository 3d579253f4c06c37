//! From `main` to the exit status: 0 if all is right, 1 if anything is wrong, 2 for wrong arguments; 130 after Ctrl-C, 143
//! after SIGTERM, 129 after SIGHUP.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::{select, time};
use tracing_subscriber::EnvFilter;

use crate::BoxError;
use crate::environment::Environment;
use crate::interrupt::{Interrupted, Interrupts};
use crate::print::{self, complain, say};

/// Longer than a demo may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is said with `--help`.
#[derive(Clone, Copy, Debug)]
pub struct Help {
    pub name: &'static str,
    pub about: &'static str,
    /// The arguments, and what they mean, a line each.
    pub arguments: &'static str,
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, about, arguments } = self;
        write!(
            f,
            "{about}\n\nusage: cargo run -p demos --bin {name} -- [ARGUMENTS]\n{arguments}  --help      this text\n\n\
             ZOOKEEPER_CONNECT=host:port names the ensemble; without it, a server starts in\n\
             this process. RUST_LOG=debug shows what the crate does.\n\
             Exit status: 0 if all is right, 1 if not, 2 for wrong arguments."
        )
    }
}

/// Calls `main` with the arguments of the program.
pub fn main(help: Help, main: impl FnOnce(&[&str]) -> ExitCode) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Result<Vec<String>, _> = env::args_os().skip(1).map(OsString::into_string).collect();
    match arguments {
        Ok(arguments)
            if arguments
                .iter()
                .any(|argument| argument == "--help" || argument == "-h") =>
        {
            say!("{help}");
            ExitCode::SUCCESS
        }
        Ok(arguments) => main(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        Err(argument) => usage(&format!("the argument {argument:?} is not Unicode")),
    }
}

/// Runs a demo in an environment of its own. `body` says whether all is right.
///
/// However that ends, and after Ctrl-C, SIGTERM and SIGHUP too, nothing of it is left: `body` is dropped and the
/// environment cleared.
pub fn demo(name: &str, body: impl AsyncFnOnce(&Environment) -> Result<bool, BoxError>) -> ExitCode {
    let run = async {
        // Before there is anything to clear.
        let mut interrupts = Interrupts::listen()?;
        let environment = select! {
            biased;
            interrupted = interrupts.first() => interrupted,
            environment = Environment::open(name) => environment,
        }?;
        let work = async {
            environment.prepare().await?;
            body(&environment).await
        };
        let ended = select! {
            biased;
            interrupted = interrupts.first() => interrupted,
            ended = time::timeout(PATIENCE, work) => {
                ended.unwrap_or_else(|_| Err(format!("not done after {PATIENCE:?}").into()))
            }
            never = tell_of_progress() => match never {},
        };
        let cleared = environment.clear().await;
        if let (Err(_), Err(failure)) = (&ended, &cleared) {
            complain!("{name}: {failure}");
        }
        let is_right = ended?;
        cleared.map(|()| is_right)
    };
    // The runtime serves the embedded server, until the end.
    let right = Runtime::new()
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(run));
    match right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => fail(name, &failure),
    }
}

/// Prints a line whenever none was printed for a second.
async fn tell_of_progress() -> Infallible {
    let start = Instant::now();
    loop {
        time::sleep(Duration::from_millis(100)).await;
        if print::quiet_for() >= Duration::from_millis(900) {
            say!("[{:5.1} s] ...", start.elapsed().as_secs_f64());
        }
    }
}

/// As [`demo`], with a ledger: `[LEDGER]` names a new file that is kept.
pub fn demo_with_ledger(
    name: &str,
    arguments: &[&str],
    body: impl AsyncFnOnce(&Environment, &Path) -> Result<bool, BoxError>,
) -> ExitCode {
    let ledger = match *arguments {
        [] => None,
        [ledger] if !ledger.starts_with('-') => Some(PathBuf::from(ledger)),
        _ => {
            return usage(&format!(
                "usage: {name} [LEDGER]   (a new SQLite file to keep; default: a temporary one)"
            ));
        }
    };
    demo(name, async |environment: &Environment| {
        let ledger = ledger.unwrap_or_else(|| environment.scratch("ledger.db"));
        body(environment, &ledger).await
    })
}

/// Does the work of a process that a demo has started of itself.
pub fn process(name: &str, work: impl Future<Output = Result<(), BoxError>>) -> ExitCode {
    let run = || {
        let runtime = Runtime::new()?;
        let worked = runtime.block_on(work);
        // Does not wait for a read of standard input.
        runtime.shutdown_background();
        worked
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(name, &failure),
    }
}

pub fn usage(text: &str) -> ExitCode {
    complain!("{text}");
    ExitCode::from(2)
}

fn fail(name: &str, failure: &BoxError) -> ExitCode {
    // No message repeats its source.
    let sources = iter::successors(failure.source(), |error| error.source());
    let causes: String = sources.map(|source| format!(": {source}")).collect();
    complain!("{name}: {failure}{causes}");
    match failure.downcast_ref::<Interrupted>() {
        Some(interrupted) => ExitCode::from(interrupted.status()),
        None => ExitCode::FAILURE,
    }
}
