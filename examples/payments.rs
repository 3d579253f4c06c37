//! Settles payments in parallel, every one exactly once, although one worker is stopped in the middle of its work:
//! `cargo run --example payments`.
//!
//! The plot is the demo `payments`, in `demos/src/bin/payments/`; this starts it.

use std::env;
use std::io;
use std::process::{Command, ExitCode};

fn main() -> io::Result<ExitCode> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut demo = Command::new(cargo);
    demo.args([
        "run",
        "--quiet",
        "--package",
        "demos",
        "--bin",
        "payments",
        "--manifest-path",
    ])
    .args([concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--"])
    .args(env::args_os().skip(1));
    run(&mut demo)
}

/// Becomes the demo, so that Ctrl-C reaches it alone.
#[cfg(unix)]
fn run(demo: &mut Command) -> io::Result<ExitCode> {
    Err(std::os::unix::process::CommandExt::exec(demo))
}

#[cfg(not(unix))]
fn run(demo: &mut Command) -> io::Result<ExitCode> {
    Ok(match demo.status()?.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
