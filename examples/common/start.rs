//! From `main` to the exit status: 0 if all is right, 1 if anything is wrong, 2 for wrong arguments, 130 after Ctrl-C.

use std::env;
use std::ffi::OsString;
use std::process::{self, ExitCode};
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::{select, signal, time};
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::site::Site;

/// Longer than an example may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a shell reports of a program that SIGINT has ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Error)]
#[error("interrupted")]
struct Interrupted;

/// Calls `main` with the arguments of the program.
pub(crate) fn main(main: impl FnOnce(&[&str]) -> ExitCode) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments: Result<Vec<String>, _> = env::args_os().skip(1).map(OsString::into_string).collect();
    match arguments {
        Ok(arguments) => main(&arguments.iter().map(String::as_str).collect::<Vec<_>>()),
        Err(argument) => usage(&format!("the argument {argument:?} is not Unicode")),
    }
}

/// Plays an example on a site of its own. `play` says whether all is right.
///
/// However that ends, and after Ctrl-C too, nothing of it is left: `play` is dropped and the site cleared.
pub(crate) fn example(name: &str, play: impl AsyncFnOnce(&Site) -> Result<bool, Failure>) -> ExitCode {
    let run = async {
        let site = Site::prepare(name).await?;
        let played = select! {
            // Asked first, so that from now on Ctrl-C is ours.
            biased;
            interrupted = interrupt() => interrupted,
            played = time::timeout(PATIENCE, play(&site)) => {
                played.unwrap_or_else(|_| Err(format!("not done after {PATIENCE:?}").into()))
            }
        };
        let cleared = site.clear().await;
        let is_right = played?;
        cleared.map(|()| is_right)
    };
    // The runtime serves the embedded server, until the end.
    let right = Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run));
    match right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => fail(name, &failure),
    }
}

/// Does the work of a process that an example has started of itself.
pub(crate) fn process(name: &str, work: impl Future<Output = Result<(), Failure>>) -> ExitCode {
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

pub(crate) fn usage(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::from(2)
}

fn fail(name: &str, failure: &Failure) -> ExitCode {
    eprintln!("{name}: {failure}");
    if failure.is::<Interrupted>() {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::FAILURE
    }
}

/// Returns at Ctrl-C. Another one ends the program at once, should the clearing take too long.
async fn interrupt<T>() -> Result<T, Failure> {
    signal::ctrl_c().await?;
    tokio::spawn(async {
        if signal::ctrl_c().await.is_ok() {
            process::exit(INTERRUPTED.into());
        }
    });
    Err(Interrupted.into())
}
