//! What stands at the front of the queue: which items a consumer takes, and when there may be more.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use tracing::warn;
use zookeeper_client as zk;

use super::item::Item;
use super::layout::{Lane, SegmentName, Slots, numbers};
use super::segment::{OVERHEAD, decode};
use super::shared::QueueInner;
use crate::session::{Interrupted, Session, refused};
use crate::znode::{NodePath, Sequence, delete, list, read};

/// How many bytes of items are taken at once, unless it is a single item.
const TAKE_BYTES: usize = 256 * 1024;

/// How many segments are looked into at once.
const TAKE_SEGMENTS: usize = 128;

/// How many segments are read at first; more if they turn out to be small.
const FIRST_READS: usize = 16;

/// How many bytes the segments have, about, of which something is taken at once, unless it is a single one: what is left
/// in them is written again.
const MOVED_BYTES: usize = 512 * 1024;

/// What a consumer takes.
#[derive(Debug, Default)]
pub(super) struct Front {
    pub(super) takes: Vec<Take>,
    /// Segments that cannot be read.
    pub(super) unreadable: Vec<Unreadable>,
    /// When the next item is due, if none is before that.
    pub(super) next_due: Option<i64>,
    /// Whether something was gone by the time it was read. Then what is less urgent may not be taken yet: what another
    /// consumer left of it, or what stood behind it, comes first.
    pub(super) vanished: bool,
    /// Whether there is more of what was looked at, so that nothing less urgent may be taken.
    cut: bool,
    /// A block that was listed before it was known that it is to be looked into, with its children.
    ahead: Option<(NodePath, Vec<String>)>,
}

/// What is taken of one segment.
#[derive(Debug)]
pub(super) struct Take {
    pub(super) segment: Segment,
    pub(super) taken: Vec<Item>,
    pub(super) left: Vec<Item>,
}

/// Where a segment is.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) block: NodePath,
    pub(super) name: String,
}

/// A segment that holds something else.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) path: String,
    pub(super) priority: u8,
    pub(super) data: Bytes,
    pub(super) stat: zk::Stat,
}

impl Segment {
    pub(super) fn path(&self) -> String {
        self.block.child(&self.name)
    }

    fn parsed(&self) -> Option<SegmentName<'_>> {
        SegmentName::parse(&self.name)
    }

    /// Its path when only `count` items are left in it.
    pub(super) fn shrunk(&self, count: usize) -> String {
        self.parsed()
            .map_or_else(|| self.path(), |name| self.block.child(&name.shrunk(count)))
    }
}

impl Front {
    pub(super) fn len(&self) -> usize {
        self.takes.iter().map(|take| take.taken.len()).sum()
    }

    fn note_due(&mut self, due: i64) {
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
    }
}

impl QueueInner {
    /// Looks for up to `wanted` items that can be delivered at `now`, the most urgent ones.
    pub(super) async fn front(&self, session: &Arc<Session>, now: i64, wanted: usize) -> Result<Front, Interrupted> {
        let (ready, later) = (self.layout.directory("ready"), self.layout.directory("later"));
        let ahead = self.list_ahead(session);
        let (ready, later, ahead) = future::try_join3(list(session, &ready), list(session, &later), ahead).await?;
        let (ready, later) = (numbers::<u8>(&ready), numbers::<u8>(&later));
        let mut priorities: Vec<u8> = ready.iter().chain(&later).copied().collect();
        priorities.sort_unstable();
        priorities.dedup();
        self.keep_heads(&ready);
        let mut front = Front {
            ahead,
            ..Front::default()
        };
        for priority in priorities {
            let missing = wanted.saturating_sub(front.len());
            if missing == 0 || front.cut || front.takes.len() >= TAKE_SEGMENTS {
                break;
            }
            let mut found = Vec::new();
            if later.contains(&priority) {
                self.collect_due(session, Slots::Later(priority), now, missing, &mut front, &mut found)
                    .await?;
            }
            if ready.contains(&priority) {
                let lane = Lane::Ready(priority);
                self.collect_lane(session, lane, missing, &mut front, &mut found)
                    .await?;
            }
            choose(found, missing, self.settings.max_attempts, &mut front);
        }
        Ok(front)
    }

    /// Lists the block in which the next items most likely are: a round trip less, if they are.
    async fn list_ahead(&self, session: &Arc<Session>) -> Result<Option<(NodePath, Vec<String>)>, Interrupted> {
        let Some((lane, block)) = self.first_head() else {
            return Ok(None);
        };
        let block = self.layout.block(lane, block);
        let names = list(session, &block).await?;
        Ok(Some((block, names)))
    }

