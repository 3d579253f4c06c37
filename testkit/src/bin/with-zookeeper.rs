//! `with-zookeeper COMMAND...` runs a command with `ZOOKEEPER_CONNECT` naming a real server that lives as long as it does.

use std::process::{Command, ExitCode};

use zookeeper_testkit::RealServer;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-zookeeper COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let server = RealServer::start().await;
    let status = Command::new(&program)
        .args(arguments)
        .env("ZOOKEEPER_CONNECT", server.connect_string())
        .status();
    drop(server);
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("with-zookeeper: {program:?} ended with {status}");
            ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        Err(err) => {
            eprintln!("with-zookeeper: cannot run {program:?}: {err}");
            ExitCode::from(127)
        }
    }
}
