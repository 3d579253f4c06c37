//! `zkr server start`: the embedded server, for trying.

use std::ffi::OsString;
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use zookeeper_embedded::Server;

use super::ended_by_signal;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::time::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Serve from memory until a signal comes, or until the command has ended
    #[command(after_help = "Example: zkr server start -- ./integration-test.sh")]
    Start(StartArgs),
}

#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2181")]
    listen: String,
    /// The tick, of which session timeouts are 2 to 20
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = parse_duration)]
    tick: Duration,
    /// Listen on an address that others can reach; there is no protection at all
    #[arg(long)]
    unsafe_listen: bool,
    /// A command, which gets ZOOKEEPER_CONNECT
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) async fn run(globals: &Globals, command: &ServerCommand) -> Result<u8, Failure> {
    let ServerCommand::Start(args) = command;
    let out = globals.output();
    let wrong = |error: std::io::Error| Failure::usage(format!("{}: {error}; write HOST:PORT", args.listen));
    let mut addresses = args.listen.to_socket_addrs().map_err(wrong)?;
    if !args.unsafe_listen && !addresses.all(|address| address.ip().is_loopback()) {
        return Err(Failure::usage(format!(
            "{} can be reached by others, and this server protects nothing; give --unsafe-listen if you mean it",
            args.listen
        )));
    }
    let ended = ended_by_signal();
    tokio::pin!(ended);
    let builder = Server::builder().address(args.listen.clone()).tick_time(args.tick);
    let started = builder.start().await;
    let server = started.map_err(|error| cannot_listen(&args.listen, &error))?;
    let connect = server.connect_string();
    let status = if let Some((program, arguments)) = args.command.split_first() {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env("ZOOKEEPER_CONNECT", &connect);
        with_command(command, program, &mut ended).await?
    } else {
        match out.json {
            true => out.object("server", json!({"connect": connect})),
            false => out.line(&format!("ready {connect}")),
        }
        // To be stopped is how it ends.
        ended.await;
        0
    };
    server.shutdown().await;
    Ok(status)
}

async fn with_command(
    mut command: tokio::process::Command,
    program: &std::ffi::OsStr,
    ended: &mut (impl Future<Output = i32> + Unpin),
) -> Result<u8, Failure> {
    use std::os::unix::process::ExitStatusExt as _;
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("zkr: cannot run {}: {error}", program.to_string_lossy());
            return Ok(if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            });
        }
    };
    let gone = |error: std::io::Error| Failure::internal(format!("cannot wait for the command: {error}"));
    let status = tokio::select! {
        status = child.wait() => status.map_err(gone)?,
        signal = ended => {
            if let (Some(id), Ok(signal)) = (child.id(), nix::sys::signal::Signal::try_from(signal)) {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX));
                let _ = nix::sys::signal::kill(pid, signal);
            }
            child.wait().await.map_err(gone)?
        }
    };
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => crate::hold::signals::die_of(signal),
        (None, None) => crate::failure::INTERNAL,
    })
}

fn cannot_listen(address: &str, error: &std::io::Error) -> Failure {
    let free = next_free(address)
        .map(|port| format!("; {port} is free"))
        .unwrap_or_default();
    Failure::unreachable(format!("cannot listen on {address}: {error}{free}"))
}

fn next_free(address: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let mut candidates = (port.checked_add(1)?..=u16::MAX)
        .take(100)
        .map(|port| format!("{host}:{port}"));
    candidates.find(|candidate| std::net::TcpListener::bind(candidate).is_ok())
}
