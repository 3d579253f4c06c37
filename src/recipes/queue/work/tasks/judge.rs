//! What verdicts on the items of a claim make of it, as steps of a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::store::{AttemptEnd, ClaimData, Draft, EndedAttempt, Item, Progress, Role, Tally, bit};
use super::assignment::{Settlement, Verdict};
use super::claim::{Claim, Open};
use super::group::GroupEnd;
use super::random;

/// So many bytes of progress are kept for an item.
const PROGRESS: usize = 1024;

/// A claim, and what of it is settled in one transaction.
pub(super) struct Held<'a> {
    pub(super) claim: Arc<Claim>,
    pub(super) settlements: Vec<&'a Settlement>,
}

/// What a claim is after a transaction.
#[derive(Debug)]
pub(super) struct After {
    pub(super) tally: Tally,
    pub(super) is_written: bool,
    pub(super) left: BTreeSet<u8>,
    pub(super) noted: Vec<u8>,
    pub(super) data: Option<ClaimData>,
    pub(super) gives_back: bool,
}

/// What of a claim is left, and what goes elsewhere.
struct Progressing {
    after: After,
    /// What is given back at its place in line.
    in_place: Vec<u8>,
    /// How long a group waits.
    delay: Duration,
}

pub(super) fn draft_claim(draft: &mut Draft<'_>, position: usize, held: &Held<'_>) -> After {
    let open = held.claim.open();
    let after = After {
        tally: open.tally.clone(),
        is_written: false,
        left: open.items.keys().copied().collect(),
        noted: Vec::new(),
        data: None,
        gives_back: false,
    };
    let mut progressing = Progressing {
        after,
        in_place: Vec::new(),
        delay: Duration::ZERO,
    };
    let is_group = held.claim.group.is_some();
    let mut acknowledged = false;
    for settlement in &held.settlements {
        let Some(item) = open.items.get(&settlement.index) else {
            continue;
        };
        let at = if is_group { 0 } else { settlement.index };
        acknowledged |= matches!(settlement.verdict, Verdict::Done { .. });
        progressing.judge(draft, settlement, at, item, &open.data, is_group);
    }
    let Progressing {
        mut after,
        in_place,
        delay,
    } = progressing;
    let at = &held.claim.at;
    if let Some(group) = held.claim.group.as_ref().filter(|_| after.left.is_empty()) {
        let ended = if in_place.is_empty() {
            GroupEnd::HeadEnded
        } else {
            GroupEnd::HeadStays { delay }
        };
        after.gives_back = true;
        group.draft(draft, position, at, &after.tally, open.version, ended);
        return after;
    }
    if acknowledged && open.ahead > 0 {
        note_ahead(&mut after, &open);
    }
    if after.left.is_empty() {
        match in_place.is_empty() {
            true => draft.end(position, at, open.version),
            false => {
                after.gives_back = true;
                draft.release(position, at, &after.tally, open.version);
            }
        }
        return after;
    }
    for index in in_place {
        if let Some(item) = open.items.get(&index) {
            draft.take_out(at, index, item, after.tally.record(index));
            after.tally.finish(index);
            after.gives_back = true;
        }
    }
    if after.tally != open.tally {
        after.is_written = true;
        draft.keep(position, at, &after.tally, open.version);
    }
    if let Some(data) = &after.data {
        let path = at.claim_path(draft.known.layout);
        draft.set(path, data.encode(), Some(open.claim_version), Role::Held(position));
    }
    after
}

/// Notes the next items of a claim whose items are handed out one after the other.
fn note_ahead(after: &mut After, open: &Open) {
    let is_ready = |index: &&u8| open.noted.contains_key(index) && !open.handed_out.contains(index);
    let ready = after.left.iter().filter(is_ready).count() + after.noted.len();
    let next = after
        .left
        .iter()
        .filter(|index| !open.noted.contains_key(index) && !after.noted.contains(index));
    let next: Vec<u8> = next.take(open.ahead.saturating_sub(ready)).copied().collect();
    for index in next {
        after.tally.note(index);
        after.noted.push(index);
    }
}

impl Progressing {
    fn judge(
        &mut self,
        draft: &mut Draft<'_>,
        settlement: &Settlement,
        at: u8,
        item: &Item,
        data: &ClaimData,
        is_group: bool,
    ) {
        let after = &mut self.after;
        let now = draft.known.now;
        match &settlement.verdict {
            Verdict::Done { outcome, .. } => {
                draft.finish_item(item, outcome);
                after.tally.finish(at);
                after.left.remove(&settlement.index);
            }
            Verdict::Failed { delay, how, reason } => {
                after.tally.end(
                    at,
                    EndedAttempt {
                        when: now,
                        how: *how,
                        reason: reason.clone(),
                    },
                );
                after.left.remove(&settlement.index);
                let options = &draft.known.header.options;
                let attempts = after.tally.attempts(at);
                if attempts >= options.max_attempts {
                    let reason = format!(
                        "it was given back at attempt {attempts} of {}{}",
                        options.max_attempts,
                        because(reason)
                    );
                    draft.bury(item, after.tally.record(at), &reason);
                    after.tally.finish(at);
                    return;
                }
                let delay = delay.unwrap_or_else(|| options.retry.delay(attempts, random()));
                if delay.is_zero() || is_group {
                    self.in_place.push(settlement.index);
                    self.delay = delay;
                } else {
                    draft.delay(delay, item, after.tally.record(at));
                    after.tally.finish(at);
                }
            }
            Verdict::Rejected { reason } => {
                after.tally.end(
                    at,
                    EndedAttempt {
                        when: now,
                        how: AttemptEnd::GivenBack,
                        reason: reason.clone(),
                    },
                );
                draft.bury(item, after.tally.record(at), reason);
                after.tally.finish(at);
                after.left.remove(&settlement.index);
            }
            Verdict::NotDelivered => {
                after.tally.take_back(at);
                after.left.remove(&settlement.index);
                self.in_place.push(settlement.index);
            }
            Verdict::Note => {
                if after.tally.open & bit(at) == 0 {
                    after.tally.note(at);
                    after.noted.push(settlement.index);
                }
            }
            // Without a deadline there is nothing to put off.
            Verdict::Extend(_) if after.tally.deadline == 0 => {}
            Verdict::Extend(by) => {
                let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
                let data = after.data.get_or_insert_with(|| data.clone());
                data.deadline = now.saturating_add(by).max(data.deadline).max(after.tally.deadline);
            }
            Verdict::Progress(bytes) => {
                let progress = &mut after.data.get_or_insert_with(|| data.clone()).progress;
                progress.retain(|known| known.index != at);
                let bytes = bytes.slice(..bytes.len().min(PROGRESS));
                progress.push(Progress {
                    index: at,
                    when: now,
                    data: bytes,
                });
            }
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
