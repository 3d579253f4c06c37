//! `zkr queue`: push to, pop from and repair a work queue.

mod dead;
mod peek;
mod pop;
mod push;
mod show;
mod stats;

use clap::{Args, Subcommand};
use serde_json::json;
use zookeeper_recipes::queue::{ItemId, WorkQueue};
use zookeeper_recipes::{Coordinator, Error};

use super::look;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Push an item, or one for each line of standard input
    Push(push::PushArgs),
    /// Take an item: run a command on it, or print it
    Pop(pop::PopArgs),
    /// Show how many items there are, and who works on which
    Stats(stats::StatsArgs),
    /// List the dead letters
    Dead(dead::DeadArgs),
    /// Show where an item is, what was pushed, and how its attempts ended
    Show(show::ShowArgs),
    /// Give dead letters back to the queue, with all attempts
    Redrive(dead::ChangeArgs),
    /// Remove dead letters; that cannot be undone
    Purge(dead::ChangeArgs),
    /// Stop deliveries; running claims go on
    Pause(PauseArgs),
    /// Go on with deliveries
    Resume(ResumeArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Why; `zkr queue stats` shows it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
}

pub(crate) async fn run(globals: &Globals, command: &QueueCommand) -> Result<u8, Failure> {
    match command {
        QueueCommand::Push(args) => push::run(globals, args).await,
        QueueCommand::Pop(args) => pop::run(globals, args).await,
        QueueCommand::Stats(args) => stats::run(globals, args).await,
        QueueCommand::Dead(args) => dead::list(globals, args).await,
        QueueCommand::Show(args) => show::run(globals, args).await,
        QueueCommand::Redrive(args) => dead::change(globals, args, dead::Verb::Redrive).await,
        QueueCommand::Purge(args) => dead::change(globals, args, dead::Verb::Purge).await,
        QueueCommand::Pause(args) => pause(globals, &args.path, Some(&args.reason)).await,
        QueueCommand::Resume(args) => pause(globals, &args.path, None).await,
    }
}

/// The queue at a path that has one: commands that look or repair make none.
async fn existing(zk: &Coordinator, path: &str) -> Result<WorkQueue, Failure> {
    use zookeeper_recipes::zookeeper_client::Error as ClientError;
    match zk.client().await?.get_data(path).await {
        Ok((data, _)) if data.starts_with(b"zookeeper-recipes work queue") => Ok(WorkQueue::new(zk, path)?),
        Ok(_) => Err(Failure::layout(format!("{path} is no work queue; zkr ls shows what stands there")).at(path)),
        Err(ClientError::NoNode) => {
            Err(Failure::no(format!("{path} does not exist; the first push makes it")).at(path))
        }
        Err(ClientError::NoAuth) => Err(Failure::rights(format!("no READ on {path}; use other credentials")).at(path)),
        Err(error) => Err(Failure::unreachable(format!("{path}: {error}; try again")).at(path)),
    }
}

fn parse_id(text: &str) -> Result<ItemId, String> {
    text.parse::<ItemId>().map_err(|error| error.to_string())
}

/// Pauses a queue for a reason, or goes on with it.
async fn pause(globals: &Globals, path: &str, reason: Option<&str>) -> Result<u8, Failure> {
    let claimed = look(globals, async |zk| {
        let queue = existing(zk, path).await?;
        let done: Result<(), Error> = match reason {
            Some(reason) => queue.pause_because(reason).await,
            None => queue.resume().await,
        };
        done?;
        Ok(queue.stats().await?.claimed)
    })
    .await?;
    let out = globals.output();
    let verb = if reason.is_some() { "pause" } else { "resume" };
    match (out.json, reason.is_some()) {
        (true, _) => out.object("queue_change", json!({"path": path, "verb": verb, "count": claimed})),
        (false, true) => out.line(&format!("paused; {claimed} running claims go on")),
        (false, false) => out.line("resumed"),
    }
    Ok(0)
}