    /// Collects what is due in slots, in their order, until there is enough.
    async fn collect_due(
        &self,
        session: &Arc<Session>,
        slots: Slots,
        now: i64,
        wanted: usize,
        front: &mut Front,
        found: &mut Vec<(Segment, Vec<Item>)>,
    ) -> Result<(), Interrupted> {
        let spans = self.layout.slots(slots);
        for span in numbers::<i64>(&list(session, &spans).await?) {
            // Another priority may have told a later time.
            if Slots::span_start(span) > now && front.next_due.is_some_and(|next| next <= Slots::span_start(span)) {
                return Ok(());
            }
            let directory = spans.descendant(&span.to_string());
            let listed = numbers::<i64>(&list(session, &directory).await?);
            for slot in &listed {
                if *slot > now {
                    front.note_due(*slot);
                    return Ok(());
                }
                // What is in this slot is due at its beginning or later; what was found may be due later than that.
                let earlier = found
                    .iter()
                    .flat_map(|(_, items)| items)
                    .filter(|item| item.due < *slot);
                if earlier.count() >= wanted {
                    return Ok(());
                }
                let before = found.len();
                self.collect_lane(session, slots.lane(*slot), wanted, front, found)
                    .await?;
                if found.len() == before && front.unreadable.is_empty() {
                    self.clear_lane(session, slots.lane(*slot)).await?;
                }
            }
            if listed.is_empty() {
                self.clear(session, &directory).await?;
            }
        }
        Ok(())
    }

    /// Collects the first segments of a lane until there is enough.
    async fn collect_lane(
        &self,
        session: &Arc<Session>,
        lane: Lane,
        wanted: usize,
        front: &mut Front,
        found: &mut Vec<(Segment, Vec<Item>)>,
    ) -> Result<(), Interrupted> {
        let path = self.layout.lane(lane);
        // The first block seen last time most likely still is: what is behind it need not be listed.
        let head = self.head(lane);
        let of_head = match head {
            Some(head) => self.collect_block(session, lane, head, wanted, front, found).await?,
            None => None,
        };
        let of_head = of_head.unwrap_or_default();
        if of_head >= wanted {
            return Ok(());
        }
        let mut count = of_head;
        let before = found.len();
        'again: loop {
            let blocks = numbers::<i32>(&list(session, &path).await?);
            let mut passed = Vec::new();
            for (position, block) in blocks.iter().enumerate() {
                if count >= wanted {
                    break;
                }
                if of_head > 0 && head == Some(*block) {
                    continue;
                }
                // What was given back is in no order: of that, all has to be seen.
                let missing = match lane.is_given_back() {
                    true => usize::MAX,
                    false => wanted - count,
                };
                let collected = self.collect_block(session, lane, *block, missing, front, found).await?;
                match collected {
                    Some(0) if position + 1 < blocks.len() => passed.push(*block),
                    Some(items) if items > 0 => {
                        // Once there is something in a later block, nothing is put into those before it.
                        for block in passed.drain(..) {
                            if !self.clear(session, &self.layout.block(lane, block)).await? {
                                found.truncate(before);
                                count = of_head;
                                continue 'again;
                            }
                        }
                        if count == 0 && matches!(lane, Lane::Ready(_)) {
                            self.set_head(lane, *block);
                        }
                        count += items;
                    }
                    _ => {}
                }
            }
            for block in passed {
                self.clear(session, &self.layout.block(lane, block)).await?;
            }
            break;
        }
        if count == 0 {
            self.forget_head(lane);
        }
        Ok(())
    }

    /// Collects the first segments of a block, and says of how many items; `None` if there is something else in it.
    async fn collect_block(
        &self,
        session: &Arc<Session>,
        lane: Lane,
        block: i32,
        wanted: usize,
        front: &mut Front,
        found: &mut Vec<(Segment, Vec<Item>)>,
    ) -> Result<Option<usize>, Interrupted> {
        let directory = self.layout.block(lane, block);
        let names = match front.ahead.take_if(|(listed, _)| *listed == directory) {
            Some((_, names)) => names,
            None => list(session, &directory).await?,
        };
        let mut segments: Vec<_> = names
            .iter()
            .filter_map(|name| SegmentName::parse(name).map(|parsed| (parsed, name)))
            .collect();
        if let Some(foreign) = names.iter().find(|name| SegmentName::parse(name).is_none()) {
            warn!(path = %directory, name = foreign, "a child that is no segment of the queue is left alone");
        }
        if segments.is_empty() {
            return Ok(names.is_empty().then_some(0));
        }
        let first = Sequence::oldest(segments.iter().map(|(name, _)| name.sequence));
        segments.sort_unstable_by_key(|(name, _)| first.map_or(0, |first| name.sequence.distance_from(first)));
        let mut planned = 0_usize;
        let chosen: Vec<Segment> = segments
            .iter()
            .take(TAKE_SEGMENTS)
            .take_while(|(name, _)| {
                let goes_on = planned < wanted;
                planned = planned.saturating_add(name.count.max(1));
                goes_on
            })
            .map(|(_, name)| Segment {
                block: directory.clone(),
                name: (*name).clone(),
            })
            .collect();
        let (mut items, mut size, mut step, mut rest) = (0, 0, FIRST_READS, chosen.as_slice());
        let mut answers = Vec::new();
        while !rest.is_empty() && size < TAKE_BYTES {
            let (now, later) = rest.split_at(step.min(rest.len()));
            let reads = now.iter().map(|segment| async { read(session, &segment.path()).await });
            for answer in future::try_join_all(reads).await? {
                size += answer.as_ref().map_or(0, |(data, _)| data.len());
                answers.push(answer);
            }
            (rest, step) = (later, step * 4);
        }
        let is_cut = !rest.is_empty() || (chosen.len() == TAKE_SEGMENTS && segments.len() > TAKE_SEGMENTS);
        for (segment, answer) in chosen.iter().zip(answers) {
            let Some((data, stat)) = answer else {
                front.vanished = true;
                continue;
            };
            let data = Bytes::from(data);
            match decode(&data) {
                Some(mut held) if !held.is_empty() => {
                    complete(&mut held, &stat);
                    items += held.len();
                    found.push((segment.clone(), held));
                }
                _ => {
                    items += 1;
                    let priority = match lane {
                        Lane::Ready(priority) | Lane::Later(priority, _) => priority,
                        Lane::Expiry(_) => 0,
                    };
                    front.unreadable.push(Unreadable {
                        path: segment.path(),
                        priority,
                        data,
                        stat,
                    });
                }
            }
        }
        if is_cut {
            front.cut = true;
            return Ok(Some(items.max(wanted)));
        }
        // All of it may be gone by now, or be taken: it is looked at again.
        Ok(Some(items.max(1)))
    }

    /// When the next keys and results are to be forgotten, and the segments that tell which by `now`.
    pub(super) async fn expired(
        &self,
        session: &Arc<Session>,
        now: i64,
        wanted: usize,
    ) -> Result<(Vec<(Segment, Vec<Item>)>, Option<i64>), Interrupted> {
        let (mut front, mut found) = (Front::default(), Vec::new());
        self.collect_due(session, Slots::Expiry, now, wanted, &mut front, &mut found)
            .await?;
        for unreadable in &front.unreadable {
            self.clear(session, &NodePath::new(&unreadable.path)?).await?;
        }
        Ok((found, front.next_due))
    }

    /// Removes what is left of a lane of a slot once all of it was taken.
    async fn clear_lane(&self, session: &Arc<Session>, lane: Lane) -> Result<(), Interrupted> {
        let path = self.layout.lane(lane);
        for block in numbers::<i32>(&list(session, &path).await?) {
            self.clear(session, &self.layout.block(lane, block)).await?;
        }
        self.clear(session, &path).await.map(|_| ())
    }

    /// Removes a directory, if it is empty; false if it is not. Whoever puts something there at this moment makes it
    /// again.
    async fn clear(&self, session: &Arc<Session>, directory: &NodePath) -> Result<bool, Interrupted> {
        let path = directory.as_str();
        match delete(session, path, None).await? {
            Ok(()) | Err(zk::Error::NoNode) => Ok(true),
            Err(zk::Error::NotEmpty) => Ok(false),
            Err(source) => Err(refused(path, source)),
        }
    }
}

