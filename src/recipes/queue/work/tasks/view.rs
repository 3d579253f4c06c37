//! [`View`]: what a handle last saw of a queue. The view chooses; the transaction decides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::store::{
    BlockId, Claimable, Header, Lane, Order, Picture, QueueLayout, Slots, Span, State, Store, Taking, numbers, span_of,
    span_start,
};
use super::firsts::Firsts;
use super::select::{Candidate, CandidateKey, LaneLine, in_line};
use crate::session::{Interrupted, Session};
use crate::znode::{NodeAnswer, NodePath, NodeQuestion, ask};

/// Of each lane, so many blocks with something free are looked at.
const BLOCKS: usize = 4;

/// So many due slots with something free are looked at.
const SLOTS: usize = 16;

/// So many blocks in which nothing is free are listed each time, and the others once in a while.
const PINNED: usize = 8;
const PINNED_AGE: Duration = Duration::from_millis(100);

/// How far clocks of two leaders may be apart: a claim is taken over so much later than its deadline.
pub(crate) const MARGIN: i64 = 1000;

/// What lists were answered, by path.
pub(super) type Lists = HashMap<String, (Instant, Vec<String>)>;

/// What a look is for.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    /// How many free ranges of a lane are enough.
    pub(crate) ranges: usize,
    /// The ensemble's clock, in milliseconds.
    pub(crate) now: i64,
    pub(crate) aging: Option<Duration>,
    /// Claims of our own that are on their way: they stand in line as if they were free.
    pub(crate) own: Vec<Claimable>,
    /// What cannot be claimed before a time, though its name says so.
    pub(crate) skipped: Arc<HashMap<CandidateKey, i64>>,
    pub(crate) firsts: Arc<Firsts>,
}

impl Aim {
    /// A look for what can be claimed.
    pub(super) fn of(header: &Header, now: i64) -> Self {
        let ranges = match header.options.order {
            Order::Strict => 64,
            Order::Window(width) => usize::from(width).max(16),
        };
        Self {
            ranges,
            now,
            aging: header.options.aging,
            own: Vec::new(),
            skipped: Arc::default(),
            firsts: Arc::default(),
        }
    }

    fn is_own(&self, candidate: &Candidate) -> bool {
        let is = |own: &Claimable| {
            own.block == candidate.block
                && own.segment.guid == candidate.range.segment.guid
                && own.span == candidate.range.span
        };
        self.own.iter().any(is)
    }
}

/// What a handle last saw of a queue.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// What can be claimed, in line.
    pub(crate) line: Vec<Candidate>,
    /// What is claimed.
    pub(crate) claimed: Vec<Candidate>,
    /// Blocks in which something is left to be cleared away.
    pub(crate) untidy: Vec<BlockId>,
    /// When something is due, or may be taken over, without anybody telling.
    pub(crate) next: Option<i64>,
    pub(crate) looked: Option<Instant>,
    /// The blocks in which nothing is free, in line.
    pinned: Vec<String>,
    lists: Lists,
}

/// What is seen so far, and which lists are missing.
#[derive(Debug, Default)]
struct Sight {
    view: View,
    sequences: BTreeMap<(Lane, u8), LaneLine>,
    missing: Vec<String>,
    used: Vec<String>,
}

impl View {
    /// What these lists show, for a model.
    #[cfg(feature = "_model")]
    pub(super) fn of(layout: &QueueLayout, lists: Lists, aim: &Aim) -> Self {
        Sight::of(layout, &lists, aim).finish(lists, aim)
    }

    /// Looks again: in one round trip if what is there is where it was.
    pub(crate) async fn look(&self, store: &Store, session: &Arc<Session>, aim: &Aim) -> Result<Self, Interrupted> {
        self.look_and_ask(store, session, aim, Vec::new())
            .await
            .map(|(view, _)| view)
    }

