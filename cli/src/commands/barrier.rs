//! `zkr barrier`.

use clap::{Args, Subcommand};
use serde_json::json;
use std::time::{Duration, SystemTime};
use zookeeper_recipes::zookeeper_client::Error as ClientError;
use zookeeper_recipes::{Barrier, TimeoutError};

use super::{confirm, ended_by_signal, look};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::time::{parse_duration, rfc3339, show_age, show_clock};

#[derive(Debug, Subcommand)]
pub(crate) enum BarrierCommand {
    /// Tell whether it is closed: 0 if it is, 1 if it is not
    Status(PathArgs),
    /// Close it
    Set(ChangeArgs),
    /// Open it
    Lift(ChangeArgs),
    /// Wait until it is open
    Wait(WaitArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PathArgs {
    /// The barrier, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
}

#[derive(Args, Debug)]
pub(crate) struct ChangeArgs {
    /// The barrier, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// The barrier, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Give up after that time
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    wait: Option<Duration>,
}

pub(crate) async fn run(globals: &Globals, command: &BarrierCommand) -> Result<u8, Failure> {
    match command {
        BarrierCommand::Status(args) => status(globals, &args.path).await,
        BarrierCommand::Set(args) => {
            confirm(
                &format!("{} is closed: who waits there goes no further.", args.path),
                args.yes,
            )?;
            look(globals, async |zk| Ok(Barrier::new(zk, &args.path)?.set().await?)).await?;
            Ok(changed(globals, &args.path, true))
        }
        BarrierCommand::Lift(args) => {
            confirm(&format!("{} is opened: who waits there goes on.", args.path), args.yes)?;
            look(globals, async |zk| Ok(Barrier::new(zk, &args.path)?.lift().await?)).await?;
            Ok(changed(globals, &args.path, false))
        }
        BarrierCommand::Wait(args) => {
            let zk = globals.connect().await?;
            let result = tokio::select! {
                opened = wait(&zk, args) => opened,
                signal = ended_by_signal() => Ok(crate::hold::signals::die_of(signal)),
            };
            zk.close().await;
            result
        }
    }
}

fn changed(globals: &Globals, path: &str, closed: bool) -> u8 {
    let out = globals.output();
    if out.json {
        out.object("barrier", json!({"path": path, "closed": closed}));
    } else {
        out.say(&format!("{path} is {}", if closed { "closed" } else { "open" }));
    }
    0
}

async fn status(globals: &Globals, path: &str) -> Result<u8, Failure> {
    let stat = look(globals, async |zk| match zk.client().await?.check_stat(path).await {
        Ok(stat) => Ok(stat),
        Err(ClientError::NoAuth) => Err(Failure::rights(format!("no READ on {path}; use other credentials")).at(path)),
        Err(error) => Err(Failure::unreachable(format!("{path}: {error}; try again")).at(path)),
    })
    .await?;
    let out = globals.output();
    let since = stat.map(|stat| SystemTime::UNIX_EPOCH + Duration::from_millis(stat.ctime.unsigned_abs()));
    match (out.json, since) {
        (true, since) => out.object(
            "barrier",
            json!({"path": path, "closed": since.is_some(), "since": since.map(rfc3339)}),
        ),
        (false, Some(since)) => {
            out.line(&format!(
                "closed since {} ({})",
                show_clock(since, out.utc),
                show_age(since)
            ));
        }
        (false, None) => out.line("open"),
    }
    Ok(u8::from(since.is_none()))
}

async fn wait(zk: &zookeeper_recipes::Coordinator, args: &WaitArgs) -> Result<u8, Failure> {
    let barrier = Barrier::new(zk, &args.path)?;
    match args.wait {
        None => barrier.wait().await?,
        Some(limit) => barrier.wait_timeout(limit).await.map_err(|error| match error {
            TimeoutError::Error(error) => error.into(),
            other => Failure::no(format!("{}: still closed, {other}", args.path)).at(&args.path),
        })?,
    }
    Ok(0)
}
