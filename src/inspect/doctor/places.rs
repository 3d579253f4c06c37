//! Checks of one place: pure.

use std::time::{Duration, SystemTime};

use super::super::place::{PlaceInfo, PlaceKind};
use super::Limits;
use super::findings::{Check, Finding, Severity};
use crate::line::ContenderLayout;

/// Sequence numbers from which on is warned, and from which on it is an error.
const SEQUENCES: (i32, i32) = (1_600_000_000, 2_100_000_000);

/// The sizes of a list, of the 1,048,575 bytes that Java's client takes: some 13,000 and 17,000 names.
const LIST_SIZES: (usize, usize) = (767_000, 1_003_000);

/// An election that changes hands so many times an hour flaps.
const TERMS_PER_HOUR: f64 = 60.0;

const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;

/// Adds what is wrong with `place` as of `now`.
pub(super) fn check(place: &PlaceInfo, limits: &Limits, now: SystemTime, findings: &mut Vec<Finding>) {
    findings.extend(layouts(place));
    findings.extend(blocks_java(place));
    findings.extend(sequence(place, now));
    findings.extend(size(place));
    findings.extend(semaphore(place));
    findings.extend(flapping(place, now));
    findings.extend(ages(place, limits, now));
    if place.kind == PlaceKind::NoRights {
        let message = "its children may not be listed: nothing is known of what stands there";
        let remedy = "connect with credentials that may read it";
        findings.push(Finding::new(
            Check::Rights,
            Severity::Warn,
            &place.path,
            message,
            remedy,
        ));
    }
}

/// Names that do not see each other.
fn layouts(place: &PlaceInfo) -> Option<Finding> {
    let of_curator = place
        .contenders
        .iter()
        .any(|one| one.layout == ContenderLayout::Curator);
    let in_kazoos_names = |path: &str| path.contains("__lock__") || path.contains("__rlock__");
    let hidden = place.contenders.iter().any(|one| in_kazoos_names(&one.path));
    let message = if place.kind.is_lock() && of_curator && hidden {
        "Curator stands here and does not see kazoo's names: two may hold".to_owned()
    } else if place.kind == PlaceKind::Mixed && !place.contenders.is_empty() {
        let misfits = place.misfits.join(", ");
        format!("children that do not belong together ({misfits}): two may hold")
    } else {
        return None;
    };
    let remedy = "stop the clients of one side, and give each recipe a path of its own (docs/interop.md)";
    Some(Finding::new(
        Check::MixedLayouts,
        Severity::Error,
        &place.path,
        message,
        remedy,
    ))
}

/// Curator sorts all children, and those without its tag by their whole names.
fn blocks_java(place: &PlaceInfo) -> Option<Finding> {
    let curators = place
        .contenders
        .iter()
        .filter(|one| one.layout == ContenderLayout::Curator);
    let first = curators
        .filter_map(|one| one.path.get(one.path.len().checked_sub(10)?..))
        .min()?;
    let before = |name: &&String| !name.contains("lock-") && name.as_str() < first;
    let blocking = place.misfits.iter().find(before)?;
    let message = format!("Curator takes the child {blocking:?} for the first in line");
    Some(Finding::new(
        Check::BlocksJava,
        Severity::Error,
        &place.path,
        message,
        "remove it by hand",
    ))
}

fn sequence(place: &PlaceInfo, now: SystemTime) -> Option<Finding> {
    let next = place.next_sequence?;
    let severity = match next {
        next if next < 0 || next >= SEQUENCES.1 => Severity::Error,
        next if next >= SEQUENCES.0 => Severity::Warn,
        _ => return None,
    };
    let message = match next {
        ..0 => format!("the next number is {next}: the numbers are used up, and no longer tell the order"),
        _ => {
            let left = f64::from(i32::MAX - next) / f64::from(next) * age_of(place, now).as_secs_f64();
            format!("the next number is {next}; overflow in about {:.0} days", left / DAY)
        }
    };
    let remedy = "use a new path before 2147483647; beyond it Curator and kazoo grant two";
    Some(Finding::new(Check::Sequence, severity, &place.path, message, remedy))
}

fn size(place: &PlaceInfo) -> Option<Finding> {
    let severity = match place.names_size {
        size if size >= LIST_SIZES.1 => Severity::Error,
        size if size >= LIST_SIZES.0 => Severity::Warn,
        _ => return None,
    };
    let message = format!(
        "{} children, whose names take {} of the 1048575 bytes that Java's client can list",
        place.count, place.names_size
    );
    Some(Finding::new(
        Check::LineSize,
        severity,
        &place.path,
        message,
        "let fewer stand on one path",
    ))
}

fn semaphore(place: &PlaceInfo) -> Option<Finding> {
    let permits = usize::try_from(place.permits?).ok()?;
    let out = place.holders().count();
    let message = format!("{out} permits are out, and there are {permits}");
    let remedy = "look whether other clients are configured with another number, or a change of it is under way";
    (out > permits).then(|| Finding::new(Check::Semaphore, Severity::Error, &place.path, message, remedy))
}

fn flapping(place: &PlaceInfo, now: SystemTime) -> Option<Finding> {
    let next = f64::from(place.next_sequence.filter(|_| place.kind == PlaceKind::Election)?);
    let age = age_of(place, now).as_secs_f64();
    let rate = next / age * HOUR;
    let message = format!("{next:.0} candidacies in {:.1} hours", age / HOUR);
    let remedy = "see which candidate leaves and why: zkr watch";
    let is_told = age > HOUR / 6.0 && rate > TERMS_PER_HOUR;
    is_told.then(|| Finding::new(Check::Flapping, Severity::Warn, &place.path, message, remedy))
}

fn ages(place: &PlaceInfo, limits: &Limits, now: SystemTime) -> Vec<Finding> {
    let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
    let mut findings = Vec::new();
    if place.kind == PlaceKind::Group || place.kind == PlaceKind::DoubleBarrier {
        return findings;
    }
    for holder in place.holders() {
        let held = place.held_since(holder).1.map(age);
        if let (Some(held), Some(limit)) = (held, limits.max_hold)
            && held > limit
        {
            let message = format!("held for at least {} s", held.as_secs());
            let finding = Finding::new(Check::LongHold, Severity::Warn, &place.path, message, &ask(place));
            findings.push(finding.about(holder));
        }
    }
    let oldest = place.waiters().min_by_key(|one| one.since);
    if let (Some(oldest), Some(limit)) = (oldest, limits.max_wait) {
        let waited = age(oldest.since);
        if waited > limit {
            let message = format!("{} wait, the first for {} s", place.waiters().count(), waited.as_secs());
            let finding = Finding::new(Check::LongWait, Severity::Warn, &place.path, message, &ask(place));
            findings.push(finding.about(oldest));
        }
    }
    findings
}

fn ask(place: &PlaceInfo) -> String {
    format!("zkr who {0}; then zkr ask {0}", place.path)
}

/// For how long the directory has been there.
fn age_of(place: &PlaceInfo, now: SystemTime) -> Duration {
    let created = Duration::from_millis(u64::try_from(place.stat.ctime).unwrap_or_default());
    now.duration_since(SystemTime::UNIX_EPOCH + created)
        .unwrap_or_default()
        .max(Duration::from_secs(1))
}
