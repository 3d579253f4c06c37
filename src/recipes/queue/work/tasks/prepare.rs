//! What has to be known of ranges before they are claimed.

use std::sync::Arc;

use tracing::warn;

use super::super::store::{ClaimData, Claimable, Header, Order, QueueLayout, Span, State, Store, Taking, Tally};
use super::firsts::{Firsts, first_open, first_piece};
use super::group::group_of;
use super::select::Candidate;
use super::view::MARGIN;
use crate::session::{Interrupted, Session};
use crate::znode::{NodeAnswer, NodeQuestion, ask};

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
    /// Of ranges that were claimed before, the first item that is not done.
    firsts: Vec<(Candidate, u8)>,
}

/// What stands in the nodes of a range that was claimed before.
#[derive(Debug)]
pub(super) struct KnownRange {
    pub(super) tally: Tally,
    pub(super) version: i32,
    /// The version of the claim that is taken over.
    pub(super) over: Option<i32>,
}

enum Part {
    Whole(Span),
    /// The item is given its last attempt alone.
    Isolated(Span),
    /// What follows is for another claim.
    Cut(Span),
    /// Something of it has to be put to the dead letters first, or nothing of it is left.
    Nothing,
}

fn is_isolated(tally: &Tally, index: u8, header: &Header) -> bool {
    tally.lost(index) > 0 && tally.attempts(index) + 1 >= header.options.max_attempts
}

pub(super) fn is_dead(tally: &Tally, index: u8, header: &Header) -> bool {
    !tally.is_done(index) && tally.attempts(index) >= header.options.max_attempts
}

/// Which part of a range is claimed for so many items, of which none is behind the free `piece` that was taken out of it.
fn part_of(span: Span, tally: &Tally, items: usize, piece: Option<u8>, header: &Header) -> Part {
    let mut open = (span.from..span.to).filter(|index| !tally.is_done(*index)).peekable();
    let Some(from) = open.peek().copied() else {
        return Part::Nothing;
    };
    let mut last = from;
    for (place, index) in open.enumerate().take(items) {
        if piece.is_some_and(|piece| piece < index) {
            return Part::Cut(Span { from, to: index });
        }
        if is_isolated(tally, index, header) {
            return match place {
                0 if span.to - from == 1 => Part::Isolated(Span { from, to: span.to }),
                0 => Part::Isolated(Span { from, to: from + 1 }),
                _ => Part::Cut(Span { from, to: index }),
            };
        }
        last = index;
    }
    match (last + 1..span.to).find(|index| !tally.is_done(*index)) {
        None => Part::Whole(span),
        // What is left begins, by its name, with an item that is not done.
        Some(next) => Part::Whole(Span { from, to: next }),
    }
}

/// Which part of what was chosen is claimed for so many items; nothing is known of a range that is fresh.
fn wanted_part(
    line: &[Candidate],
    candidate: &Candidate,
    known: Option<&KnownRange>,
    items: usize,
    header: &Header,
) -> Part {
    let span = candidate.range.span;
    let Some(KnownRange { tally, .. }) = known else {
        let length = u8::try_from(items).unwrap_or(u8::MAX).min(span.to - span.from);
        return Part::Whole(Span {
            from: span.from,
            to: span.from + length,
        });
    };
    let is_token = group_of(&claimable(candidate)).is_some();
    if !is_token && (span.from..span.to).any(|index| is_dead(tally, index, header)) {
        return Part::Nothing;
    }
    let piece = match header.options.order {
        Order::Strict => first_piece(line, candidate, tally),
        Order::Window(_) => None,
    };
    part_of(span, tally, items, piece, header)
}

impl Prepared {
    /// Prepares the claim of ranges in line, of each of which so many items are wanted; `noted` says which of all are noted.
    pub(crate) async fn of(
        store: &Store,
        session: &Arc<Session>,
        line: &[Candidate],
        chosen: &[(Candidate, usize)],
        noted: &[bool],
        header: &Header,
        now: i64,
    ) -> Result<Self, Interrupted> {
        let candidates: Vec<&Candidate> = chosen.iter().map(|(candidate, _)| candidate).collect();
        let known = known(store, session, &candidates, now).await?;
        Ok(Self::with(line, chosen, known, noted, header, now))
    }

