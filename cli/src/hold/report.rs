//! `--report FILE`: how a held command ended, as one line of JSON.

use std::path::Path;

use serde_json::{Value, json};

use super::running::{Ended, How};
use crate::failure::Failure;

/// The line.
pub(crate) fn report(
    path: &str,
    token: Option<(i64, &str)>,
    times: (f64, f64),
    ended: Option<&Ended>,
    outcome: &str,
) -> Value {
    let (status, signal) = match ended.map(|ended| ended.how) {
        Some(How::Exited(status)) => (Some(status), None),
        Some(How::Signalled(signal)) => (None, Some(signal)),
        _ => (None, None),
    };
    json!({
        "schema": "zkr/1", "kind": "report", "outcome": outcome,
        "reason": ended.and_then(|ended| ended.lost.clone()),
        "path": path, "token": token.map(|(token, _)| token), "node": token.map(|(_, node)| node),
        "waited_s": times.0, "held_s": times.1,
        "cmd_status": status, "cmd_signal": signal,
        "killed": ended.is_some_and(|ended| ended.killed),
        "left_behind": ended.is_some_and(|ended| ended.left),
    })
}

/// Writes it.
pub(crate) fn write(file: Option<&Path>, line: &Value) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    std::fs::write(file, format!("{line}\n"))
        .map_err(|error| Failure::usage(format!("cannot write the report {}: {error}", file.display())))
}
