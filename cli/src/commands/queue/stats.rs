//! `zkr queue stats`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::queue::{ClaimInfo, QueueStats};

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
}

pub(crate) async fn run(globals: &Globals, args: &StatsArgs) -> Result<u8, Failure> {
    let Some(every) = args.every else {
        let stats = look(globals, async |zk| Ok(existing(zk, &args.path).await?.stats().await?)).await?;
        print(globals.output(), &args.path, &stats);
        return Ok(0);
    };
    let zk = globals.connect().await?;
    let follow = async {
        let queue = existing(&zk, &args.path).await?;
        let mut tick = tokio::time::interval(every.max(Duration::from_millis(100)));
        loop {
            tick.tick().await;
            print(globals.output(), &args.path, &queue.stats().await?);
        }
    };
    let result = tokio::select! {
        failed = follow => failed,
        _ = ended_by_signal() => Ok(0),
    };
    zk.close().await;
    result
}

fn print(out: Output, path: &str, stats: &QueueStats) {
    let oldest = stats.oldest.map(|oldest| oldest.as_secs_f64());
    let turnover = &stats.turnover;
    let over = turnover.over.as_secs_f64();
    if out.json {
        let consumers: Vec<Value> = stats.claims.iter().map(claim).collect();
        out.object(
            "queue_stats",
            json!({
                "path": path, "paused": stats.paused, "paused_by": stats.paused_by, "pause_reason": stats.pause_reason, "ready": stats.ready, "delayed": stats.delayed,
                "claimed": stats.claimed, "dead": stats.dead, "oldest_ready_s": oldest, "consumers": consumers,
                "turnover": {"pushed": turnover.pushed, "done": turnover.done, "over_s": over},
            }),
        );
        return;
    }
    out.prose(&format!("{path}: work queue{}", pause(stats)));
    let oldest = stats.oldest.map_or("-".to_owned(), show_duration);
    out.line(&format!(
        "ready {}  delayed {}  claimed {}  dead {}  oldest {oldest}",
        stats.ready, stats.delayed, stats.claimed, stats.dead
    ));
    out.line(&format!(
        "in the last {over:.0} s: pushed {:.1}/s  done {:.1}/s",
        turnover.pushed_per_second(),
        turnover.done_per_second()
    ));
    if !stats.claims.is_empty() {
        let row = |one: &ClaimInfo| vec![clean(&one.by), one.items.to_string(), show_age(one.since)];
        let rows: Vec<Vec<String>> = stats.claims.iter().map(row).collect();
        out.line(table(&["CONSUMER", "CLAIMS", "SINCE"], &rows, &[0]).trim_end());
    }
}

fn pause(stats: &QueueStats) -> String {
    if !stats.paused {
        return String::new();
    }
    let text = |told: &Option<String>| told.as_deref().map(|text| clean(text.as_bytes()));
    let by = text(&stats.paused_by).map_or(String::new(), |by| format!(" by {by}"));
    let reason = text(&stats.pause_reason).map_or(String::new(), |reason| format!(": {reason}"));
    format!(", paused{by}{reason}")
}

fn claim(one: &ClaimInfo) -> Value {
    json!({"identity": bytes(&one.by), "claims": one.items, "oldest_claim_s": age(one.since).as_secs_f64()})
}
