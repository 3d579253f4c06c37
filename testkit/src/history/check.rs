//! The checks, as pure functions of what was recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Deletion, Grant, Mode};

/// What a sound history contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Different paths.
    pub paths: usize,
    /// Holds in all.
    pub grants: usize,
    /// Holds that never ended.
    pub open: usize,
    /// Holds by their holder.
    pub grants_by_who: BTreeMap<String, usize>,
    /// Most holds at one time on one path.
    pub most_at_once: usize,
    /// From the first grant to the last.
    pub span: Duration,
}

/// A broken promise, with the parties to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Two holds that exclude one another were believed in at the same time.
    Overlap(Grant, Grant),
    /// More permits were held at once than there are.
    OverLimit {
        /// Permits held together.
        taken: u64,
        /// Permits there are.
        limit: u32,
        /// The holds, the last one last.
        holds: Vec<Grant>,
    },
    /// The second was granted after the first, but its token is not greater: fencing would let the first write after it,
    /// and the line was not fair.
    TokenNotGrowing(Grant, Grant),
    /// Two holds have the same token.
    TokenTwice(Grant, Grant),
    /// The hold was believed in after the server had removed its node.
    HeldAfterDeletion {
        /// The hold.
        grant: Grant,
        /// When the removal had been seen, at the latest.
        seen_at: Duration,
    },
    /// The hold ended before it began: the test records wrongly.
    EndsBeforeItBegins(Grant),
}

pub(super) fn check(grants: &[Grant], deletions: &[Deletion]) -> Result<Summary, Vec<Violation>> {
    let mut by_path: BTreeMap<&str, Vec<&Grant>> = BTreeMap::new();
    for grant in grants {
        by_path.entry(&grant.path).or_default().push(grant);
    }
    let mut violations = Vec::new();
    let mut summary = Summary {
        paths: by_path.len(),
        grants: grants.len(),
        ..Summary::default()
    };
    for grant in grants {
        *summary.grants_by_who.entry(grant.who.clone()).or_default() += 1;
        summary.open += usize::from(grant.ended_at.is_none());
        if grant.ended_at.is_some_and(|ended_at| ended_at < grant.granted_at) {
            violations.push(Violation::EndsBeforeItBegins(grant.clone()));
        }
    }
    for path in by_path.values_mut() {
        // The token decides between grants of one instant, so that the clock's resolution makes no violation.
        path.sort_by_key(|grant| (grant.granted_at, grant.token));
        summary.most_at_once = summary.most_at_once.max(check_overlaps(path, &mut violations));
        check_tokens(path, &mut violations);
    }
    check_deletions(grants, deletions, &mut violations);
    let moments = || grants.iter().map(|grant| grant.granted_at);
    summary.span = moments().max().unwrap_or_default() - moments().min().unwrap_or_default();
    if violations.is_empty() {
        Ok(summary)
    } else {
        Err(violations)
    }
}

/// Checks exclusion and limits among the holds of one path, sorted by grant. Returns the most holds at once.
fn check_overlaps(path: &[&Grant], violations: &mut Vec<Violation>) -> usize {
    let mut held: Vec<&Grant> = Vec::new();
    let mut most = 0;
    for grant in path {
        held.retain(|earlier| !ended_by(earlier, grant.granted_at));
        if let Mode::Permits { taken, limit } = grant.mode {
            check_limit(&held, grant, taken, limit, violations);
        }
        for earlier in &held {
            let counted = matches!((earlier.mode, grant.mode), (Mode::Permits { .. }, Mode::Permits { .. }));
            if !counted && earlier.mode.conflicts(grant.mode) {
                violations.push(Violation::Overlap((*earlier).clone(), (*grant).clone()));
            }
        }
        held.push(grant);
        most = most.max(held.len());
    }
    most
}

fn check_limit(held: &[&Grant], grant: &Grant, taken: u32, limit: u32, violations: &mut Vec<Violation>) {
    let others = held.iter().map(|hold| match hold.mode {
        Mode::Permits { taken, .. } => u64::from(taken),
        Mode::Exclusive | Mode::Shared => 0,
    });
    let taken = u64::from(taken) + others.sum::<u64>();
    if taken > u64::from(limit) {
        let holds = held.iter().copied().chain([grant]).cloned().collect();
        violations.push(Violation::OverLimit { taken, limit, holds });
    }
}

/// Checks that tokens grow among the holds of one path, sorted by grant. Holds that do not conflict may be granted
/// together and are recorded in any order, so only those that had to wait for one another are compared.
fn check_tokens(path: &[&Grant], violations: &mut Vec<Violation>) {
    for (index, later) in path.iter().enumerate() {
        let before = &path[..index];
        let twice = |earlier: &&&Grant| earlier.token == later.token && !is_downgrade(earlier, later);
        if let Some(same) = before.iter().find(twice) {
            violations.push(Violation::TokenTwice((*same).clone(), (*later).clone()));
        }
        let waited_for = |earlier: &&&Grant| {
            ended_by(earlier, later.granted_at) && earlier.mode.conflicts(later.mode) && earlier.token > later.token
        };
        if let Some(earlier) = before.iter().rev().find(waited_for) {
            violations.push(Violation::TokenNotGrowing((*earlier).clone(), (*later).clone()));
        }
    }
}