    /// The same, with what stands in the nodes of the ranges.
    pub(super) fn with(
        line: &[Candidate],
        chosen: &[(Candidate, usize)],
        known: Vec<Result<Option<KnownRange>, Unusable>>,
        noted: &[bool],
        header: &Header,
        now: i64,
    ) -> Self {
        let mut prepared = Self::default();
        let mut noted = noted.iter().copied();
        for ((candidate, items), known) in chosen.iter().zip(known) {
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
                Err(Unusable::Unreadable) => {
                    prepared.skipped.push((*candidate, i64::MAX));
                    continue;
                }
            };
            if let Some(known) = &mut known {
                known.tally.lose_open(now);
                let first = first_open(candidate.range.span, &known.tally);
                prepared.firsts.push((*candidate, first));
            }
            let part = wanted_part(line, candidate, known.as_ref(), *items, header);
            let (span, ends) = match part {
                Part::Whole(span) => (span, false),
                Part::Cut(span) => (span, true),
                Part::Isolated(_) if !prepared.takings.is_empty() => return prepared,
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
                return prepared;
            }
        }
        prepared
    }

    /// Tells where the ranges begin that were read; true if that is new.
    pub(super) fn learn(&self, firsts: &mut Firsts) -> bool {
        let learn = |is_new: bool, (candidate, first): &(Candidate, u8)| firsts.learn(candidate, *first) || is_new;
        self.firsts.iter().fold(false, learn)
    }
}

/// Why a range cannot be claimed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unusable {
    /// It is not as it was seen.
    Outdated,
    /// Its claim was extended, or the clock was set back.
    Until(i64),
    /// What stands there cannot be read.
    Unreadable,
}

/// What is known of a range; nothing if it is fresh.
pub(super) type Knowing = Result<Option<KnownRange>, Unusable>;

/// What stands in the nodes of each of these ranges.
pub(super) async fn known(
    store: &Store,
    session: &Arc<Session>,
    candidates: &[&Candidate],
    now: i64,
) -> Result<Vec<Knowing>, Interrupted> {
    let nodes: Vec<_> = candidates
        .iter()
        .map(|candidate| RangeNodes::of(&store.layout, candidate))
        .collect();
    let opened = nodes.iter().flatten().flatten();
    let questions: Vec<NodeQuestion> = opened.flat_map(RangeNodes::questions).collect();
    let answers = ask(session, &questions).await?;
    let mut answers = answers.into_iter().map(|answer| {
        let (data, stat) = answer.and_then(NodeAnswer::into_data)?;
        Some((data, stat.version))
    });
    let mut judge = |nodes: Result<Option<RangeNodes>, Unusable>| {
        let Some(nodes) = nodes? else { return Ok(None) };
        let opened = answers.next().flatten();
        let claim = nodes.claim.as_ref().and_then(|_| answers.next().flatten());
        let judged = nodes.judge(opened, claim, now);
        if let Err(Unusable::Unreadable) = judged {
            warn!(
                queue = store.path(),
                path = nodes.opened,
                "unreadable; its items are left alone"
            );
        }
        judged.map(Some)
    };
    Ok(nodes.into_iter().map(&mut judge).collect())
}

/// The nodes of a range that was claimed before: its tally, and the claim that is taken over, with its deadline.
pub(super) struct RangeNodes {
    pub(super) opened: String,
    pub(super) claim: Option<(String, i64)>,
}

impl RangeNodes {
    /// None if the range is fresh.
    pub(super) fn of(layout: &QueueLayout, candidate: &Candidate) -> Result<Option<Self>, Unusable> {
        let at = claimable(candidate);
        let claim = match candidate.range.state {
            State::FreshSingle | State::FreshRest => return Ok(None),
            State::Free => None,
            // A claim without a deadline is never taken over.
            State::Claimed { deadline: None, .. } => return Err(Unusable::Outdated),
            State::Claimed {
                epoch,
                deadline: Some(end),
            } => {
                let deadline = Some(end);
                Some((Claimable { epoch, deadline, ..at }.claim_path(layout), end))
            }
        };
        let opened = at.opened_path(layout);
        Ok(Some(Self { opened, claim }))
    }

    fn questions(&self) -> impl Iterator<Item = NodeQuestion> {
        let claim = self.claim.as_ref().map(|(path, _)| path);
        std::iter::once(&self.opened)
            .chain(claim)
            .map(|path| NodeQuestion::Data(path.clone()))
    }

    /// What is known of the range, by the data and the versions of its nodes.
    pub(super) fn judge(
        &self,
        opened: Option<(Vec<u8>, i32)>,
        claim: Option<(Vec<u8>, i32)>,
        now: i64,
    ) -> Result<KnownRange, Unusable> {
        let (data, version) = opened.ok_or(Unusable::Outdated)?;
        let tally = Tally::decode(&data).ok_or(Unusable::Unreadable)?;
        let over = match &self.claim {
            None => None,
            Some((_, deadline)) => {
                // Without it, the claim is gone since it was listed.
                let (data, version) = claim.ok_or(Unusable::Outdated)?;
                let until = ClaimData::decode(&data).map_or(0, |data| data.deadline).max(*deadline);
                if until > now - MARGIN {
                    return Err(Unusable::Until(until));
                }
                Some(version)
            }
        };
        Ok(KnownRange { tally, version, over })
    }
}

pub(super) fn claimable(candidate: &Candidate) -> Claimable {
    Claimable::unclaimed(candidate.block, &candidate.range)
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
