//! [`Board`]: what was seen, and how it has changed: pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use zookeeper_recipes::Contender;
use zookeeper_recipes::inspect::doctor::{Finding, Severity};
use zookeeper_recipes::inspect::{PlaceInfo, PlaceKind};

use crate::time::age;

/// So many looks are remembered.
const TREND: usize = 60;

/// All that the screen shows.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: BTreeMap<String, Row>,
    /// Requests of the last look.
    pub(super) requests: u64,
    /// When the last look ended.
    pub(super) at: Option<SystemTime>,
    /// Why the last look failed.
    pub(super) problem: Option<String>,
    /// What a doctor found when it looked last, the worst first; nothing before its first look.
    pub(super) findings: Option<Vec<Finding>>,
    /// How long the last requests took that were timed, one a look.
    latencies: VecDeque<Duration>,
}

/// A place.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: PlaceInfo,
    /// Of a queue.
    pub(super) depth: Option<Depth>,
    /// Waiters, or ready items, at each look.
    pub(super) trend: VecDeque<u64>,
    pub(super) seen: Instant,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Depth {
    pub(super) ready: usize,
    pub(super) claimed: usize,
    pub(super) dead: usize,
    pub(super) oldest: Option<Duration>,
}

/// The order of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Waiters,
    Wait,
    Path,
}

impl Order {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Waiters => Self::Wait,
            Self::Wait => Self::Path,
            Self::Path => Self::Waiters,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Waiters => "waiters",
            Self::Wait => "wait",
            Self::Path => "path",
        }
    }
}

impl Row {
    pub(super) fn waiting(&self) -> usize {
        match self.place.contenders.is_empty() {
            // Counted, and not read yet.
            true => self.place.count.saturating_sub(1),
            false => self.place.waiters().count(),
        }
    }

    fn value(&self) -> u64 {
        let number = self.depth.map_or_else(|| self.waiting(), |depth| depth.ready);
        u64::try_from(number).unwrap_or(u64::MAX)
    }

    fn remember(&mut self) {
        self.trend.push_back(self.value());
        if self.trend.len() > TREND {
            self.trend.pop_front();
        }
    }
}

impl Board {
    /// Takes what was seen of one place.
    pub(super) fn put(&mut self, place: PlaceInfo, depth: Option<Depth>) {
        let trend = self.rows.remove(&place.path).map(|row| row.trend).unwrap_or_default();
        let row = Row {
            depth,
            trend,
            seen: Instant::now(),
            place,
        };
        self.rows.insert(row.place.path.clone(), row);
    }

    /// Forgets a place that is gone.
    pub(super) fn remove(&mut self, path: &str) {
        self.rows.remove(path);
    }

    /// Forgets all but these places.
    pub(super) fn retain(&mut self, there: &BTreeSet<String>) {
        self.rows.retain(|path, _| there.contains(path));
    }

    /// One look is over.
    pub(super) fn looked(&mut self, requests: u64) {
        self.rows.values_mut().for_each(Row::remember);
        self.requests = requests;
        self.at = Some(SystemTime::now());
        self.problem = None;
    }

    /// Takes how long a request took.
    pub(super) fn timed(&mut self, took: Duration) {
        self.latencies.push_back(took);
        if self.latencies.len() > TREND {
            self.latencies.pop_front();
        }
    }

    /// The median of the last requests.
    pub(super) fn median(&self) -> Option<Duration> {
        let mut all: Vec<Duration> = self.latencies.iter().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// How many findings there are of a severity.
    pub(super) fn found(&self, severity: Severity) -> usize {
        let all = self.findings.iter().flatten();
        all.filter(|one| one.severity == severity).count()
    }

    pub(super) fn row(&self, path: &str) -> Option<&Row> {
        self.rows.get(path)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &PlaceInfo> {
        self.rows.values().map(|row| &row.place)
    }

    pub(super) fn sessions(&self) -> usize {
        let sessions = self.places().flat_map(|place| &place.contenders);
        sessions.map(|one| one.session_id).collect::<BTreeSet<_>>().len()
    }

    /// How old the oldest row is.
    pub(super) fn oldest(&self) -> Duration {
        let ages = self.rows.values().map(|row| row.seen.elapsed());
        ages.max().unwrap_or_default()
    }

    pub(super) fn waiting(&self) -> usize {
        self.lines(Order::Path, "").iter().map(|row| row.waiting()).sum()
    }

    /// The places where clients stand in line.
    pub(super) fn lines(&self, order: Order, filter: &str) -> Vec<&Row> {
        let is_line = |row: &&Row| row.place.kind.is_line() && row.place.path.contains(filter);
        let mut rows: Vec<&Row> = self.rows.values().filter(is_line).collect();
        match order {
            Order::Path => {}
            Order::Waiters => rows.sort_by_key(|row| std::cmp::Reverse(row.waiting())),
            Order::Wait => {
                rows.sort_by_key(|row| row.place.oldest_wait().map_or((true, None), |wait| (false, Some(wait))));
            }
        }
        rows
    }

    /// The queues, the deepest first.
    pub(super) fn queues(&self, filter: &str) -> Vec<(&Row, Depth)> {
        let queues = self.rows.values().filter(|row| row.place.path.contains(filter));
        let mut queues: Vec<_> = queues.filter_map(|row| Some((row, row.depth?))).collect();
        queues.sort_by_key(|(_, depth)| std::cmp::Reverse((depth.ready, depth.dead)));
        queues
    }

    /// The holders, the one that has certainly held for longest first.
    pub(super) fn holds(&self, filter: &str) -> Vec<(&Row, &Contender)> {
        let held = |row: &Row, one: &Contender| {
            let (most, least) = row.place.held_since(one);
            (least.map(age).unwrap_or_default(), age(most))
        };
        let rows = self.lines(Order::Path, filter);
        let mut holds: Vec<_> = rows
            .into_iter()
            .filter(|row| row.place.kind != PlaceKind::Mixed)
            .flat_map(|row| row.place.holders().map(move |one| (row, one)))
            .collect();
        holds.sort_by_key(|(row, one)| std::cmp::Reverse(held(row, one)));
        holds
    }
}

/// The last `width` values as blocks, the largest of them the highest.
pub(super) fn sparkline(values: &VecDeque<u64>, width: usize, unicode: bool) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 9] = [' ', '_', '_', '.', '.', ':', ':', '|', '|'];
    let signs = if unicode { BLOCKS } else { ASCII };
    let shown: Vec<u64> = values
        .iter()
        .skip(values.len().saturating_sub(width))
        .copied()
        .collect();
    let most = shown.iter().copied().max().unwrap_or_default().max(1);
    let height = |value: u64| match value {
        0 => 0,
        value => usize::try_from(1 + value * 7 / most).unwrap_or(8).min(8),
    };
    let text: String = shown.into_iter().map(|value| signs[height(value)]).collect();
    format!("{text:>width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_the_last_values_against_the_largest() {
        let values = VecDeque::from([9, 0, 1, 4, 8]);
        assert_eq!(sparkline(&values, 4, true), " ▁▄█");
        assert_eq!(sparkline(&values, 4, false), " _.|");
        assert_eq!(sparkline(&VecDeque::new(), 3, true), "   ");
        assert_eq!(sparkline(&VecDeque::from([0, 0]), 4, true), "    ");
    }
}
