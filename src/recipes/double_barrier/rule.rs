//! What a member does, from what it sees. Pure.
//!
//! `ready` opens the barrier for the members that were there when it was written last: its mzxid is greater than the czxid of
//! their nodes. They are *inside*, whether they have noticed yet or not. The barrier is opened in a transaction that
//! checks as many members as there have to be, so it never opens for one that had died; and one that was inside and has
//! died is simply no longer seen. A member that comes while others are inside joins them, and writes `ready` again in a
//! transaction that checks one of them. A `ready` with no member inside is *stale* and opens nothing.

/// A member, by the name of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival<'a> {
    pub(super) name: &'a str,
    /// When its node was created. Known only where a rule asks for it.
    pub(super) czxid: i64,
}

/// The node `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    /// Tells one opening from another.
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) version: i32,
}

impl Ready {
    /// Whether it lets the member in whose node was created then.
    pub(super) fn is_inside(&self, czxid: i64) -> bool {
        czxid < self.mzxid
    }
}

/// What a member that wants to enter does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enter<'a> {
    /// It is inside.
    Pass,
    /// Join this one, which is inside.
    Join(&'a str),
    /// Remove `ready`: no member is inside.
    Clear,
    /// Open the barrier for itself and these.
    Open(Vec<&'a str>),
    /// Wait for `ready`. The member that comes last sees all others, and opens the barrier.
    Wait,
}

pub(super) fn enter<'a>(own: i64, parties: usize, ready: Option<Ready>, others: &[Arrival<'a>]) -> Enter<'a> {
    match ready {
        Some(ready) if ready.is_inside(own) => Enter::Pass,
        Some(ready) => match others.iter().find(|other| ready.is_inside(other.czxid)) {
            Some(inside) => Enter::Join(inside.name),
            None => Enter::Clear,
        },
        None if others.len() + 1 >= parties => {
            let needed = others.iter().take(parties.saturating_sub(1));
            Enter::Open(needed.map(|other| other.name).collect())
        }
        None => Enter::Wait,
    }
}

/// What a member that leaves does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leave<'a> {
    /// All have left.
    Done,
    /// Be the last to leave: remove the own node together with `ready` of this version.
    Close(i32),
    /// Remove the own node.
    Withdraw,
    /// Remove `ready`: the last ones died.
    Clear,
    /// Wait for a change of this member.
    Watch(&'a str),
}

/// What a member that leaves the opening `inside` does next. `own` is its node, while that is there. `inside` is
/// `ready` as it was seen last.
///
/// As Curator has it, the one with the lowest name keeps its node until it is the last, and waits for the highest;
/// the others remove theirs at once and wait for the lowest. So a departure wakes one, and the last one wakes all.
pub(super) fn leave<'a>(own: Option<&str>, inside: Ready, ready: Option<Ready>, others: &[Arrival<'a>]) -> Leave<'a> {
    let still_open = ready.filter(|ready| ready.czxid == inside.czxid);
    let lowest = others.iter().map(|other| other.name).min();
    let highest = others.iter().map(|other| other.name).max();
    match (own, still_open, lowest.zip(highest)) {
        (Some(_), Some(ready), None) => Leave::Close(ready.version),
        (Some(own), Some(_), Some((lowest, highest))) if own < lowest => Leave::Watch(highest),
        // Without `ready`, our node would be taken for that of a member that waits for the next opening.
        (Some(_), _, _) => Leave::Withdraw,
        (None, Some(_), None) => Leave::Clear,
        (None, Some(_), Some((lowest, _))) => Leave::Watch(lowest),
        // Members that have come since are none of ours.
        (None, None, _) => {
            let left = others.iter().filter(|other| inside.is_inside(other.czxid));
            left.map(|other| other.name).min().map_or(Leave::Done, Leave::Watch)
        }
    }
}
