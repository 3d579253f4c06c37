//! `zkr queue dead`, `redrive`, `purge`.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::queue::{DeadItem, DeadItemError, ItemId};

use super::super::{confirm, look};
use super::show::history;
use super::{existing, parse_id};
use crate::failure::{Failure, chain};
use crate::globals::{Globals, parse_path};
use crate::output::{bytes, clean, counted, table};
use crate::time::{show_age, show_clock};

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
    json!({
        "id": item.id.to_string(), "status": "dead", "attempt": item.attempts, "key": item.key, "group": item.group,
        "payload": bytes(&item.payload), "reason": item.reason, "history": history(&item.history),
    })
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
