//! [`Tally`]: what is known of a range of items that was claimed at least once.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use super::codec::{FORMAT, put_text, take_text};

/// So many entries of the history of an item are kept.
const HISTORY: usize = 8;

/// So many bytes of a reason are kept.
const REASON: usize = 200;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AttemptEnd {
    /// The consumer gave the item back.
    GivenBack,
    /// The consumer was lost.
    Lost,
    /// The handler panicked.
    Panicked,
}

impl AttemptEnd {
    fn code(self) -> u8 {
        match self {
            Self::GivenBack => 0,
            Self::Lost => 1,
            Self::Panicked => 2,
        }
    }

    fn of_code(code: u8) -> Self {
        match code {
            1 => Self::Lost,
            2 => Self::Panicked,
            _ => Self::GivenBack,
        }
    }
}

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EndedAttempt {
    /// In milliseconds of the ensemble's clock.
    pub(crate) when: i64,
    pub(crate) how: AttemptEnd,
    pub(crate) reason: String,
}

/// What is known of an item that did not simply succeed at its first attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AttemptRecord {
    pub(crate) attempts: u16,
    /// How many of them were lost with their consumer.
    pub(crate) lost: u16,
    pub(crate) history: Vec<EndedAttempt>,
}

/// The data of an opened range. Bits are indexes in the segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tally {
    /// The number of the latest claim; 0 if there was none.
    pub(crate) epoch: u32,
    /// When that claim may be taken over; 0 if never.
    pub(crate) deadline: i64,
    pub(crate) done: u64,
    /// Handed out by the latest claim, or about to be.
    pub(crate) open: u64,
    tried: u64,
    records: BTreeMap<u8, AttemptRecord>,
}

pub(crate) fn bit(index: u8) -> u64 {
    1_u64.checked_shl(u32::from(index)).unwrap_or_default()
}

impl Tally {
    /// How often the item was handed out.
    pub(crate) fn attempts(&self, index: u8) -> u32 {
        match self.records.get(&index) {
            Some(record) => u32::from(record.attempts),
            None => u32::from(self.tried & bit(index) != 0),
        }
    }

    pub(crate) fn is_done(&self, index: u8) -> bool {
        self.done & bit(index) != 0
    }

    /// How many attempts were lost with their consumer.
    pub(crate) fn lost(&self, index: u8) -> u16 {
        self.records.get(&index).map_or(0, |record| record.lost)
    }

    pub(crate) fn record(&self, index: u8) -> AttemptRecord {
        self.records.get(&index).cloned().unwrap_or_else(|| AttemptRecord {
            attempts: u16::from(self.tried & bit(index) != 0),
            ..AttemptRecord::default()
        })
    }

    pub(crate) fn set_record(&mut self, index: u8, record: AttemptRecord) {
        let is_plain = record.lost == 0 && record.history.is_empty() && record.attempts <= 1;
        self.tried = match record.attempts {
            0 => self.tried & !bit(index),
            _ => self.tried | bit(index),
        };
        match is_plain {
            true => self.records.remove(&index),
            false => self.records.insert(index, record),
        };
    }

    fn change(&mut self, index: u8, change: impl FnOnce(&mut AttemptRecord)) {
        let mut record = self.record(index);
        change(&mut record);
        self.set_record(index, record);
    }

    /// The item is handed out, or about to be.
    pub(crate) fn note(&mut self, index: u8) {
        self.open |= bit(index);
        self.change(index, |record| record.attempts = record.attempts.saturating_add(1));
    }

    /// The item was noted, and not handed out.
    pub(crate) fn take_back(&mut self, index: u8) {
        if self.open & bit(index) != 0 {
            self.open &= !bit(index);
            self.change(index, |record| record.attempts = record.attempts.saturating_sub(1));
        }
    }

    /// The item is done, or is somewhere else now.
    pub(crate) fn finish(&mut self, index: u8) {
        self.done |= bit(index);
        self.open &= !bit(index);
        self.tried &= !bit(index);
        self.records.remove(&index);
    }

    /// An attempt has ended.
    pub(crate) fn end(&mut self, index: u8, past: EndedAttempt) {
        self.open &= !bit(index);
        self.change(index, |record| record.end(past));
    }

    /// The consumer of the latest claim is gone: what it had open is lost with it.
    pub(crate) fn lose_open(&mut self, now: i64) {
        let open = self.open;
        for index in (0..64).filter(|index| open & bit(*index) != 0) {
            let past = EndedAttempt {
                when: now,
                how: AttemptEnd::Lost,
                reason: String::new(),
            };
            self.end(index, past);
        }
    }

    /// The same claim of a range of which nothing is known.
    pub(crate) fn cleared(&self) -> Self {
        Self {
            epoch: self.epoch,
            deadline: self.deadline,
            ..Self::default()
        }
    }

