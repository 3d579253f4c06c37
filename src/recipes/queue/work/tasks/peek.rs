//! What the next claims would take: read, and not claimed.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;

use super::super::store::{Header, Item, Kind, Span, Store, decode_items};
use super::firsts::{is_of_same_push, with_pieces};
use super::group::{GroupHead, group_of};
use super::prepare::{claimable, is_dead, known};
use super::select::Candidate;
use super::view::{Aim, View};
use crate::session::{Interrupted, Session};
use crate::znode::{NodeAnswer, NodeQuestion, ask, sync};

/// So many ranges are read at once; each may be as large as a node can be.
const READ_AT_ONCE: usize = 16;

/// So often it looks further when what it found is not enough.
const LOOKS: usize = 16;

/// An item that can be claimed.
struct PeekedItem {
    /// Its place in its push.
    index: u8,
    item: Item,
    attempts: u32,
}

/// The first `most` items that can be claimed, and how often each was handed out.
pub(crate) async fn peek(store: &Store, session: &Arc<Session>, most: usize) -> Result<Vec<(Item, u32)>, Interrupted> {
    sync(session, store.path()).await?;
    let Some(header) = store.read_header(session).await?.filter(|header| !header.paused) else {
        return Ok(Vec::new());
    };
    let now = store.approximate_now();
    let mut aim = Aim::of(&header, now);
    let mut view = View::default();
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        view = view.look(store, session, &aim).await?;
        if view.line.is_empty() {
            break;
        }
        read_line(store, session, &view.line, &header, now, most, &mut found).await?;
        if found.len() >= most {
            break;
        }
        // Behind what was read, of which some may be of no use, more may stand.
        let read = view.line.iter().map(|candidate| (candidate.key(), i64::MAX));
        Arc::make_mut(&mut aim.skipped).extend(read);
    }
    found.truncate(most);
    Ok(found)
}

/// Reads what stands in line until there are `most` items.
async fn read_line(
    store: &Store,
    session: &Arc<Session>,
    mut line: &[Candidate],
    header: &Header,
    now: i64,
    most: usize,
    found: &mut Vec<(Item, u32)>,
) -> Result<(), Interrupted> {
    let mut at_once = most.saturating_sub(found.len()).min(READ_AT_ONCE);
    while found.len() < most && !line.is_empty() {
        let (next, rest) = line.split_at(with_pieces(line, at_once));
        found.extend(in_order(
            next,
            claimable_items(store, session, next, header, now).await?,
        ));
        line = rest;
        // Some were of no use: maybe many are.
        at_once = READ_AT_ONCE;
    }
    Ok(())
}

/// The items of these ranges. Those of one push may be mixed.
fn in_order(ranges: &[Candidate], mut items: Vec<Vec<PeekedItem>>) -> Vec<(Item, u32)> {
    let mut line = Vec::new();
    for push in ranges.chunk_by(is_of_same_push) {
        let mut of_push: Vec<PeekedItem> = items.drain(..push.len()).flatten().collect();
        of_push.sort_by_key(|ready| ready.index);
        line.extend(of_push.into_iter().map(|ready| (ready.item, ready.attempts)));
    }
    line
}

/// The items of each of these ranges that a claim would hand out; none of one that was taken since it was listed.
async fn claimable_items(
    store: &Store,
    session: &Arc<Session>,
    candidates: &[Candidate],
    header: &Header,
    now: i64,
) -> Result<Vec<Vec<PeekedItem>>, Interrupted> {
    let candidates: Vec<&Candidate> = candidates.iter().collect();
    let known = known(store, session, &candidates, now);
    let items = items_of(store, session, &candidates);
    let (known, items) = future::try_join(known, items).await?;
    let found = candidates.iter().zip(known).zip(items);
    let useful = found.map(|((candidate, known), items)| {
        let Ok(range) = known else { return Vec::new() };
        let tally = range.map(|range| range.tally).unwrap_or_default();
        let is_useful = |index: u8, item: &Item| {
            let is_done = tally.is_done(index) || is_dead(&tally, index, header);
            !is_done && item.expires.is_none_or(|expires| expires > now)
        };
        let useful = items.into_iter().filter(|(index, item)| is_useful(*index, item));
        let ready = useful.map(|(index, item)| PeekedItem {
            index: match candidate.range.segment.kind {
                // Alone in its segment, it keeps the place that it had.
                Kind::TakenOut(place) => place,
                _ => index,
            },
            item,
            attempts: tally.attempts(index),
        });
        ready.collect()
    });
    Ok(useful.collect())
}

/// The items of each of these ranges, by their index; none of one that cannot be read.
async fn items_of(
    store: &Store,
    session: &Arc<Session>,
    candidates: &[&Candidate],
) -> Result<Vec<Vec<(u8, Item)>>, Interrupted> {
    let segments = candidates.iter().map(|candidate| {
        let at = claimable(candidate);
        match group_of(&at) {
            Some(_) => None,
            None => Some(NodeQuestion::Data(at.segment_path(&store.layout))),
        }
    });
    let segments: Vec<NodeQuestion> = segments.flatten().collect();
    let heads = candidates.iter().map(|candidate| async {
        match group_of(&claimable(candidate)) {
            Some(group) => GroupHead::new(group).head(store, session).await,
            None => Ok(None),
        }
    });
    let (answers, heads) = future::try_join(ask(session, &segments), future::try_join_all(heads)).await?;
    let mut answers = answers.into_iter();
    let of = |(candidate, head): (&&Candidate, Option<Result<Item, Bytes>>)| {
        if group_of(&claimable(candidate)).is_some() {
            return head.and_then(Result::ok).into_iter().map(|item| (0, item)).collect();
        }
        let Some((data, _)) = answers.next().flatten().and_then(NodeAnswer::into_data) else {
            return Vec::new();
        };
        let Span { from, to } = candidate.range.span;
        let numbered = (0_u8..).zip(decode_items(&Bytes::from(data)).unwrap_or_default());
        numbered.filter(|(index, _)| (from..to).contains(index)).collect()
    };
    Ok(candidates.iter().zip(heads).map(of).collect())
}
