//! `zkr queue push`.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::queue::{ItemId, NewItem, PushError, PushOptions, WorkQueue};

use super::super::{look, payload};
use crate::failure::{Failure, chain};
use crate::globals::{Globals, parse_path};
use crate::time::parse_duration;

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The text, - for standard input, @FILE for a file
    #[arg(allow_hyphen_values = true, conflicts_with = "lines")]
    payload: Option<String>,
    /// An item for each line of standard input
    #[arg(long, conflicts_with_all = ["key"])]
    lines: bool,
    /// An idempotency key: pushed again, nothing is added and the old id is printed
    #[arg(long)]
    key: Option<String>,
    /// 0 is first; 100 by default
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Not before so much time has passed
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// Items of one group are handled in order, one at a time
    #[arg(long, value_name = "G")]
    group: Option<String>,
}

/// So many lines are pushed in one transaction.
const AT_ONCE: usize = 512;

pub(crate) async fn run(globals: &Globals, args: &PushArgs) -> Result<u8, Failure> {
    let items = match args.lines {
        true => {
            let input = payload(None)?;
            let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
            let mut lines: Vec<Vec<u8>> = lines.collect();
            if lines.last().is_some_and(Vec::is_empty) {
                lines.pop();
            }
            lines
        }
        false => vec![payload(args.payload.as_deref())?],
    };
    let ids = look(globals, async |zk| push(zk, args, items).await).await?;
    let out = globals.output();
    if out.json {
        let ids: Vec<String> = ids.iter().map(ItemId::to_string).collect();
        out.object("queue_push", json!({"path": args.path, "ids": ids}));
    } else {
        for id in ids {
            out.line(&id.to_string());
        }
    }
    Ok(0)
}

async fn push(zk: &Coordinator, args: &PushArgs, items: Vec<Vec<u8>>) -> Result<Vec<ItemId>, Failure> {
    let queue = WorkQueue::new(zk, &args.path)?;
    let mut options = PushOptions::new();
    if let Some(key) = &args.key {
        options = options.key(key);
    }
    if let Some(group) = &args.group {
        options = options.group(group);
    }
    if let Some(priority) = args.priority {
        options = options.priority(priority);
    }
    if let Some(delay) = args.delay {
        options = options.delay(delay);
    }
    let mut ids = Vec::new();
    for block in items.chunks(AT_ONCE) {
        let block = block
            .iter()
            .map(|item| NewItem::new(item.clone()).with(options.clone()));
        let pushed = queue.push_all(block.collect::<Vec<_>>()).await;
        ids.extend(pushed.map_err(|error| refused(error, &args.path))?);
    }
    Ok(ids)
}

fn refused(error: PushError, path: &str) -> Failure {
    let failure = match error {
        PushError::Error(error) => error.into(),
        PushError::QueueFull { .. } => Failure::no(chain(&error)),
        PushError::Indeterminate { .. } => Failure::lost(chain(&error)),
        other => Failure::usage(chain(&other)),
    };
    failure.at(path)
}
