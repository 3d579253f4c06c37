//! What has to be known of ranges before they are claimed.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use tracing::{info, warn};
use zookeeper_client as zk;

use super::super::store::{
    ClaimData, Claimable, Committed, Draft, Header, Item, Range, Role, Span, State, Store, Taking, Tally, decode_items,
    ended,
};
use super::group::group_of;
use super::select::Candidate;
use super::view::MARGIN;
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::read;

/// So many ranges are looked through at once for items that were lost at their last attempt.
const BURIED: usize = 64;

/// Ranges that can be claimed together.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    pub(crate) takings: Vec<Taking>,
    /// An item that was lost before is given its last attempt alone.
    pub(crate) is_isolated: bool,
    /// Something was lost at its last attempt, and has to be put to the dead letters first.
    pub(crate) has_dead: bool,
    /// What was chosen is not as it was seen.
    pub(crate) is_outdated: bool,
    /// What cannot be claimed before a time of the ensemble's clock, or never, though its name says so.
    pub(crate) skipped: Vec<(Candidate, i64)>,
}

/// What stands in the nodes of a range that was claimed before.
#[derive(Debug)]
struct KnownRange {
    tally: Tally,
    version: i32,
    over: Option<i32>,
}

enum Part {
    Whole(Span),
    /// The item is given its last attempt alone.
    Isolated(Span),
    /// What follows is for another claim.
    Cut(Span),
    Nothing,
}

fn is_isolated(tally: &Tally, index: u8, header: &Header) -> bool {
    tally.lost(index) > 0 && tally.attempts(index) + 1 >= header.options.max_attempts
}

fn is_dead(tally: &Tally, index: u8, header: &Header) -> bool {
    !tally.is_done(index) && tally.attempts(index) >= header.options.max_attempts
}

/// Which part of a range is claimed for so many items.
fn part_of(span: Span, tally: &Tally, items: usize, header: &Header) -> Part {
    let mut open = (span.from..span.to).filter(|index| !tally.is_done(*index)).peekable();
    let Some(from) = open.peek().copied() else {
        return Part::Nothing;
    };
    let mut last = from;
    for (place, index) in open.enumerate().take(items) {
        if is_isolated(tally, index, header) {
            return match place {
                0 if span.to - from == 1 => Part::Isolated(Span { from, to: span.to }),
                0 => Part::Isolated(Span { from, to: from + 1 }),
                _ => Part::Cut(Span { from, to: index }),
            };
        }
        last = index;
    }
    let rest_is_done = (last + 1..span.to).all(|index| tally.is_done(index));
    match rest_is_done {
        true => Part::Whole(span),
        false => Part::Whole(Span { from, to: last + 1 }),
    }
}

impl Prepared {
    /// Prepares the claim of ranges, of each of which so many items are wanted; `noted` says which of all are noted.
    pub(crate) async fn of(
        store: &Store,
        session: &Arc<Session>,
        chosen: &[(Candidate, usize)],
        noted: &[bool],
        header: &Header,
        now: i64,
    ) -> Result<Self, Interrupted> {
        let known = chosen
            .iter()
            .map(|(candidate, _)| known(store, session, candidate, now));
        let known = future::try_join_all(known).await?;
        let mut prepared = Self::default();
        let mut noted = noted.iter().copied();
        for ((candidate, items), known) in chosen.iter().zip(known) {
            let range = candidate.range;
            let mut known = match known {
                Ok(known) => known,
                Err(Unusable::Outdated) => {
                    prepared.is_outdated = true;
                    continue;
                }
                Err(Unusable::Until(time)) => {
                    prepared.skipped.push((*candidate, time));
                    continue;
                }
            };
            if let Some(known) = &mut known {
                known.tally.lose_open(now);
            }
            let is_token = group_of(&claimable(candidate)).is_some();
            let has_dead =
                |known: &KnownRange| (range.span.from..range.span.to).any(|index| is_dead(&known.tally, index, header));
            if !is_token && known.as_ref().is_some_and(has_dead) {
                prepared.has_dead = true;
                continue;
            }
            let blank = Tally::default();
            let tally = known.as_ref().map_or(&blank, |known| &known.tally);
            let part = match known.is_some() {
                true => part_of(range.span, tally, *items, header),
                false => {
                    let length = u8::try_from(*items)
                        .unwrap_or(u8::MAX)
                        .min(range.span.to - range.span.from);
                    Part::Whole(Span {
                        from: range.span.from,
                        to: range.span.from + length,
                    })
                }
            };
            let (span, ends) = match part {
                Part::Whole(span) => (span, false),
                Part::Cut(span) => (span, true),
                Part::Isolated(_) if !prepared.takings.is_empty() => return Ok(prepared),
                Part::Isolated(span) => {
                    prepared.is_isolated = true;
                    (span, true)
                }
                Part::Nothing => {
                    prepared.has_dead = true;
                    continue;
                }
            };
            prepared
                .takings
                .push(taking(candidate, span, known, header, now, &mut noted));
            if ends {
                return Ok(prepared);
            }
        }
        Ok(prepared)
    }
}

/// Why a range cannot be claimed.
#[derive(Clone, Copy, Debug)]
enum Unusable {
    /// It is not as it was seen.
    Outdated,
    /// Its claim was extended, or what stands there cannot be read.
    Until(i64),
}

