//! Which recipe a directory is, by the names of its children and its data: pure.

use uuid::Uuid;

use super::place::PlaceKind;
use crate::znode::{ChildName, Sequence, Tag};

/// What a directory was taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) kind: PlaceKind,
    pub(super) certain: bool,
    pub(super) also: Vec<PlaceKind>,
    pub(super) because: &'static str,
}

/// What one child's name looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// A contender with a guid and a tag that we know.
    Contender(Tag),
    /// `lock-S` and its like: a tag without a guid.
    Bare(Tag),
    /// `qn-S`.
    FifoItem,
    /// ZooKeeper's own lock, `x-<session>-S`, or election, `n_S` and `<guid>-n_S`.
    Shipped(PlaceKind),
    /// Ends in a sequence number, behind this text.
    Numbered(&'a str),
    /// A guid alone.
    Guid,
    /// A member of kazoo's `Party`.
    PartyMember,
    Other,
}

const WORK_QUEUE: &str = "zookeeper-recipes work queue ";

impl<'a> Shape<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        if let Some(child) = ChildName::parse(name, Tag::NUMBERED) {
            return Self::of_contender(&child);
        }
        if is_guid(name) {
            return Self::Guid;
        }
        if name.split_once("__party__").is_some_and(|(guid, _)| is_hex(guid)) {
            return Self::PartyMember;
        }
        match split_number(name) {
            Some("qn-") => Self::FifoItem,
            Some("n_") => Self::Shipped(PlaceKind::Election),
            Some(front) if front.ends_with("-n_") => Self::Shipped(PlaceKind::Election),
            Some(front) if is_shipped_lock(front) => Self::Shipped(PlaceKind::Lock),
            Some(front) => Self::Numbered(front),
            None => Self::Other,
        }
    }

    fn of_contender(child: &ChildName<'a>) -> Self {
        let text = child.text;
        let number = text.len() - split_number(text).map_or(0, str::len);
        let front = &text[..text.len() - number - child.tag.text().len()];
        let guid = match front.strip_prefix("_c_") {
            Some(rest) => rest.strip_suffix('-').is_some_and(is_guid),
            None => is_hex(front) || front.strip_suffix('-').is_some_and(is_guid),
        };
        match guid {
            true => Self::Contender(child.tag),
            false if front.is_empty() => Self::Bare(child.tag),
            false => Self::Numbered(&text[..text.len() - number]),
        }
    }

    fn tag(self) -> Option<Tag> {
        match self {
            Self::Contender(tag) | Self::Bare(tag) => Some(tag),
            _ => None,
        }
    }
}

fn split_number(name: &str) -> Option<&str> {
    // The longer one first: a hyphen in front of ten digits is a sign, or belongs to the text.
    let split = |length| {
        let (front, number) = name.split_at_checked(name.len().checked_sub(length)?)?;
        Sequence::parse(number).map(|_| front)
    };
    split(10).or_else(|| split(11))
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && Uuid::parse_str(text).is_ok()
}

fn is_guid(text: &str) -> bool {
    is_hex(text) || (text.len() == 36 && Uuid::parse_str(text).is_ok())
}