    /// The same, and asks for something else in the same request.
    pub(crate) async fn look_and_ask(
        &self,
        store: &Store,
        session: &Arc<Session>,
        aim: &Aim,
        mut other: Vec<NodeQuestion>,
    ) -> Result<(Self, Vec<Option<NodeAnswer>>), Interrupted> {
        let mut lists = Lists::new();
        let mut fetch: Vec<String> = Vec::new();
        let far = &self.pinned[..self.pinned.len().saturating_sub(PINNED)];
        for (path, (at, names)) in &self.lists {
            if at.elapsed() < PINNED_AGE && far.contains(path) {
                lists.insert(path.clone(), (*at, names.clone()));
            } else {
                fetch.push(path.clone());
            }
        }
        if fetch.is_empty() {
            let layout = &store.layout;
            fetch
                .extend([layout.directory("lanes"), layout.slots(Slots::Delayed)].map(|path| path.as_str().to_owned()));
        }
        let mut others = Vec::new();
        loop {
            let mut questions: Vec<NodeQuestion> = fetch.iter().cloned().map(NodeQuestion::Children).collect();
            questions.append(&mut other);
            let mut answers = ask(session, &questions).await?;
            others.extend(answers.drain(fetch.len()..));
            let names = answers
                .into_iter()
                .map(|answer| answer.and_then(NodeAnswer::into_children));
            let listed = fetch.into_iter().zip(names);
            lists.extend(listed.map(|(path, names)| (path, (Instant::now(), names.unwrap_or_default()))));
            let sight = Sight::of(&store.layout, &lists, aim);
            if sight.missing.is_empty() {
                return Ok((sight.finish(lists, aim), others));
            }
            fetch = sight.missing;
        }
    }

    /// The next look asks for every list.
    pub(crate) fn keep_no_lists(&mut self) {
        self.pinned.clear();
    }

    /// Whether the list of its block shows a node.
    pub(crate) fn shows(&self, path: &str) -> bool {
        let Some((block, name)) = path.rsplit_once('/') else {
            return false;
        };
        self.lists
            .get(block)
            .is_some_and(|(_, names)| names.iter().any(|other| other == name))
    }

    /// Whether what was just claimed is ahead of all that is free; the rest of it at least of what is free of its push.
    /// Then it is in line no more; else it is in line as what it is once it is released.
    pub(crate) fn is_first(&mut self, aim: &Aim, takings: &[Taking]) -> bool {
        let is_passed = |other: &Candidate| !aim.is_own(other) && aim.firsts.is_ahead(other, takings);
        let starts = self.line.first().is_some_and(|first| aim.is_own(first));
        let is_first = starts && !self.line.iter().any(is_passed);
        if is_first {
            self.settle_own(aim);
        } else {
            let own = self.line.iter_mut().filter(|candidate| aim.is_own(candidate));
            own.for_each(|candidate| candidate.range.state = State::Free);
        }
        is_first
    }

    /// Whether the first of all that is free is a claim of our own; then it is free no more.
    pub(crate) fn settle_own(&mut self, aim: &Aim) -> bool {
        let is_first = self.line.first().is_some_and(|first| aim.is_own(first));
        let (own, free) = std::mem::take(&mut self.line)
            .into_iter()
            .partition(|candidate| aim.is_own(candidate));
        self.line = free;
        self.claimed.extend::<Vec<_>>(own);
        is_first
    }

    /// Takes what was just claimed out of the line, but for what is left of it.
    pub(crate) fn claimed_own(&mut self, takings: &[Taking]) {
        for taking in takings {
            let Some(place) = self
                .line
                .iter()
                .position(|candidate| candidate.block == taking.claim.block && candidate.range == taking.range)
            else {
                continue;
            };
            let rest = Span {
                from: taking.claim.span.to,
                ..taking.range.span
            };
            match taking.range.state {
                State::FreshRest if rest.from < rest.to => self.line[place].range.span = rest,
                _ => drop(self.line.remove(place)),
            }
        }
    }