/// What stands in the nodes of a range; nothing if it is fresh.
async fn known(
    store: &Store,
    session: &Arc<Session>,
    candidate: &Candidate,
    now: i64,
) -> Result<Result<Option<KnownRange>, Unusable>, Interrupted> {
    let range = candidate.range;
    let at = claimable(candidate);
    let over = match range.state {
        State::FreshSingle | State::FreshRest => return Ok(Ok(None)),
        State::Free => None,
        // A claim without a deadline is never taken over.
        State::Claimed { deadline: None, .. } => return Ok(Err(Unusable::Outdated)),
        State::Claimed { epoch, deadline } => Some(Claimable { epoch, deadline, ..at }.claim_path(&store.layout)),
    };
    let opened = at.opened_path(&store.layout);
    let claim = async {
        match &over {
            Some(path) => read(session, path).await.map(Some),
            None => Ok(None),
        }
    };
    let (opened, claim) = future::try_join(read(session, &opened), claim).await?;
    let Some((data, stat)) = opened else {
        return Ok(Err(Unusable::Outdated));
    };
    let Some(tally) = Tally::decode(&data) else {
        warn!(
            queue = store.path(),
            path = at.opened_path(&store.layout),
            "unreadable; its items are left alone"
        );
        return Ok(Err(Unusable::Until(i64::MAX)));
    };
    let over = match claim {
        None => None,
        // The claim is gone since it was listed.
        Some(None) => return Ok(Err(Unusable::Outdated)),
        Some(Some((data, stat))) => {
            let extended = ClaimData::decode(&data).map_or(0, |data| data.deadline);
            if extended > now - MARGIN {
                return Ok(Err(Unusable::Until(extended)));
            }
            Some(stat.version)
        }
    };
    Ok(Ok(Some(KnownRange {
        tally,
        version: stat.version,
        over,
    })))
}

fn claimable(candidate: &Candidate) -> Claimable {
    let Range { segment, span, .. } = candidate.range;
    Claimable {
        block: candidate.block,
        segment,
        span,
        epoch: 0,
        deadline: None,
    }
}

fn taking(
    candidate: &Candidate,
    span: Span,
    known: Option<KnownRange>,
    header: &Header,
    now: i64,
    noted: &mut impl Iterator<Item = bool>,
) -> Taking {
    let range = candidate.range;
    let timeout = header.options.claim_timeout;
    let deadline =
        timeout.map(|timeout| now.saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX / 4)));
    let is_whole = span == range.span;
    let before = known.as_ref().map(|known| &known.tally);
    let mut tally = match before {
        None => Tally::default(),
        Some(tally) if is_whole => tally.clone(),
        Some(tally) => tally.part(span.from, span.to),
    };
    tally.epoch = tally.epoch.wrapping_add(1);
    tally.deadline = deadline.unwrap_or_default();
    for index in (span.from..span.to)
        .filter(|index| !tally.is_done(*index))
        .collect::<Vec<_>>()
    {
        if noted.next().unwrap_or(false) {
            tally.note(index);
        }
    }
    let claim = Claimable {
        span,
        epoch: tally.epoch,
        deadline,
        ..claimable(candidate)
    };
    let over = known.as_ref().and_then(|known| known.over);
    let before = known.map(|known| (known.tally, known.version));
    Taking {
        range,
        claim,
        tally,
        before,
        over,
    }
}

/// A range with items that were lost at their last attempt, by their index.
struct LostItems<'a> {
    candidate: &'a Candidate,
    known: KnownRange,
    after: Tally,
    items: Vec<(u8, Item)>,
}

impl LostItems<'_> {
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

    fn draft(&self, draft: &mut Draft<'_>, position: usize, max_attempts: u32) {
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

/// Finds the items of a range that were lost at their last attempt.
async fn lost_items<'a>(
    store: &Store,
    session: &Arc<Session>,
    candidate: &'a Candidate,
    header: &Header,
    now: i64,
) -> Result<Option<LostItems<'a>>, Interrupted> {
    let path = claimable(candidate).segment_path(&store.layout);
    let looked = future::try_join(known(store, session, candidate, now), read(session, &path)).await?;
    let (Ok(Some(mut known)), Some((data, _))) = looked else {
        return Ok(None);
    };
    known.tally.lose_open(now);
    let Span { from, to } = candidate.range.span;
    let numbered = (0_u8..).zip(decode_items(&Bytes::from(data)).unwrap_or_default());
    let is_lost = |index: &u8| (from..to).contains(index) && is_dead(&known.tally, *index, header);
    let items: Vec<(u8, Item)> = numbered.filter(|(index, _)| is_lost(index)).collect();
    let mut after = known.tally.clone();
    (from..to).filter(is_lost).for_each(|index| after.finish(index));
    let lost = LostItems {
        candidate,
        known,
        after,
        items,
    };
    Ok((!lost.items.is_empty() || lost.ends_range()).then_some(lost))
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
    let opened = line.iter().filter(is_opened).filter(is_single).take(BURIED);
    let found = opened.map(|candidate| lost_items(store, session, candidate, header, now));
    let mut dead: Vec<LostItems<'_>> = Vec::new();
    let (mut bytes, mut operations) = (0, 0);
    for lost in future::try_join_all(found).await?.into_iter().flatten() {
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
