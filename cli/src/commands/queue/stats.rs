//! `zkr queue stats`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::queue::{ClaimInfo, QueueClaims, QueueStats, WorkQueue};

use super::super::{ended_by_signal, look};
use super::existing;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{Output, bytes, clean, table};
use crate::time::{age, parse_duration, show_age, show_duration};

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Again each time so much has passed, until a signal comes
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    every: Option<Duration>,
    /// The pause and the claims alone, however long the backlog is: what waits is not counted
    #[arg(long)]
    fast: bool,
}

/// What was seen of a queue.
enum Seen {
    All(QueueStats),
    Claims(QueueClaims),
}

pub(crate) async fn run(globals: &Globals, args: &StatsArgs) -> Result<u8, Failure> {
    let out = globals.output();
    let Some(every) = args.every else {
        let seen = look(globals, async |zk| {
            see(&existing(zk, &args.path).await?, args.fast).await
        })
        .await?;
        print(out, &args.path, &seen);
        return Ok(0);
    };
    let zk = globals.connect().await?;
    let follow = async {
        let queue = existing(&zk, &args.path).await?;
        let mut tick = tokio::time::interval(every.max(Duration::from_millis(100)));
        loop {
            tick.tick().await;
            print(out, &args.path, &see(&queue, args.fast).await?);
        }
    };
    let result = tokio::select! {
        failed = follow => failed,
        _ = ended_by_signal() => Ok(0),
    };
    zk.close().await;
    result
}

async fn see(queue: &WorkQueue, fast: bool) -> Result<Seen, Failure> {
    Ok(match fast {
        true => Seen::Claims(queue.claims().await?),
        false => Seen::All(queue.stats().await?),
    })
}

fn print(out: Output, path: &str, seen: &Seen) {
    match (out.json, seen) {
        (true, Seen::All(stats)) => out.object("queue_stats", object(path, stats)),
        (true, Seen::Claims(seen)) => out.object("queue_stats", fast_object(path, seen)),
        (false, Seen::All(stats)) => print_all(out, path, stats),
        (false, Seen::Claims(seen)) => print_claims(out, path, seen),
    }
}

fn object(path: &str, stats: &QueueStats) -> Value {
    let turnover = &stats.turnover;
    let over = turnover.over.as_secs_f64();
    json!({
        "path": path, "paused": stats.paused, "paused_by": stats.paused_by, "pause_reason": stats.pause_reason,
        "ready": stats.ready, "delayed": stats.delayed, "claimed": stats.claimed, "dead": stats.dead,
        "oldest_ready_s": stats.oldest.map(|oldest| oldest.as_secs_f64()), "consumers": consumers(&stats.claims),
        "turnover": {"pushed": turnover.pushed, "done": turnover.done, "over_s": over}, "counted": true,
    })
}

/// What is not counted is null.
fn fast_object(path: &str, seen: &QueueClaims) -> Value {
    json!({
        "path": path, "paused": seen.paused, "paused_by": seen.paused_by, "pause_reason": seen.pause_reason,
        "ready": null, "delayed": null, "claimed": null, "dead": null, "oldest_ready_s": null,
        "consumers": consumers(&seen.claims), "turnover": null, "counted": false,
    })
}

fn print_all(out: Output, path: &str, stats: &QueueStats) {
    let paused = pause(stats.paused, &stats.paused_by, &stats.pause_reason);
    out.prose(&format!("{path}: work queue{paused}"));
    let oldest = stats.oldest.map_or("-".to_owned(), show_duration);
    out.line(&format!(
        "ready {}  delayed {}  claimed {}  dead {}  oldest {oldest}",
        stats.ready, stats.delayed, stats.claimed, stats.dead
    ));
    let turnover = &stats.turnover;
    out.line(&format!(
        "in the last {:.0} s: pushed {:.1}/s  done {:.1}/s",
        turnover.over.as_secs_f64(),
        turnover.pushed_per_second(),
        turnover.done_per_second()
    ));
    print_consumers(out, &stats.claims);
}

fn print_claims(out: Output, path: &str, seen: &QueueClaims) {
    let paused = pause(seen.paused, &seen.paused_by, &seen.pause_reason);
    out.prose(&format!("{path}: work queue{paused}"));
    let items: usize = seen.claims.iter().map(|one| one.items).sum();
    out.prose(&format!(
        "claimed at least {items}  (--fast: depths are not counted, and claims at the front alone are seen)"
    ));
    print_consumers(out, &seen.claims);
}

fn print_consumers(out: Output, claims: &[ClaimInfo]) {
    if claims.is_empty() {
        return;
    }
    let row = |one: ClaimInfo| {
        vec![
            clean(&one.by),
            format!("{:#x}", one.session_id),
            one.items.to_string(),
            show_age(one.since),
            one.deadline.map_or("none".to_owned(), show_left),
        ]
    };
    let rows: Vec<Vec<String>> = by_consumer(claims).into_iter().map(row).collect();
    let header = ["CONSUMER", "SESSION", "CLAIMS", "OLDEST CLAIM", "DEADLINE"];
    out.line(table(&header, &rows, &[0]).trim_end());
}

/// How long it is until then.
fn show_left(deadline: SystemTime) -> String {
    match deadline.duration_since(SystemTime::now()) {
        Ok(left) => show_duration(left),
        Err(_) => "over".to_owned(),
    }
}

/// One for each session: all items that it holds, the oldest claim and the first deadline.
fn by_consumer(claims: &[ClaimInfo]) -> Vec<ClaimInfo> {
    let mut consumers: BTreeMap<(&[u8], i64), ClaimInfo> = BTreeMap::new();
    for claim in claims {
        let known = consumers.entry((&claim.by, claim.session_id));
        let sum = |sum: &mut ClaimInfo| {
            sum.items += claim.items;
            sum.since = sum.since.min(claim.since);
            sum.deadline = sum.deadline.into_iter().chain(claim.deadline).min();
        };
        known.and_modify(sum).or_insert_with(|| claim.clone());
    }
    consumers.into_values().collect()
}

fn pause(is_paused: bool, by: &Option<String>, reason: &Option<String>) -> String {
    if !is_paused {
        return String::new();
    }
    let text = |told: &Option<String>| told.as_deref().map(|text| clean(text.as_bytes()));
    let by = text(by).map_or(String::new(), |by| format!(" by {by}"));
    let reason = text(reason).map_or(String::new(), |reason| format!(": {reason}"));
    format!(", paused{by}{reason}")
}

fn consumers(claims: &[ClaimInfo]) -> Vec<Value> {
    let left = |deadline: SystemTime| {
        deadline
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .as_secs_f64()
    };
    let one = |one: ClaimInfo| {
        json!({
            "identity": bytes(&one.by), "session": format!("{:#x}", one.session_id), "claims": one.items,
            "oldest_claim_s": age(one.since).as_secs_f64(), "deadline_s": one.deadline.map(left),
        })
    };
    by_consumer(claims).into_iter().map(one).collect()
}
