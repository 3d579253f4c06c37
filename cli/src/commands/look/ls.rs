//! `zkr ls`: what stands in a tree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zookeeper_recipes::inspect::doctor::{Doctor, Finding, Severity};
use zookeeper_recipes::inspect::{Detail, Inspector, PlaceInfo, PlaceKind};
use zookeeper_recipes::queue::{QueueStats, WorkQueue};
use zookeeper_recipes::{Coordinator, Error};

use super::super::look;
use super::{contender, held, name};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{clean, counted, table};
use crate::time::{age, parse_duration, show_age, show_duration};

/// So long work queues are counted, whose blocks are listed one after the other.
const COUNTING: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The tree, from the chroot
    #[arg(value_parser = parse_path, default_value = "/")]
    tree: String,
    /// Only places of that kind, such as lock or election
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only places with so many waiters, or items that are ready
    #[arg(long, value_name = "N", default_value_t = 0)]
    waiters: usize,
    /// Only places that one has held for longer
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    held_longer: Option<Duration>,
    /// How many stand there, but not who: a list for each place and no reads; no depth of work queues, no findings
    #[arg(long)]
    counts: bool,
    /// The order
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Directories as a tree, sorted by path
    #[arg(long = "tree", conflicts_with = "sort")]
    as_tree: bool,
    /// Plain nodes as well
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    #[default]
    Path,
    Wait,
    Held,
}

/// What was seen of a tree.
struct Listing {
    /// Those that are shown.
    places: Vec<PlaceInfo>,
    /// The numbers of work queues, by path.
    queues: BTreeMap<String, QueueStats>,
    /// What is wrong; nothing where contenders were not read.
    findings: Option<Vec<Finding>>,
    requests: u64,
}

pub(crate) async fn run(globals: &Globals, args: &LsArgs) -> Result<u8, Failure> {
    let mut listing = look(globals, async |zk| list(zk, args).await).await?;
    let places = &mut listing.places;
    places.sort_by(|one, other| one.path.cmp(&other.path));
    match args.sort {
        Sort::Path => {}
        Sort::Wait => places.sort_by_key(|place| Reverse(oldest_wait(place, listing.queues.get(&place.path)))),
        Sort::Held => places.sort_by_key(|place| oldest_hold(place).map_or((true, None), |hold| (false, Some(hold)))),
    }
    print(globals, args, &listing);
    Ok(0)
}

async fn list(zk: &Coordinator, args: &LsArgs) -> Result<Listing, Failure> {
    let inspector = Inspector::new(zk);
    let detail = match args.counts {
        true => Detail::Counts,
        false => Detail::Contenders,
    };
    let mut places = Vec::new();
    // What is not shown may be in a circle with what is; but plain nodes are in none.
    let keep = |place: PlaceInfo| {
        if is_kind(args, &place) || !args.counts && place.kind != PlaceKind::Node {
            places.push(place);
        }
    };
    inspector.for_each(&args.tree, detail, keep).await?;
    let (mut queues, mut findings) = (BTreeMap::new(), None);
    if !args.counts {
        let doctor = Doctor::new(&inspector);
        let mut found = doctor.examine(&args.tree, &places).await?.findings;
        places.retain(|place| is_kind(args, place));
        // What cannot be counted in time hides nothing else.
        let counting = count_queues(zk, &places, &mut queues);
        if let Ok(counted) = tokio::time::timeout(COUNTING, counting).await {
            counted?;
        }
        for (path, stats) in &queues {
            found.extend(doctor.examine_queue(path, stats));
        }
        found.retain(|one| one.severity > Severity::Info);
        findings = Some(found);
    }
    places.retain(|place| is_wanted(args, place, queues.get(&place.path)));
    let requests = zk.stats().requests;
    Ok(Listing {
        places,
        queues,
        findings,
        requests,
    })
}

