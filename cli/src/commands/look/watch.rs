//! `zkr watch`: a line for each event at a place.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use zookeeper_recipes::inspect::{Inspector, PlaceInfo, PlaceKind};
use zookeeper_recipes::queue::{QueueStats, WorkQueue};
use zookeeper_recipes::{Coordinator, SessionState};

use super::super::ended_by_signal;
use super::contender;
use super::events::{Event, between, standing};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::Output;
use crate::time::{parse_duration, rfc3339, show_duration, show_moment};

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// The place, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// How often the depth of a work queue is looked at
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = parse_duration)]
    every: Duration,
}

pub(crate) async fn run(globals: &Globals, args: &WatchArgs) -> Result<u8, Failure> {
    let zk = globals.connect().await?;
    let followed = tokio::select! {
        followed = follow(globals, &zk, args) => followed,
        signal = ended_by_signal() => Ok(crate::hold::signals::die_of(signal)),
    };
    zk.close().await;
    followed
}

async fn follow(globals: &Globals, zk: &Coordinator, args: &WatchArgs) -> Result<u8, Failure> {
    let (out, path) = (globals.output(), args.path.as_str());
    let inspector = Inspector::new(zk);
    let mut places = globals.bounded(async { Ok(inspector.observe(path).await?) }).await?;
    let mut states = zk.states();
    states.current_and_update();
    let mut place = places.current_and_update();
    print(out, path, standing(place.as_ref()));
    let mut depth = None;
    let mut tick = tokio::time::interval(args.every.max(Duration::from_millis(100)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = places.changed() => {
                let Some(next) = next else {
                    return Err(Failure::unreachable("the session is over; start again"));
                };
                // What a work queue holds is told by its numbers.
                if !is_queue(next.as_ref()) {
                    print(out, path, between(place.as_ref(), next.as_ref()));
                }
                place = next;
            }
            state = states.changed() => match state {
                Some(state) => print(out, path, [session(state)]),
                None => return Err(Failure::unreachable("the session is over; start again")),
            },
            _ = tick.tick(), if is_queue(place.as_ref()) => {
                let stats = WorkQueue::new(zk, path)?.stats().await?;
                if depth.as_ref().is_none_or(|depth| numbers(depth) != numbers(&stats)) {
                    queue(out, path, &stats);
                    depth = Some(stats);
                }
            }
        }
    }
}

fn is_queue(place: Option<&PlaceInfo>) -> bool {
    place.is_some_and(|place| matches!(place.kind, PlaceKind::WorkQueue(_)))
}

fn numbers(stats: &QueueStats) -> (usize, usize, usize, usize, bool) {
    let QueueStats {
        ready,
        delayed,
        claimed,
        dead,
        paused,
        ..
    } = stats;
    (*ready, *delayed, *claimed, *dead, *paused)
}

fn session(state: SessionState) -> Event {
    Event::of_place("session", state.to_string())
}

fn queue(out: Output, path: &str, stats: &QueueStats) {
    let at = SystemTime::now();
    let (ready, delayed, claimed, dead, paused) = numbers(stats);
    let oldest = stats.oldest;
    if out.json {
        let object = json!({
            "event": "queue", "at": rfc3339(at), "path": path, "count": 1, "ready": ready, "delayed": delayed,
            "claimed": claimed, "dead": dead, "paused": paused, "oldest_ready_s": oldest.map(|age| age.as_secs_f64()),
        });
        return out.object("event", object);
    }
    out.line(&format!(
        "{} queue ready {ready}  delayed {delayed}  claimed {claimed}  dead {dead}  oldest {}{}",
        show_moment(at, out.utc),
        oldest.map_or("-".to_owned(), show_duration),
        if paused { "  paused" } else { "" }
    ));
}

fn print(out: Output, path: &str, events: impl IntoIterator<Item = Event>) {
    let at = SystemTime::now();
    for event in events {
        if !out.json {
            out.line(&format!("{} {}", show_moment(at, out.utc), event.line()));
            continue;
        }
        let mut object = json!({
            "event": event.name, "at": rfc3339(at), "path": path, "count": event.count, "text": event.text,
            "contender": event.contender.as_ref().map(|one| contender(None, one)),
        });
        if let Some(waited) = event.waited {
            object["waited_s"] = json!(waited.as_secs_f64());
        }
        out.object("event", object);
    }
}
