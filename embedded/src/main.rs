//! `zookeeper-embedded [ADDRESS]`: serves until it is stopped.

use std::io::{self, Write as _};
use std::process::ExitCode;

use zookeeper_embedded::Server;

const USAGE: &str = "usage: zookeeper-embedded [ADDRESS:PORT]   (default 127.0.0.1:2181; port 0 takes a free one)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    if arguments.next().is_some() || address.starts_with('-') {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    }
    match serve(&address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "zookeeper-embedded: cannot serve on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str) -> io::Result<()> {
    let server = Server::builder().address(address).start().await?;
    // The reader of the ready line may stop the server at once.
    let stopped = stop_signal()?;
    println!(
        "ready: connect to {} (in memory, for tests and first runs only)",
        server.connect_string()
    );
    stopped.await?;
    server.shutdown().await;
    say("stopped");
    Ok(())
}

/// Prints a line, if it can: a server whose output is closed goes on serving.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = io::Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = io::Result<()>>> {
    Ok(tokio::signal::ctrl_c())
}
