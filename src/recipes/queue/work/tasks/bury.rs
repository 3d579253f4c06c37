//! Items that were lost with their consumer at their last attempt become dead letters.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use tracing::info;
use zookeeper_client as zk;

use super::super::store::{Committed, Draft, Header, Item, Role, Span, State, Store, Tally, decode_items, ended};
use super::group::group_of;
use super::prepare::{KnownRange, claimable, is_dead, known};
use super::select::Candidate;
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{NodeQuestion, ask};

/// So many ranges are looked through at once for items that were lost at their last attempt.
const BURIED: usize = 64;

/// A range with items that were lost at their last attempt, by their index.
pub(super) struct LostItems<'a> {
    candidate: &'a Candidate,
    known: KnownRange,
    after: Tally,
    items: Vec<(u8, Item)>,
}

impl<'a> LostItems<'a> {
    /// Finds them among the items of a segment; none if there are none and the range has others.
    pub(super) fn of(
        candidate: &'a Candidate,
        mut known: KnownRange,
        segment: &Bytes,
        header: &Header,
        now: i64,
    ) -> Option<Self> {
        known.tally.lose_open(now);
        let Span { from, to } = candidate.range.span;
        let numbered = (0_u8..).zip(decode_items(segment).unwrap_or_default());
        let is_lost = |index: &u8| (from..to).contains(index) && is_dead(&known.tally, *index, header);
        let items: Vec<(u8, Item)> = numbered.filter(|(index, _)| is_lost(index)).collect();
        let mut after = known.tally.clone();
        (from..to).filter(is_lost).for_each(|index| after.finish(index));
        let lost = Self {
            candidate,
            known,
            after,
            items,
        };
        (!lost.items.is_empty() || lost.ends_range()).then_some(lost)
    }

    /// About how many bytes and operations it adds to a transaction.
    fn cost(&self) -> (usize, usize) {
        let bytes = self.items.iter().map(|(_, item)| item.payload.len() + 200).sum();
        (bytes, 4 + 3 * self.items.len())
    }

    /// Whether nothing is left of the range then.
    fn ends_range(&self) -> bool {
        let Span { from, to } = self.candidate.range.span;
        (from..to).all(|index| self.after.is_done(index))
    }

    pub(super) fn draft(&self, draft: &mut Draft<'_>, position: usize, max_attempts: u32) {
        let Self {
            candidate,
            known,
            after,
            items,
        } = self;
        let at = claimable(candidate);
        match self.ends_range() {
            true => draft.remove_free(position, &at, &known.tally, known.version, known.over),
            false => draft.write_free(position, &at, &known.tally, known.version, after, known.over),
        }
        for (index, item) in items {
            let attempts = known.tally.attempts(*index);
            let reason = format!("its consumer was lost at attempt {attempts} of {max_attempts}");
            draft.bury(item, known.tally.record(*index), &reason);
        }
    }
}

/// Finds the items of these ranges that were lost at their last attempt.
async fn lost_items<'a>(
    store: &Store,
    session: &Arc<Session>,
    candidates: &[&'a Candidate],
    header: &Header,
    now: i64,
) -> Result<Vec<LostItems<'a>>, Interrupted> {
    let segment = |candidate: &&Candidate| NodeQuestion::Data(claimable(candidate).segment_path(&store.layout));
    let segments: Vec<NodeQuestion> = candidates.iter().map(segment).collect();
    let (known, segments) = future::try_join(known(store, session, candidates, now), ask(session, &segments)).await?;
    let found = candidates.iter().zip(known).zip(segments);
    let lost = found.filter_map(|((candidate, known), segment)| {
        let (known, (data, _)) = (known.ok()??, segment?.into_data()?);
        LostItems::of(candidate, known, &Bytes::from(data), header, now)
    });
    Ok(lost.collect())
}

/// Puts items to the dead letters that were lost at their last attempt, of many ranges at once.
pub(crate) async fn bury_lost(
    store: &Store,
    session: &Arc<Session>,
    line: &[Candidate],
    header: &Header,
    now: i64,
) -> Result<(), Interrupted> {
    let is_opened = |candidate: &&Candidate| !matches!(candidate.range.state, State::FreshSingle | State::FreshRest);
    let is_single = |candidate: &&Candidate| group_of(&claimable(candidate)).is_none();
    let opened: Vec<&Candidate> = line.iter().filter(is_opened).filter(is_single).take(BURIED).collect();
    let mut dead: Vec<LostItems<'_>> = Vec::new();
    let (mut bytes, mut operations) = (0, 0);
    for lost in lost_items(store, session, &opened, header, now).await? {
        let cost = lost.cost();
        bytes += cost.0;
        operations += cost.1;
        if !dead.is_empty() && (bytes > 256 * 1024 || operations > 900) {
            break;
        }
        dead.push(lost);
    }
    if dead.is_empty() {
        return Ok(());
    }
    let committed = store.commit(session, |draft| {
        draft.check_header();
        for (position, lost) in dead.iter().enumerate() {
            lost.draft(draft, position, header.options.max_attempts);
        }
    });
    match committed.await? {
        Committed::Done(..) => {
            let items: usize = dead.iter().map(|lost| lost.items.len()).sum();
            info!(
                queue = store.path(),
                items, "put to the dead letters: lost at the last attempt"
            );
            Ok(())
        }
        // Another did it.
        Committed::Refused(Role::Source(_), zk::Error::NoNode | zk::Error::BadVersion | zk::Error::NodeExists) => {
            Ok(())
        }
        Committed::Refused(_, source) => Err(Error::from_answer(store.path(), source).into()),
        Committed::Paused => Ok(()),
        Committed::Indeterminate(()) => Err(ended(session)),
    }
}
