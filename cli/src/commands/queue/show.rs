//! `zkr queue show`.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::queue::{ItemId, ItemInfo, ItemStatus, PastAttempt};

use super::super::look;
use super::{existing, parse_id};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{Output, bytes, clean, counted, write_out};
use crate::time::{rfc3339, show_age, show_clock};

/// So many bytes of a payload are shown; `--raw` and `--json` have all of them.
const WIDEST: usize = 4096;

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The item
    #[arg(value_parser = parse_id)]
    id: ItemId,
    /// The bytes that were pushed, and nothing else
    #[arg(long)]
    raw: bool,
}

pub(crate) async fn run(globals: &Globals, args: &ShowArgs) -> Result<u8, Failure> {
    let item = look(globals, async |zk| {
        Ok(existing(zk, &args.path).await?.item(&args.id).await?)
    })
    .await?;
    let out = globals.output();
    if args.raw {
        let payload = item.payload.as_ref().ok_or_else(|| {
            let message = format!("{} is {}: its payload is not kept", args.id, word(&item.status));
            Failure::no(message).at(&args.path)
        })?;
        write_out(payload);
        return Ok(0);
    }
    match out.json {
        true => out.object("queue_item", object(&args.id, &item)),
        false => print(out, &args.id, &item),
    }
    Ok(u8::from(item.status == ItemStatus::Unknown))
}

fn print(out: Output, id: &ItemId, item: &ItemInfo) {
    out.prose(&format!("{id}  {}", describe(&item.status, out.utc)));
    if let Some(priority) = item.priority {
        let named = |name: &str, value: &Option<String>| {
            let value = value.as_deref().map(|value| clean(value.as_bytes()));
            value.map_or(String::new(), |value| format!("  {name} {value}"))
        };
        let (key, group) = (named("key", &item.key), named("group", &item.group));
        let attempts = counted(usize::try_from(item.attempts).unwrap_or(usize::MAX), "attempt");
        out.prose(&format!("  priority {priority}  {attempts}{key}{group}"));
    }
    if let ItemStatus::Claimed {
        progress: Some(progress),
        ..
    } = &item.status
    {
        out.prose(&format!("  progress  {}", clean(progress)));
    }
    for past in &item.history {
        let when = show_clock(past.when, out.utc);
        out.prose(&format!("  {when}  {}", clean(past.reason.as_bytes())));
    }
    if let Some(payload) = &item.payload {
        let shown = clean(&payload[..payload.len().min(WIDEST)]);
        out.labelled("  payload  ", &shown);
        if payload.len() > WIDEST {
            out.line(&format!("  {WIDEST} of {} bytes; --raw has all", payload.len()));
        }
    }
}

fn object(id: &ItemId, item: &ItemInfo) -> Value {
    let mut object = json!({
        "id": id.to_string(), "status": word(&item.status), "attempt": item.attempts, "key": item.key,
        "group": item.group, "history": history(&item.history),
    });
    if let Some(priority) = item.priority {
        object["priority"] = json!(priority);
    }
    if let Some(payload) = &item.payload {
        object["payload"] = bytes(payload);
    }
    match &item.status {
        ItemStatus::Delayed { until } => object["due_at"] = json!(rfc3339(*until)),
        ItemStatus::Claimed {
            by, since, progress, ..
        } => {
            object["by"] = bytes(by);
            object["since"] = json!(rfc3339(*since));
            if let Some(progress) = progress {
                object["progress"] = bytes(progress);
            }
        }
        ItemStatus::Dead { reason } => object["reason"] = json!(reason),
        _ => {}
    }
    object
}

/// Attempts that have ended, as JSON.
pub(super) fn history(all: &[PastAttempt]) -> Vec<Value> {
    let one = |past: &PastAttempt| json!({"at": rfc3339(past.when), "outcome": past.reason});
    all.iter().map(one).collect()
}

fn word(status: &ItemStatus) -> &'static str {
    match status {
        ItemStatus::Ready => "ready",
        ItemStatus::Delayed { .. } => "delayed",
        ItemStatus::Claimed { .. } => "claimed",
        ItemStatus::Done => "done",
        ItemStatus::Cancelled => "cancelled",
        ItemStatus::Expired => "expired",
        ItemStatus::Dead { .. } => "dead",
        _ => "unknown",
    }
}

fn describe(status: &ItemStatus, utc: bool) -> String {
    match status {
        ItemStatus::Delayed { until } => format!("delayed until {}", show_clock(*until, utc)),
        ItemStatus::Claimed { by, since, attempt, .. } => {
            format!(
                "claimed by {}, attempt {attempt}, since {}",
                clean(by),
                show_age(*since)
            )
        }
        ItemStatus::Dead { reason } => format!("dead: {}", clean(reason.as_bytes())),
        other => word(other).to_owned(),
    }
}