/// The numbers of the work queues among the places. One that is gone, of another format or hidden by its ACL has none.
async fn count_queues(
    zk: &Coordinator,
    places: &[PlaceInfo],
    queues: &mut BTreeMap<String, QueueStats>,
) -> Result<(), Failure> {
    for place in places.iter().filter(|place| place.kind == PlaceKind::WorkQueue(2)) {
        match WorkQueue::new(zk, &place.path)?.stats().await {
            Ok(stats) => drop(queues.insert(place.path.clone(), stats)),
            Err(error @ Error::Closed) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(())
}

fn oldest_hold(place: &PlaceInfo) -> Option<std::time::SystemTime> {
    place.holders().map(|one| one.since).min()
}

/// For how long the oldest waits, a contender or an item.
fn oldest_wait(place: &PlaceInfo, queue: Option<&QueueStats>) -> Option<Duration> {
    let contender = place.oldest_wait().map(age);
    contender.max(queue.and_then(|queue| queue.oldest))
}

fn is_kind(args: &LsArgs, place: &PlaceInfo) -> bool {
    match &args.kind {
        Some(kind) => place.kind.to_string().split('/').next() == Some(kind),
        None => args.all || place.kind != PlaceKind::Node,
    }
}

fn is_wanted(args: &LsArgs, place: &PlaceInfo, queue: Option<&QueueStats>) -> bool {
    let waiting = place.waiters().count().max(queue.map_or(0, |queue| queue.ready));
    let is_old = args
        .held_longer
        .is_none_or(|most| oldest_hold(place).is_some_and(|since| age(since) > most));
    waiting >= args.waiters && is_old
}

fn print(globals: &Globals, args: &LsArgs, listing: &Listing) {
    let (out, places) = (globals.output(), &listing.places);
    let sessions: BTreeSet<i64> = places
        .iter()
        .flat_map(|place| &place.contenders)
        .map(|one| one.session_id)
        .collect();
    let findings = listing.findings.as_ref().map(Vec::len);
    if out.json {
        let all: Vec<Value> = places
            .iter()
            .map(|place| {
                let mut shown = object(place);
                shown["queue"] = listing.queues.get(&place.path).map_or(Value::Null, numbers);
                shown
            })
            .collect();
        let listed = json!({
            "tree": args.tree, "complete": true, "places": all, "sessions": sessions.len(),
            "requests": listing.requests, "findings": findings,
        });
        out.object("ls", listed);
        return;
    }
    let rows: Vec<Vec<String>> = match args.as_tree {
        true => tree(&args.tree, listing),
        false => places.iter().map(|place| row(place, listing)).collect(),
    };
    let header = ["PATH", "KIND", "HOLDER", "HELD", "WAIT", "OLDEST WAIT"];
    out.line(table(&header, &rows, &[0, 2]).trim_end());
    let contenders: usize = places.iter().map(|place| place.contenders.len()).sum();
    out.say(&format!(
        "{}, {}, {}; {} requests",
        counted(places.len(), "place"),
        counted(contenders, "contender"),
        counted(sessions.len(), "session"),
        listing.requests
    ));
    if let Some(found @ 1..) = findings {
        let found = counted(found, "finding");
        out.say(&format!("! {found}: zkr doctor {}", clean(args.tree.as_bytes())));
    }
}

/// What a work queue holds, as JSON.
fn numbers(stats: &QueueStats) -> Value {
    json!({
        "ready": stats.ready, "delayed": stats.delayed, "claimed": stats.claimed, "dead": stats.dead,
        "consumers": consumers(stats), "oldest_ready_s": stats.oldest.map(|oldest| oldest.as_secs_f64()),
        "paused": stats.paused,
    })
}

/// How many work on items.
fn consumers(stats: &QueueStats) -> usize {
    stats
        .claims
        .iter()
        .map(|claim| &claim.by)
        .collect::<BTreeSet<_>>()
        .len()
}

/// The rows with each directory above them, each one deeper than the one that it is in.
fn tree(root: &str, listing: &Listing) -> Vec<Vec<String>> {
    let mut shown: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for place in &listing.places {
        let below = place.path.strip_prefix(root).unwrap_or(&place.path);
        let names: Vec<&str> = below.split('/').filter(|name| !name.is_empty()).collect();
        let common = shown.iter().zip(&names).take_while(|(one, other)| one == other).count();
        for (depth, name) in names.iter().enumerate().skip(common) {
            let text = format!("{}{}", "  ".repeat(depth), clean(name.as_bytes()));
            if depth + 1 < names.len() {
                rows.push(vec![format!("{text}/")]);
            } else {
                let mut cells = row(place, listing);
                cells[0] = text;
                rows.push(cells);
            }
        }
        if names.is_empty() {
            rows.push(row(place, listing));
        }
        shown = names;
    }
    rows
}

fn row(place: &PlaceInfo, listing: &Listing) -> Vec<String> {
    let doubt = if place.certain { "" } else { "?" };
    let is_about = |finding: &Finding| finding.path == place.path;
    let mark = match listing.findings.iter().flatten().any(is_about) {
        true => " !",
        false => "",
    };
    if let Some(stats) = listing.queues.get(&place.path) {
        return vec![
            clean(place.path.as_bytes()),
            format!("{}{doubt}{mark}", place.kind),
            match consumers(stats) {
                0 => "-".to_owned(),
                working => counted(working, "consumer"),
            },
            "-".to_owned(),
            stats.ready.to_string(),
            stats.oldest.map_or("-".to_owned(), show_duration),
        ];
    }
    let mut holders = place.holders();
    let first = holders.next();
    let more = holders.count();
    let holder = match (place.kind, first, place.permits) {
        (PlaceKind::Semaphore, Some(_), Some(permits)) => format!("{} of {permits}", more + 1),
        (_, Some(one), _) if more > 0 => format!("{} and {more} more", name(one)),
        (_, Some(one), _) => name(one),
        // A line that is not understood is never shown as free.
        (PlaceKind::Mixed | PlaceKind::Line, None, _) => "?".to_owned(),
        (_, None, _) => "-".to_owned(),
    };
    let is_counted = place.kind.is_line() || (place.kind.is_queue() && !matches!(place.kind, PlaceKind::WorkQueue(_)));
    let waiting = match (is_counted, place.contenders.is_empty()) {
        (false, true) => "-".to_owned(),
        (true, true) => place.count.to_string(),
        (_, false) => place.waiters().count().to_string(),
    };
    vec![
        clean(place.path.as_bytes()),
        format!("{}{doubt}{mark}", place.kind),
        holder,
        first.map_or("-".to_owned(), |one| held(place, one)),
        waiting,
        place.oldest_wait().map_or("-".to_owned(), show_age),
    ]
}

/// A place as JSON.
pub(crate) fn object(place: &PlaceInfo) -> Value {
    let also: Vec<String> = place.also.iter().map(ToString::to_string).collect();
    let layouts: Vec<String> = place.layouts().iter().map(ToString::to_string).collect();
    let holders: Vec<Value> = place.holders().map(|one| contender(place, one)).collect();
    json!({
        "path": place.path, "place": place.kind.to_string(), "certain": place.certain, "also": also,
        "because": place.because, "layouts": layouts, "holders": holders, "waiting": place.waiters().count(),
        "count": place.count, "oldest_wait_s": place.oldest_wait().map(|wait| age(wait).as_secs_f64()),
        "next_sequence": place.next_sequence,
    })
}