fn is_shipped_lock(front: &str) -> bool {
    let session = front.strip_prefix("x-").and_then(|rest| rest.strip_suffix('-'));
    session.is_some_and(|session| !session.is_empty() && session.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The format of the work queue whose data this is.
fn work_queue(data: &[u8]) -> Option<u32> {
    let line = data.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix(WORK_QUEUE)?.parse().ok()
}

/// The numbers of a semaphore, `n` or `n m`: the one in force.
pub(super) fn permits(data: &[u8]) -> Option<u32> {
    let mut numbers = std::str::from_utf8(data).ok()?.split(' ').map(str::parse::<u32>);
    let agreed = numbers.next()?.ok()?;
    let in_force = numbers.next().map_or(Some(agreed), Result::ok)?;
    numbers.next().is_none().then_some(in_force)
}

fn are_two_numbers(data: &[u8]) -> bool {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let numbers: Vec<_> = text.split(' ').map(str::parse::<u64>).collect();
    numbers.len() == 2 && numbers.iter().all(Result::is_ok)
}

/// Says what a directory is. `data` is that of its node.
pub(super) fn recognise(names: &[String], data: &[u8]) -> Recognised {
    if let Some(format) = work_queue(data) {
        return certain(PlaceKind::WorkQueue(format), "its data");
    }
    whole(names, data)
        .or_else(|| line(names))
        .or_else(|| members(names))
        .or_else(|| foreign(names))
        .unwrap_or_else(|| certain(PlaceKind::Node, "no recipe writes such names"))
}

fn certain(kind: PlaceKind, because: &'static str) -> Recognised {
    Recognised {
        kind,
        certain: true,
        also: Vec::new(),
        because,
    }
}

fn doubtful(kind: PlaceKind, because: &'static str) -> Recognised {
    Recognised {
        certain: false,
        ..certain(kind, because)
    }
}

/// Recipes that are a directory of directories.
fn whole(names: &[String], data: &[u8]) -> Option<Recognised> {
    let has = |name: &str| names.iter().any(|other| other == name);
    let within = |known: &[&str]| !names.is_empty() && names.iter().all(|name| known.contains(&name.as_str()));
    if within(&["locks", "leases", "keep"]) && (has("leases") || permits(data).is_some()) {
        return Some(certain(PlaceKind::Semaphore, "its children"));
    }
    if within(&["line", "turn", "result"]) && (has("turn") || has("result")) {
        return Some(certain(PlaceKind::Relay, "its children"));
    }
    let is_count = |name: &String| name == "open" || name.starts_with("count-");
    if are_two_numbers(data) && names.iter().all(is_count) {
        return Some(certain(PlaceKind::CountDownLatch, "its data and children"));
    }
    if within(&["entries", "taken"]) {
        return Some(certain(PlaceKind::Foreign("kazoo locking queue"), "its children"));
    }
    if within(&["party", "locks"]) && has("party") {
        return Some(certain(PlaceKind::Foreign("kazoo set partitioner"), "its children"));
    }
    if within(&["ActiveStandbyElectorLock", "ActiveBreadCrumb"]) {
        return Some(certain(PlaceKind::Foreign("Hadoop leader"), "its children"));
    }
    None
}

/// Children that stand in line.
fn line(names: &[String]) -> Option<Recognised> {
    let shapes = || names.iter().map(|name| Shape::of(name));
    let tagged = shapes().filter(|shape| shape.tag().is_some()).count();
    if tagged == 0 {
        return numbered(names);
    }
    let has = |tags: &[Tag]| shapes().filter_map(Shape::tag).any(|tag| tags.contains(&tag));
    let mutex = has(&[Tag::Lock]);
    let curator_rw = has(&[Tag::Read, Tag::Write]);
    let latch = has(&[Tag::Latch]);
    let leases = has(&[Tag::Lease]);
    let kinds = [mutex, curator_rw, latch, leases]
        .iter()
        .filter(|is_there| **is_there)
        .count();
    if tagged < names.len() || kinds > 1 || ((latch || leases) && has(&[Tag::KazooLock, Tag::KazooReadLock])) {
        return Some(doubtful(PlaceKind::Mixed, "its children do not belong together"));
    }
    let mut recognised = if latch {
        certain(PlaceKind::Election, "the tag latch- of its children")
    } else if leases {
        return Some(doubtful(
            PlaceKind::Foreign("permits"),
            "the tag lease- of its children",
        ));
    } else if curator_rw || has(&[Tag::KazooReadLock]) {
        certain(PlaceKind::ReadWriteLock, "the tags of its children")
    } else {
        let mut lock = certain(PlaceKind::Lock, "the tag of its children");
        lock.also.push(PlaceKind::Election);
        if !mutex {
            lock.also.push(PlaceKind::ReadWriteLock);
        }
        lock
    };
    if shapes().any(|shape| matches!(shape, Shape::Bare(_))) {
        recognised.certain = false;
        recognised.because = "the tags of its children, which have no guid";
    }
    Some(recognised)
}

/// Children that end in numbers, without a tag of ours.
fn numbered(names: &[String]) -> Option<Recognised> {
    let first = Shape::of(names.first()?);
    let all = |shape: fn(Shape<'_>) -> bool| names.iter().all(|name| shape(Shape::of(name)));
    match first {
        Shape::FifoItem if all(|shape| shape == Shape::FifoItem) => Some(certain(PlaceKind::FifoQueue, "the tag qn-")),
        Shape::Shipped(kind) if names.iter().all(|name| Shape::of(name) == Shape::Shipped(kind)) => {
            Some(doubtful(kind, "names as in ZooKeeper's own recipes"))
        }
        Shape::Numbered(front) => {
            if names.iter().all(|name| split_number(name).is_some_and(is_entry)) {
                return Some(certain(PlaceKind::Foreign("kazoo queue"), "the tag entry-"));
            }
            if front.starts_with("queue-") && names.iter().all(|name| name.starts_with("queue-")) {
                return Some(certain(PlaceKind::Foreign("Curator queue"), "the tag queue-"));
            }
            let same = names.iter().all(|name| Shape::of(name) == Shape::Numbered(front));
            same.then(|| doubtful(PlaceKind::Line, "children with one text before their numbers"))
        }
        _ => None,
    }
}

/// `entry-PPP-`.
fn is_entry(front: &str) -> bool {
    let priority = front.strip_prefix("entry-").and_then(|rest| rest.strip_suffix('-'));
    priority.is_some_and(|priority| priority.len() == 3 && priority.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Children that are members and not in line.
fn members(names: &[String]) -> Option<Recognised> {
    let guids = names.iter().filter(|name| Shape::of(name) == Shape::Guid).count();
    let others = || names.iter().filter(|name| Shape::of(name) != Shape::Guid);
    if guids > 0 && others().all(|name| name == "ready") {
        let mut barrier = certain(PlaceKind::DoubleBarrier, "children that are guids");
        if guids == names.len() && names.iter().all(|name| is_hex(name)) {
            barrier.certain = false;
            barrier.also.push(PlaceKind::Foreign("kazoo semaphore"));
        }
        return Some(barrier);
    }
    let party = names
        .iter()
        .filter(|name| Shape::of(name) == Shape::PartyMember)
        .count();
    (party > 0 && party == names.len()).then(|| certain(PlaceKind::Group, "members of kazoo's Party"))
}

fn foreign(names: &[String]) -> Option<Recognised> {
    let alone = |name: &str| names.len() == 1 && names[0] == name;
    if alone("lease_holder") {
        return Some(certain(PlaceKind::Foreign("kazoo lease"), "its child lease_holder"));
    }
    let mixed = names
        .iter()
        .any(|name| !matches!(Shape::of(name), Shape::Other | Shape::Guid | Shape::PartyMember));
    mixed.then(|| doubtful(PlaceKind::Mixed, "its children do not belong together"))
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