    /// The same for a part of the range: nothing is known of what is outside.
    pub(crate) fn part(&self, from: u8, to: u8) -> Self {
        let inside = |index: u8| (from..to).contains(&index);
        let mask = (from..to).fold(0, |mask, index| mask | bit(index));
        Self {
            epoch: 0,
            deadline: 0,
            done: self.done & mask,
            open: self.open & mask,
            tried: self.tried & mask,
            records: self
                .records
                .iter()
                .filter(|(index, _)| inside(**index))
                .map(|(index, record)| (*index, record.clone()))
                .collect(),
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut data = vec![FORMAT];
        data.put_u32(self.epoch);
        data.put_i64(self.deadline);
        data.put_u64(self.done);
        data.put_u64(self.open);
        data.put_u64(self.tried);
        data.put_u8(u8::try_from(self.records.len()).unwrap_or(u8::MAX));
        for (index, record) in &self.records {
            data.put_u8(*index);
            record.encode(&mut data);
        }
        data.into()
    }

    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut data = Bytes::copy_from_slice(data);
        if data.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let mut tally = Self {
            epoch: data.try_get_u32().ok()?,
            deadline: data.try_get_i64().ok()?,
            done: data.try_get_u64().ok()?,
            open: data.try_get_u64().ok()?,
            tried: data.try_get_u64().ok()?,
            records: BTreeMap::new(),
        };
        for _ in 0..data.try_get_u8().ok()? {
            let index = data.try_get_u8().ok()?;
            tally.records.insert(index, AttemptRecord::decode(&mut data)?);
        }
        data.is_empty().then_some(tally)
    }
}

impl AttemptRecord {
    /// An attempt has ended.
    pub(crate) fn end(&mut self, mut past: EndedAttempt) {
        if past.how == AttemptEnd::Lost {
            self.lost = self.lost.saturating_add(1);
        }
        let end = past
            .reason
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take_while(|end| *end <= REASON)
            .last();
        past.reason.truncate(end.unwrap_or_default());
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(past);
    }

    pub(crate) fn encode(&self, data: &mut Vec<u8>) {
        data.put_u16(self.attempts);
        data.put_u16(self.lost);
        data.put_u8(u8::try_from(self.history.len()).unwrap_or(u8::MAX));
        for EndedAttempt { when, how, reason } in &self.history {
            data.put_i64(*when);
            data.put_u8(how.code());
            put_text(data, reason);
        }
    }

    pub(crate) fn decode(data: &mut Bytes) -> Option<Self> {
        let (attempts, lost) = (data.try_get_u16().ok()?, data.try_get_u16().ok()?);
        let mut history = Vec::new();
        for _ in 0..data.try_get_u8().ok()? {
            history.push(EndedAttempt {
                when: data.try_get_i64().ok()?,
                how: AttemptEnd::of_code(data.try_get_u8().ok()?),
                reason: take_text(data)?,
            });
        }
        Some(Self {
            attempts,
            lost,
            history,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Note,
        TakeBack,
        End(AttemptEnd),
        Finish,
    }

    fn tallies() -> impl Strategy<Value = Tally> {
        let step = prop_oneof![
            4 => Just(Step::Note),
            1 => Just(Step::TakeBack),
            1 => Just(Step::End(AttemptEnd::GivenBack)),
            1 => Just(Step::End(AttemptEnd::Lost)),
            1 => Just(Step::Finish),
        ];
        (
            prop::collection::vec((0_u8..64, step), 0..60),
            any::<u32>(),
            any::<i64>(),
        )
            .prop_map(|(steps, epoch, deadline)| {
                let mut tally = Tally {
                    epoch,
                    deadline,
                    ..Tally::default()
                };
                for (index, step) in steps {
                    match step {
                        Step::Note => tally.note(index),
                        Step::TakeBack => tally.take_back(index),
                        Step::End(how) => tally.end(
                            index,
                            EndedAttempt {
                                when: 7,
                                how,
                                reason: "é".repeat(150),
                            },
                        ),
                        Step::Finish => tally.finish(index),
                    }
                }
                tally
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tally in tallies()) {
            prop_assert_eq!(Tally::decode(&tally.encode()), Some(tally));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tally::decode(&bytes);
        }

        #[test]
        fn parts_know_what_the_whole_knew(tally in tallies(), cut in 1_u8..63) {
            let parts = [tally.part(0, cut), tally.part(cut, 64)];
            for index in 0..64 {
                let part = &parts[usize::from(index >= cut)];
                prop_assert_eq!(part.record(index), tally.record(index));
                prop_assert_eq!(part.is_done(index), tally.is_done(index));
                prop_assert_eq!(parts[usize::from(index < cut)].attempts(index), 0);
            }
        }

        #[test]
        fn a_note_that_is_taken_back_leaves_no_trace(tally in tallies(), index in 0_u8..64) {
            let mut changed = tally.clone();
            changed.open &= !bit(index);
            let before = changed.clone();
            changed.note(index);
            changed.take_back(index);
            prop_assert_eq!(changed, before);
        }

        #[test]
        fn what_was_open_is_lost_once(tally in tallies()) {
            let mut lost = tally.clone();
            lost.lose_open(9);
            prop_assert_eq!(lost.open, 0);
            for index in 0..64 {
                let was_open = u16::from(tally.open & bit(index) != 0);
                prop_assert_eq!(lost.lost(index), tally.lost(index) + was_open);
                prop_assert_eq!(lost.attempts(index), tally.attempts(index));
            }
        }
    }

    #[test]
    fn a_plain_item_costs_40_bytes() {
        let mut tally = Tally::default();
        (0..64).for_each(|index| tally.note(index));
        assert!(tally.encode().len() <= 40);
    }
}
