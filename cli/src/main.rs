//! `zkr`: runs commands under ZooKeeper locks, shows who holds and who waits, drives work queues.

mod admin;
mod args;
mod commands;
mod failure;
mod globals;
mod hold;
mod output;
mod time;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, Command};
use crate::failure::{Failure, USAGE};
use crate::hold::args::Place;

fn main() -> ExitCode {
    // The monitor and the stub are this program again. They have one thread and no runtime.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("__monitor") => return ExitCode::from(hold::monitor::run(arguments)),
        Some("__exec") => return ExitCode::from(hold::stub::become_command(arguments)),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    start_log(cli.globals.verbose);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(&cli));
            // A thread may wait for standard input.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Failure::internal(format!("no runtime: {error}"))),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            failure.print(cli.globals.json);
            ExitCode::from(failure.status)
        }
    }
}

async fn run(cli: &Cli) -> Result<u8, Failure> {
    let globals = &cli.globals;
    match &cli.command {
        Command::Lock(args) => {
            let (layout, also) = (args.layout, args.also.clone());
            hold::run::run(globals, &args.hold, &Place::Lock { layout, also }).await
        }
        Command::Read(args) => hold::run::run(globals, args, &Place::Read).await,
        Command::Write(args) => hold::run::run(globals, args, &Place::Write).await,
        Command::Permit(args) => {
            let (of, take) = (args.of, args.take);
            hold::run::run(globals, &args.hold, &Place::Permit { of, take }).await
        }
        Command::Elect(args) => {
            let (layout, again) = (args.layout, args.again);
            hold::run::run(globals, &args.hold, &Place::Elect { layout, again }).await
        }
        Command::Ls(args) => commands::look::ls::run(globals, args).await,
        Command::Who(args) => commands::look::who::run(globals, args).await,
        Command::Watch(args) => commands::look::watch::run(globals, args).await,
        Command::Top(args) => commands::top::run(globals, args).await,
        Command::Ask(args) => commands::look::ask::run(globals, args).await,
        Command::Break(args) => commands::look::breaking::run(globals, args).await,
        Command::Doctor(args) => commands::look::doctor::run(globals, args).await,
        Command::Leader(args) => commands::leader::run(globals, args).await,
        Command::Group(args) => commands::group::run(globals, args).await,
        Command::Value(command) => commands::value::run(globals, command).await,
        Command::Barrier(command) => commands::barrier::run(globals, command).await,
        Command::Queue(command) => commands::queue::run(globals, command).await,
        Command::Server(command) => commands::server::run(globals, command).await,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "zkr", &mut script);
            output::write_out(&script);
            Ok(0)
        }
        Command::Man { directory } => manual(directory.as_deref()),
    }
}

fn manual(directory: Option<&std::path::Path>) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("cannot write the manual: {error}"));
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(failed)?;
            clap_mangen::generate_to(Cli::command(), directory).map_err(failed)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(failed)?;
            output::write_out(&page);
        }
    }
    Ok(0)
}

/// The log: nothing but with `-vv` or `ZKR_LOG`, on standard error.
fn start_log(verbose: u8) {
    let filter = match std::env::var("ZKR_LOG") {
        Ok(filter) => filter,
        Err(_) if verbose > 1 => "info".to_owned(),
        Err(_) => return,
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .try_init();
}