/// What the node tells of items that were pushed with it.
pub(super) fn complete(items: &mut [Item], stat: &zk::Stat) {
    for item in items {
        if item.arrival == 0 {
            item.arrival = stat.czxid;
        }
        if item.due == 0 {
            item.due = stat.ctime;
        }
    }
}

/// Takes the first `wanted` of the items found, and what is not too much at once. An item is taken alone for its last
/// attempt: if its consumer dies of it, no other item pays for that.
fn choose(found: Vec<(Segment, Vec<Item>)>, wanted: usize, max_attempts: u32, front: &mut Front) {
    let mut ranked: Vec<_> = found
        .iter()
        .enumerate()
        .flat_map(|(segment, (_, items))| {
            items
                .iter()
                .map(move |item| (item.rank(), segment, item.payload.len(), item.attempt))
        })
        .collect();
    ranked.sort_unstable_by_key(|(rank, ..)| *rank);
    let weight = |items: &[Item]| items.iter().map(|item| item.payload.len() + OVERHEAD).sum::<usize>();
    let taken = front.takes.iter().flat_map(|take| &take.taken);
    let mut size: usize = taken.map(|item| item.payload.len().max(1)).sum();
    let moved = front.takes.iter().map(|take| weight(&take.taken) + weight(&take.left));
    let mut moved: usize = moved.sum();
    let mut untouched: Vec<usize> = found.iter().map(|(_, items)| weight(items)).collect();
    let mut last = None;
    for (rank, segment, bytes, attempt) in ranked.iter().take(wanted) {
        let is_last_attempt = attempt.saturating_add(1) >= max_attempts;
        if size > 0 && (is_last_attempt || size + bytes > TAKE_BYTES || moved + untouched[*segment] > MOVED_BYTES) {
            front.cut = true;
            break;
        }
        size += bytes.max(&1);
        moved += std::mem::take(&mut untouched[*segment]);
        last = Some(*rank);
        if is_last_attempt {
            front.cut = true;
            break;
        }
    }
    for (segment, items) in found {
        let (taken, left): (Vec<_>, Vec<_>) = items
            .into_iter()
            .partition(|item| last.is_some_and(|last| item.rank() <= last));
        if !taken.is_empty() {
            front.takes.push(Take { segment, taken, left });
        }
    }
}

#[cfg(test)]
mod tests;