    /// Blocks in which something is claimed, the nearest first.
    pub(crate) fn pinned_blocks(&self) -> Vec<BlockId> {
        let mut blocks: Vec<BlockId> = self.claimed.iter().map(|candidate| candidate.block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

impl Sight {
    fn of(layout: &QueueLayout, lists: &Lists, aim: &Aim) -> Self {
        let mut sight = Self::default();
        let lanes = sight.list(lists, &layout.directory("lanes")).unwrap_or_default();
        let mut priorities: Vec<u8> = numbers(&lanes);
        priorities.dedup();
        sight.see_slots(layout, lists, aim);
        for priority in priorities {
            let found: usize = sight
                .sequences
                .values()
                .filter(|of| of.priority < priority)
                .map(|of| of.ranges.len())
                .sum();
            // What is less urgent is not looked at while there is enough, unless it gets more urgent with age.
            if found >= aim.ranges && aim.aging.is_none() {
                break;
            }
            sight.see_lane(layout, lists, Lane::Ready(priority), aim);
        }
        sight
    }

    fn list(&mut self, lists: &Lists, path: &NodePath) -> Option<Vec<String>> {
        self.used.push(path.as_str().to_owned());
        let found = lists.get(path.as_str()).map(|(_, names)| names.clone());
        if found.is_none() {
            self.missing.push(path.as_str().to_owned());
        }
        found
    }

    fn see_slots(&mut self, layout: &QueueLayout, lists: &Lists, aim: &Aim) {
        let spans = self.list(lists, &layout.slots(Slots::Delayed)).unwrap_or_default();
        let mut free = 0;
        for span in numbers::<i64>(&spans) {
            if span_start(span) > aim.now {
                self.due_at(span_start(span));
                return;
            }
            let Some(slots) = self.list(lists, &layout.span(Slots::Delayed, span)) else {
                continue;
            };
            if slots.is_empty() && span < span_of(aim.now) {
                self.view.untidy.push(BlockId {
                    lane: Lane::Delayed(span_start(span)),
                    number: 0,
                });
            }
            for slot in numbers::<i64>(&slots) {
                if slot > aim.now {
                    self.due_at(slot);
                    return;
                }
                if free < SLOTS {
                    free += usize::from(self.see_lane(layout, lists, Lane::Delayed(slot), aim) > 0);
                }
            }
        }
    }

    fn due_at(&mut self, time: i64) {
        if time == i64::MAX {
            return;
        }
        self.view.next = Some(self.view.next.unwrap_or(time).min(time));
    }

    /// Looks at the blocks of a lane, from the first one on, and says how many free ranges it found.
    fn see_lane(&mut self, layout: &QueueLayout, lists: &Lists, lane: Lane, aim: &Aim) -> usize {
        let Some(blocks) = self.list(lists, &layout.lane(lane)) else {
            return 0;
        };
        let blocks = numbers::<i32>(&blocks);
        let (mut free, mut fresh_blocks, mut pinned) = (0, 0, 0_usize);
        let mut unknown = 0;
        for number in &blocks {
            if free >= aim.ranges || fresh_blocks == BLOCKS {
                break;
            }
            // Of what is not known, as much is asked for at once as was found to be of no use.
            if unknown > pinned {
                break;
            }
            let block = BlockId { lane, number: *number };
            let Some(names) = self.list(lists, &layout.block(block)) else {
                unknown += 1;
                continue;
            };
            if unknown > 0 {
                continue;
            }
            let found = self.see_block(block, &Picture::of(&names), aim);
            let is_last = blocks.last() == Some(number) && !matches!(lane, Lane::Delayed(_));
            if names.is_empty() && !is_last {
                self.view.untidy.push(block);
            }
            if found == 0 && !names.is_empty() {
                self.view.pinned.push(layout.block(block).as_str().to_owned());
            }
            free += found;
            fresh_blocks += usize::from(found > 0);
            pinned += usize::from(found == 0);
        }
        if blocks.is_empty() && matches!(lane, Lane::Delayed(_)) {
            self.view.untidy.push(BlockId { lane, number: 0 });
        }
        free
    }

    fn see_block(&mut self, block: BlockId, picture: &Picture, aim: &Aim) -> usize {
        if !picture.done.is_empty() {
            self.view.untidy.push(block);
        }
        let mut free = 0;
        for range in &picture.ranges {
            let candidate = Candidate { block, range: *range };
            if aim.is_own(&candidate) {
                // It stands in line, to show whether something is ahead of it.
            } else if let Some(until) = aim
                .skipped
                .get(&candidate.key())
                .filter(|until| **until > aim.now - MARGIN)
            {
                self.view.claimed.push(candidate);
                self.due_at(until.saturating_add(MARGIN));
                continue;
            } else if !range.is_free_at(aim.now - MARGIN) {
                self.view.claimed.push(candidate);
                if let State::Claimed {
                    deadline: Some(deadline),
                    ..
                } = range.state
                {
                    self.due_at(deadline.saturating_add(MARGIN));
                }
                continue;
            }
            free += 1;
            let priority = range.segment.priority;
            let key = (block.lane, priority);
            let sequence = self.sequences.entry(key).or_insert_with(|| LaneLine {
                lane: block.lane,
                priority,
                ranges: Vec::new(),
            });
            sequence.ranges.push(candidate);
        }
        free
    }

    fn finish(self, mut lists: Lists, aim: &Aim) -> View {
        let sequences: Vec<LaneLine> = self.sequences.into_values().collect();
        lists.retain(|path, _| self.used.contains(path));
        let mut line = in_line(&sequences, aim.now, aim.aging);
        aim.firsts.sort(&mut line);
        View {
            line,
            looked: Some(Instant::now()),
            lists,
            ..self.view
        }
    }
}
