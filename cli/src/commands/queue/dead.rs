//! `zkr queue dead`, `show`, `redrive`, `purge`.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::queue::{DeadItem, DeadItemError, ItemId, ItemStatus, WorkQueue};

use super::super::{confirm, look};
use super::{existing, parse_id};
use crate::failure::{Failure, chain};
use crate::globals::{Globals, parse_path};
use crate::output::{bytes, clean, counted, table, write_out};
use crate::time::{rfc3339, show_age, show_clock};

#[derive(Args, Debug)]
pub(crate) struct DeadArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Those behind that one
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    after: Option<ItemId>,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The item
    #[arg(value_parser = parse_id)]
    id: ItemId,
    /// The bytes of a dead letter, and nothing else
    #[arg(long)]
    raw: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ChangeArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The dead letters
    #[arg(value_name = "ID", value_parser = parse_id, required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<ItemId>,
    /// All dead letters
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Redrive,
    Purge,
}

pub(crate) async fn list(globals: &Globals, args: &DeadArgs) -> Result<u8, Failure> {
    let out = globals.output();
    let (page, all) = look(globals, async |zk| {
        let queue = existing(zk, &args.path).await?;
        let page = queue.dead_letters_page(args.after.as_ref(), args.limit).await?;
        Ok((page, queue.stats().await?.dead))
    })
    .await?;
    let is_full = page.len() == args.limit && page.len() < all;
    let next = page.last().filter(|_| is_full).map(|item| item.id.to_string());
    if out.json {
        let items: Vec<Value> = page.iter().map(object).collect();
        out.object("queue_dead", json!({"path": args.path, "items": items, "next": next}));
        return Ok(0);
    }
    let row = |item: &DeadItem| {
        let died = item.history.last().map(|last| last.when);
        let died = died.map_or("-".to_owned(), |died| {
            format!("{} ({})", show_clock(died, out.utc), show_age(died))
        });
        vec![
            item.id.to_string(),
            item.attempts.to_string(),
            died,
            clean(item.reason.as_bytes()),
        ]
    };
    let rows: Vec<Vec<String>> = page.iter().map(row).collect();
    if !rows.is_empty() {
        out.line(table(&["ID", "ATTEMPTS", "DIED", "REASON"], &rows, &[3]).trim_end());
    }
    let next = next.map(|next| format!("; next: --after {next}")).unwrap_or_default();
    out.line(&format!("{} of {all}{next}", page.len()));
    Ok(0)
}

fn object(item: &DeadItem) -> Value {
    let attempts = item
        .history
        .iter()
        .map(|past| json!({"at": rfc3339(past.when), "outcome": past.reason}));
    json!({
        "id": item.id.to_string(), "status": "dead", "attempt": item.attempts, "key": item.key, "group": item.group,
        "payload": bytes(&item.payload), "reason": item.reason, "history": attempts.collect::<Vec<_>>(),
    })
}

/// The dead letter of an id: page by page, since that is how they are read.
async fn find(queue: &WorkQueue, id: &ItemId) -> Result<Option<DeadItem>, Failure> {
    let mut last: Option<ItemId> = None;
    loop {
        let page = queue.dead_letters_page(last.as_ref(), 128).await?;
        last = page.last().map(|item| item.id.clone());
        if let Some(item) = page.into_iter().find(|item| item.id == *id) {
            return Ok(Some(item));
        }
        if last.is_none() {
            return Ok(None);
        }
    }
}

pub(crate) async fn show(globals: &Globals, args: &ShowArgs) -> Result<u8, Failure> {
    let (status, dead) = look(globals, async |zk| {
        let queue = existing(zk, &args.path).await?;
        let status = queue.status(&args.id).await?;
        let dead = match status {
            ItemStatus::Dead { .. } => find(&queue, &args.id).await?,
            _ => None,
        };
        Ok((status, dead))
    })
    .await?;
    let out = globals.output();
    let unknown = u8::from(status == ItemStatus::Unknown);
    if args.raw {
        let payload = dead.map(|item| item.payload).ok_or_else(|| {
            Failure::no(format!(
                "{} is no dead letter; the bytes of others are not read",
                args.id
            ))
            .at(&args.path)
        })?;
        write_out(&payload);
        return Ok(0);
    }
    if out.json {
        let shown = match &dead {
            Some(item) => object(item),
            None => status_object(args, &status),
        };
        out.object("queue_item", shown);
        return Ok(unknown);
    }
    out.line(&format!("{}  {}", args.id, describe(&status, out.utc)));
    if let Some(item) = dead {
        for past in &item.history {
            out.line(&format!(
                "  {}  {}",
                show_clock(past.when, out.utc),
                clean(past.reason.as_bytes())
            ));
        }
        out.line(&format!("  payload  {}", clean(&item.payload)));
    }
    Ok(unknown)
}

fn status_object(args: &ShowArgs, status: &ItemStatus) -> Value {
    let id = args.id.to_string();
    match status {
        ItemStatus::Delayed { until } => json!({"id": id, "status": "delayed", "due_at": rfc3339(*until)}),
        ItemStatus::Claimed { by, since, attempt, .. } => json!({
            "id": id, "status": "claimed", "attempt": attempt, "by": bytes(by), "since": rfc3339(*since),
        }),
        other => json!({"id": id, "status": word(other)}),
    }
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

pub(crate) async fn change(globals: &Globals, args: &ChangeArgs, verb: Verb) -> Result<u8, Failure> {
    let zk = globals.connect().await?;
    let result = change_all(globals, &zk, args, verb).await;
    zk.close().await;
    let count = result?;
    let out = globals.output();
    let (name, done) = match verb {
        Verb::Redrive => ("redrive", "redriven"),
        Verb::Purge => ("purge", "purged"),
    };
    match out.json {
        true => out.object("queue_change", json!({"path": args.path, "verb": name, "count": count})),
        false => out.line(&format!("{done} {count}")),
    }
    Ok(0)
}

async fn change_all(globals: &Globals, zk: &Coordinator, args: &ChangeArgs, verb: Verb) -> Result<usize, Failure> {
    let queue = existing(zk, &args.path).await?;
    let failed = |error: DeadItemError| match error {
        DeadItemError::Error(error) => error.into(),
        DeadItemError::Indeterminate => Failure::lost(chain(&error)).at(&args.path),
        DeadItemError::Unreadable { .. } => Failure::layout(chain(&error)).at(&args.path),
        other => Failure::no(chain(&other)).at(&args.path),
    };
    if !args.all {
        for id in &args.ids {
            let done = if verb == Verb::Redrive {
                queue.redrive(id).await
            } else {
                queue.purge(id).await
            };
            done.map_err(failed)?;
        }
        return Ok(args.ids.len());
    }
    let count = queue.stats().await?.dead;
    let first = queue.dead_letters_page(None, 5).await?;
    for item in &first {
        globals
            .output()
            .say(&format!("{}  {}", item.id, clean(item.reason.as_bytes())));
    }
    let letters = counted(count, "dead letter");
    let question = match verb {
        Verb::Redrive => format!("To bring back, with all attempts: {letters}."),
        Verb::Purge => format!("To remove, which cannot be undone: {letters}."),
    };
    confirm(&question, args.yes)?;
    let done = if verb == Verb::Redrive {
        queue.redrive_all().await
    } else {
        queue.purge_all().await
    };
    done.map_err(failed)
}
