//! What verdicts on the items of a claim make of it, as steps of a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::store::{AttemptEnd, ClaimData, Claimable, Draft, EndedAttempt, Item, Progress, Role, Tally, bit};
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
struct Judged {
    after: After,
    /// What is given back at its place in line.
    in_place: Vec<u8>,
    /// How long a group waits.
    delay: Duration,
    is_group: bool,
    acknowledged: bool,
}

/// An item on which there is a verdict.
#[derive(Clone, Copy)]
struct JudgedItem<'i> {
    index: u8,
    /// Its index in the tally; that of a group counts its head alone.
    at: u8,
    item: &'i Item,
}

/// Drafts what the verdicts make of a claim.
pub(super) fn draft_claim(draft: &mut Draft<'_>, position: usize, held: &Held<'_>) -> After {
    let open = held.claim.open();
    let verdicts = held.settlements.iter();
    let verdicts = verdicts.map(|settlement| (settlement.index, &settlement.verdict));
    let judged = Judged::of(draft, verdicts, held.claim.group.is_some(), &open);
    match held.claim.group.as_ref().filter(|_| judged.after.left.is_empty()) {
        Some(group) => {
            let ended = match judged.in_place.is_empty() {
                true => GroupEnd::HeadEnded,
                false => GroupEnd::HeadStays { delay: judged.delay },
            };
            let mut after = judged.after;
            after.gives_back = true;
            group.draft(draft, position, &held.claim.at, &after.tally, open.version, ended);
            after
        }
        None => draft_items(draft, position, &held.claim.at, &open, judged),
    }
}

/// Drafts what the verdicts make of a claim of items, for a model.
#[cfg(feature = "_model")]
pub(super) fn draft_verdicts(draft: &mut Draft<'_>, at: &Claimable, open: &Open, verdicts: &[(u8, Verdict)]) -> After {
    let verdicts = verdicts.iter().map(|(index, verdict)| (*index, verdict));
    let judged = Judged::of(draft, verdicts, false, open);
    draft_items(draft, 0, at, open, judged)
}

/// Drafts what is left of a claim of items, or its end.
fn draft_items(draft: &mut Draft<'_>, position: usize, at: &Claimable, open: &Open, judged: Judged) -> After {
    let Judged {
        mut after, in_place, ..
    } = judged;
    if judged.acknowledged && open.ahead > 0 {
        note_ahead(&mut after, open);
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

impl Judged {
    fn of<'v>(
        draft: &mut Draft<'_>,
        verdicts: impl Iterator<Item = (u8, &'v Verdict)>,
        is_group: bool,
        open: &Open,
    ) -> Self {
        let after = After {
            tally: open.tally.clone(),
            is_written: false,
            left: open.items.keys().copied().collect(),
            noted: Vec::new(),
            data: None,
            gives_back: false,
        };
        let mut judged = Self {
            after,
            in_place: Vec::new(),
            delay: Duration::ZERO,
            is_group,
            acknowledged: false,
        };
        for (index, verdict) in verdicts {
            let at = if is_group { 0 } else { index };
            if let Some(item) = open.items.get(&index) {
                judged.judge(draft, verdict, JudgedItem { index, at, item }, &open.data);
            }
        }
        judged
    }

    fn judge(&mut self, draft: &mut Draft<'_>, verdict: &Verdict, of: JudgedItem<'_>, data: &ClaimData) {
        let JudgedItem { index, at, item } = of;
        let after = &mut self.after;
        let now = draft.known.now;
        match verdict {
            Verdict::Done { outcome, .. } => {
                self.acknowledged = true;
                draft.finish_item(item, outcome);
                after.tally.finish(at);
                after.left.remove(&index);
            }
            Verdict::Failed { delay, how, reason } => {
                let failed = EndedAttempt {
                    when: now,
                    how: *how,
                    reason: reason.clone(),
                };
                self.fail(draft, of, failed, *delay);
            }
            Verdict::Rejected { reason } => {
                let rejected = EndedAttempt {
                    when: now,
                    how: AttemptEnd::GivenBack,
                    reason: reason.clone(),
                };
                after.tally.end(at, rejected);
                draft.bury(item, after.tally.record(at), reason);
                after.tally.finish(at);
                after.left.remove(&index);
            }
            Verdict::NotDelivered => {
                after.tally.take_back(at);
                after.left.remove(&index);
                self.in_place.push(index);
            }
            Verdict::Note => {
                if after.tally.open & bit(at) == 0 {
                    after.tally.note(at);
                    after.noted.push(index);
                }
            }
            // Without a deadline there is nothing to put off.
            Verdict::Extend(_) if after.tally.deadline == 0 => {}
            Verdict::Extend(by) => after.extend(*by, now, data),
            Verdict::Progress(bytes) => after.progress(at, bytes, now, data),
        }
    }

    /// An attempt failed: the item waits for the next one, or becomes a dead letter.
    fn fail(&mut self, draft: &mut Draft<'_>, of: JudgedItem<'_>, failed: EndedAttempt, delay: Option<Duration>) {
        let JudgedItem { index, at, item } = of;
        let after = &mut self.after;
        let reason = because(&failed.reason);
        after.tally.end(at, failed);
        after.left.remove(&index);
        let options = &draft.known.header.options;
        let (attempts, most) = (after.tally.attempts(at), options.max_attempts);
        if attempts >= most {
            let reason = format!("it was given back at attempt {attempts} of {most}{reason}");
            draft.bury(item, after.tally.record(at), &reason);
            after.tally.finish(at);
            return;
        }
        let delay = delay.unwrap_or_else(|| options.retry.delay(attempts, random()));
        if delay.is_zero() || self.is_group {
            self.in_place.push(index);
            self.delay = delay;
        } else {
            draft.delay(delay, item, after.tally.record(at));
            after.tally.finish(at);
        }
    }
}

impl After {
    /// Puts the deadline off to so much later than now.
    fn extend(&mut self, by: Duration, now: i64, known: &ClaimData) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 4);
        let data = self.data.get_or_insert_with(|| known.clone());
        data.deadline = now.saturating_add(by).max(data.deadline).max(self.tally.deadline);
    }

    /// Keeps what the consumer says of its progress with an item.
    fn progress(&mut self, at: u8, bytes: &Bytes, now: i64, known: &ClaimData) {
        let progress = &mut self.data.get_or_insert_with(|| known.clone()).progress;
        progress.retain(|known| known.index != at);
        let data = bytes.slice(..bytes.len().min(PROGRESS));
        progress.push(Progress {
            index: at,
            when: now,
            data,
        });
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