/// A writer that goes on as a reader keeps its place in line, and its token.
fn is_downgrade(writer: &Grant, reader: &Grant) -> bool {
    let modes = (writer.mode, reader.mode) == (Mode::Exclusive, Mode::Shared);
    modes && writer.who == reader.who && ended_by(writer, reader.granted_at)
}

fn check_deletions(grants: &[Grant], deletions: &[Deletion], violations: &mut Vec<Violation>) {
    let deleted: BTreeMap<i64, Duration> = deletions.iter().map(|gone| (gone.czxid, gone.seen_at)).collect();
    for grant in grants {
        if let Some(seen_at) = deleted.get(&grant.token).filter(|seen_at| !ended_by(grant, **seen_at)) {
            violations.push(Violation::HeldAfterDeletion {
                grant: grant.clone(),
                seen_at: *seen_at,
            });
        }
    }
}

fn ended_by(grant: &Grant, moment: Duration) -> bool {
    grant.ended_at.is_some_and(|ended_at| ended_at <= moment)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            paths,
            grants,
            open,
            most_at_once,
            span,
            ..
        } = self;
        let holders = self.grants_by_who.len();
        write!(
            f,
            "{grants} grants ({open} open, {most_at_once} at once at most) to {holders} holders "
        )?;
        write!(f, "on {paths} paths within {:.1} s", span.as_secs_f64())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap(one, other) => write!(f, "overlap: {one}, and {other}"),
            Self::OverLimit { taken, limit, holds } => {
                write!(f, "{taken} permits of {limit} held at once:")?;
                holds.iter().try_for_each(|hold| write!(f, " {hold};"))
            }
            Self::TokenNotGrowing(one, other) => write!(f, "token does not grow: {one}, then {other}"),
            Self::TokenTwice(one, other) => write!(f, "token comes twice: {one}, and {other}"),
            Self::HeldAfterDeletion { grant, seen_at } => {
                write!(
                    f,
                    "held after its node was removed at {:.6} s: {grant}",
                    seen_at.as_secs_f64()
                )
            }
            Self::EndsBeforeItBegins(grant) => write!(f, "ends before it begins: {grant}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Mode = Mode::Shared;
    const WRITE: Mode = Mode::Exclusive;

    fn permits(taken: u32) -> Mode {
        Mode::Permits { taken, limit: 3 }
    }

    fn grant(who: &str, mode: Mode, token: i64, from: u64, to: u64) -> Grant {
        let ended_at = (to < u64::MAX).then(|| Duration::from_millis(to));
        let granted_at = Duration::from_millis(from);
        Grant {
            path: "/lock".to_owned(),
            who: who.to_owned(),
            mode,
            token,
            granted_at,
            ended_at,
        }
    }

    fn violations(grants: &[Grant]) -> Vec<Violation> {
        check(grants, &[]).err().unwrap_or_default()
    }

    #[test]
    fn a_sound_history_is_summed_up() {
        let mut grants = vec![
            grant("a", WRITE, 1, 0, 10),
            grant("b", WRITE, 2, 10, 20),
            grant("c", READ, 3, 25, 40),
            grant("d", READ, 4, 24, 30),
            grant("a", WRITE, 9, 40, u64::MAX),
        ];
        grants.push(Grant {
            path: "/other".to_owned(),
            ..grant("b", WRITE, 5, 0, 50)
        });
        let summary = check(&grants, &[]).unwrap();
        assert_eq!(
            (summary.paths, summary.grants, summary.open, summary.most_at_once),
            (2, 6, 1, 2)
        );
        assert_eq!(summary.grants_by_who["a"], 2);
        assert_eq!(summary.span, Duration::from_millis(40));
        assert_eq!(check(&[], &[]), Ok(Summary::default()));
    }

    #[test]
    fn exclusive_holds_that_overlap_are_seen_in_any_order_of_recording() {
        let (one, two) = (grant("a", WRITE, 1, 0, 10), grant("b", WRITE, 2, 9, 20));
        for history in [[one.clone(), two.clone()], [two.clone(), one.clone()]] {
            assert_eq!(violations(&history), [Violation::Overlap(one.clone(), two.clone())]);
        }
        let text = violations(&[one, two])[0].to_string();
        assert!(text.contains("a held /lock") && text.contains("b held /lock"), "{text}");
    }

    #[test]
    fn a_hold_within_another_and_one_that_never_ends_are_seen() {
        let (outer, inner) = (grant("a", WRITE, 1, 0, 100), grant("b", WRITE, 2, 10, 20));
        let after = grant("c", WRITE, 3, 30, 40);
        assert_eq!(violations(&[outer, inner, after]).len(), 2);
        let (open, next) = (
            grant("a", WRITE, 1, 0, u64::MAX),
            grant("b", WRITE, 2, 1_000_000, 1_000_001),
        );
        assert_eq!(
            violations(&[open.clone(), next.clone()]),
            [Violation::Overlap(open, next)]
        );
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        assert!(violations(&[grant("a", READ, 1, 0, 10), grant("b", READ, 2, 5, 15)]).is_empty());
        let (reader, writer) = (grant("a", READ, 1, 0, 10), grant("b", WRITE, 2, 5, 15));
        assert_eq!(
            violations(&[reader.clone(), writer.clone()]),
            [Violation::Overlap(reader, writer)]
        );
        let (writer, reader) = (grant("a", WRITE, 1, 0, 10), grant("b", READ, 2, 5, 15));
        assert_eq!(
            violations(&[writer.clone(), reader.clone()]),
            [Violation::Overlap(writer, reader)]
        );
    }

    #[test]
    fn permits_stay_within_their_limit() {
        let (one, two, three) = (
            grant("a", permits(1), 1, 0, 10),
            grant("b", permits(2), 2, 1, 10),
            grant("c", permits(1), 3, 2, 10),
        );
        assert!(violations(&[one.clone(), two.clone(), grant("c", permits(3), 3, 10, 20)]).is_empty());
        let holds = vec![one.clone(), two.clone(), three.clone()];
        assert_eq!(
            violations(&[one, two, three]),
            [Violation::OverLimit {
                taken: 4,
                limit: 3,
                holds
            }]
        );
    }

    #[test]
    fn a_downgraded_writer_keeps_its_token_and_nobody_else_gets_it() {
        let (writer, reader) = (grant("a", WRITE, 7, 0, 10), grant("a", READ, 7, 10, 20));
        assert!(violations(&[writer.clone(), reader.clone()]).is_empty());
        for other in [grant("b", READ, 7, 10, 20), grant("a", WRITE, 7, 10, 20)] {
            let twice = Violation::TokenTwice(writer.clone(), other.clone());
            assert_eq!(violations(&[writer.clone(), other]), [twice]);
        }
        assert!(!violations(&[writer, grant("a", READ, 7, 9, 20)]).is_empty());
    }

    #[test]
    fn tokens_grow_where_one_waited_for_the_other() {
        let (one, two) = (grant("a", WRITE, 7, 0, 10), grant("b", WRITE, 6, 10, 20));
        assert_eq!(
            violations(&[one.clone(), two.clone()]),
            [Violation::TokenNotGrowing(one, two)]
        );
        let (reader, writer) = (grant("a", READ, 7, 0, 10), grant("b", WRITE, 6, 12, 20));
        assert_eq!(
            violations(&[reader.clone(), writer.clone()]),
            [Violation::TokenNotGrowing(reader, writer)]
        );
        // Granted together: which one is recorded first is chance.
        assert!(violations(&[grant("a", READ, 7, 0, 10), grant("b", READ, 6, 12, 20)]).is_empty());
        // Not only between neighbours.
        let history = [
            grant("a", WRITE, 7, 0, 1),
            grant("b", WRITE, 8, 2, 3),
            grant("c", WRITE, 6, 4, 5),
        ];
        assert_eq!(violations(&history).len(), 1);
    }

    #[test]
    fn a_token_comes_once() {
        let (one, two) = (grant("a", READ, 7, 0, 10), grant("b", READ, 7, 5, 20));
        assert_eq!(
            violations(&[one.clone(), two.clone()]),
            [Violation::TokenTwice(one.clone(), two.clone())]
        );
        // On another path it is another node's, or the same transaction's.
        assert!(
            violations(&[
                one,
                Grant {
                    path: "/other".to_owned(),
                    ..two
                }
            ])
            .is_empty()
        );
    }

    #[test]
    fn no_hold_outlives_its_node() {
        let held = grant("a", WRITE, 7, 0, 10);
        let gone = |at| {
            [Deletion {
                czxid: 7,
                seen_at: Duration::from_millis(at),
            }]
        };
        assert!(check(std::slice::from_ref(&held), &gone(10)).is_ok());
        let seen_at = Duration::from_millis(9);
        let violation = Violation::HeldAfterDeletion {
            grant: held.clone(),
            seen_at,
        };
        assert_eq!(check(&[held], &gone(9)), Err(vec![violation]));
        assert!(check(&[grant("a", WRITE, 7, 0, u64::MAX)], &gone(9)).is_err());
    }

    #[test]
    fn wrong_records_are_told() {
        let wrong = grant("a", WRITE, 7, 10, 9);
        assert_eq!(
            violations(std::slice::from_ref(&wrong)),
            [Violation::EndsBeforeItBegins(wrong)]
        );
    }
}
