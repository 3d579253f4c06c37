//! The commands, one file each, but for those that hold a place.

pub(crate) mod barrier;
pub(crate) mod group;
pub(crate) mod leader;
pub(crate) mod look;
pub(crate) mod queue;
pub(crate) mod server;
pub(crate) mod top;
pub(crate) mod value;

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use crate::failure::Failure;
use crate::globals::Globals;
use zookeeper_recipes::Coordinator;

/// The payload of an argument: the text itself, `-` for standard input, `@FILE`.
pub(crate) fn payload(argument: Option<&str>) -> Result<Vec<u8>, Failure> {
    match argument {
        None | Some("-") => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            read.map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
            Ok(bytes)
        }
        Some(text) => match text.strip_prefix('@') {
            Some(file) => std::fs::read(file).map_err(|error| Failure::usage(format!("cannot read {file}: {error}"))),
            None => Ok(text.as_bytes().to_vec()),
        },
    }
}

/// Asks on the terminal; without one `--yes` is needed.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{question} There is no terminal to ask on; give --yes"
        )));
    }
    eprint!("{question} Go on? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::no("nothing was done")),
    }
}

/// A line that is typed on the terminal, without what is around it; empty at its end. Signals are heard meanwhile.
pub(crate) async fn prompt(question: impl Into<String>) -> String {
    let question = question.into();
    let asked = tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        answer.trim().to_owned()
    });
    asked.await.unwrap_or_default()
}

/// Connects, looks within `--timeout`, and closes the session.
pub(crate) async fn look<T>(
    globals: &Globals,
    what: impl AsyncFnOnce(&Coordinator) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let zk = globals.connect().await?;
    let result = globals.bounded(what(&zk)).await;
    zk.close().await;
    result
}

/// Waits for the end that a signal asks for; returns its number.
#[cfg(unix)]
pub(crate) async fn ended_by_signal() -> i32 {
    match crate::hold::signals::Signals::ending() {
        Ok(mut signals) => signals.recv().await as i32,
        Err(_) => std::future::pending().await,
    }
}
