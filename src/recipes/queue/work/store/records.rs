//! What stands in the data of the nodes beside the items: outcomes, claims, dead letters, what is to be forgotten, the level.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::codec::{FORMAT, begin, put_item, put_text, take, take_item, take_text};
use super::item::{Item, ItemId};
use super::tally::AttemptRecord;

/// What is to be forgotten of an item, as flags.
const FORGET_OUTCOME: u8 = 1;
const FORGET_KEY: u8 = 2;

/// How an item ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Result(Bytes),
    DoneWithoutResult,
    Cancelled,
    Expired,
}

impl Outcome {
    pub(crate) fn encode(&self) -> Bytes {
        let (how, payload): (u8, &[u8]) = match self {
            Self::Result(payload) => (0, payload),
            Self::DoneWithoutResult => (1, &[]),
            Self::Cancelled => (2, &[]),
            Self::Expired => (3, &[]),
        };
        [&[FORMAT, how], payload].concat().into()
    }

    pub(crate) fn decode(data: &Bytes) -> Option<Self> {
        let mut data = data.clone();
        begin(&mut data)?;
        match data.try_get_u8().ok()? {
            0 => Some(Self::Result(data)),
            1 => Some(Self::DoneWithoutResult),
            2 => Some(Self::Cancelled),
            3 => Some(Self::Expired),
            _ => None,
        }
    }
}

/// What a consumer says of its progress with an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) index: u8,
    /// In milliseconds of the ensemble's clock.
    pub(crate) when: i64,
    pub(crate) data: Bytes,
}

/// The data of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ClaimData {
    /// When it may be taken over, after extensions; 0 if as its name says.
    pub(crate) deadline: i64,
    pub(crate) identity: Bytes,
    pub(crate) progress: Vec<Progress>,
}

/// So many bytes of an identity stand in a claim.
const IDENTITY: usize = 256;

impl ClaimData {
    pub(crate) fn encode(&self) -> Bytes {
        let mut data = vec![FORMAT];
        data.put_i64(self.deadline);
        put_bytes(&mut data, &self.identity[..self.identity.len().min(IDENTITY)]);
        data.put_u8(u8::try_from(self.progress.len()).unwrap_or(u8::MAX));
        for progress in &self.progress {
            data.put_u8(progress.index);
            data.put_i64(progress.when);
            put_bytes(&mut data, &progress.data);
        }
        data.into()
    }

    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut data = Bytes::copy_from_slice(data);
        begin(&mut data)?;
        let (deadline, identity) = (data.try_get_i64().ok()?, take_bytes(&mut data)?);
        let mut progress = Vec::new();
        for _ in 0..data.try_get_u8().ok()? {
            let (index, when) = (data.try_get_u8().ok()?, data.try_get_i64().ok()?);
            progress.push(Progress {
                index,
                when,
                data: take_bytes(&mut data)?,
            });
        }
        data.is_empty().then_some(Self {
            deadline,
            identity,
            progress,
        })
    }
}

fn put_bytes(data: &mut Vec<u8>, bytes: &[u8]) {
    data.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    data.put_slice(bytes);
}

fn take_bytes(data: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(data.try_get_u16().ok()?);
    take(data, length)
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadData {
    pub(crate) reason: String,
    pub(crate) record: AttemptRecord,
    /// `None` if what is kept was never an item that could be read.
    pub(crate) item: Option<Item>,
    /// What was there, if it was no item.
    pub(crate) raw: Bytes,
}

impl DeadData {
    pub(crate) fn encode(&self) -> Bytes {
        let mut data = vec![FORMAT, u8::from(self.item.is_some())];
        put_text(&mut data, &self.reason);
        self.record.encode(&mut data);
        match &self.item {
            Some(item) => put_item(&mut data, item, &mut None),
            None => data.put_slice(&self.raw),
        }
        data.into()
    }

    pub(crate) fn decode(data: &Bytes) -> Option<Self> {
        let mut data = data.clone();
        begin(&mut data)?;
        let is_item = data.try_get_u8().ok()? != 0;
        let (reason, record) = (take_text(&mut data)?, AttemptRecord::decode(&mut data)?);
        let item = match is_item {
            true => Some(take_item(&mut data, &mut None)?),
            false => None,
        };
        let raw = if is_item {
            Bytes::new()
        } else {
            std::mem::take(&mut data)
        };
        data.is_empty().then_some(Self {
            reason,
            record,
            item,
            raw,
        })
    }
}

/// What is to be forgotten of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) id: ItemId,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) outcome: bool,
}

pub(crate) fn encode_forgotten(all: &[Forgotten]) -> Bytes {
    let mut data = vec![FORMAT];
    data.put_u16(u16::try_from(all.len()).unwrap_or(u16::MAX));
    for Forgotten { id, key, outcome } in all {
        put_text(&mut data, id.as_str());
        data.put_u8(if *outcome { FORGET_OUTCOME } else { 0 } | if key.is_some() { FORGET_KEY } else { 0 });
        key.iter().for_each(|key| put_text(&mut data, key));
    }
    data.into()
}

pub(crate) fn decode_forgotten(data: &[u8]) -> Option<Vec<Forgotten>> {
    let mut data = Bytes::copy_from_slice(data);
    begin(&mut data)?;
    let mut all = Vec::new();
    for _ in 0..data.try_get_u16().ok()? {
        let id = take_text(&mut data)?.parse().ok()?;
        let flags = data.try_get_u8().ok()?;
        let key = match flags & FORGET_KEY {
            0 => None,
            _ => Some(Arc::from(take_text(&mut data)?)),
        };
        all.push(Forgotten {
            id,
            key,
            outcome: flags & FORGET_OUTCOME != 0,
        });
    }
    data.is_empty().then_some(all)
}

/// How many items a bounded queue may hold, and how many it holds: ready, delayed and claimed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) capacity: u64,
    pub(crate) items: u64,
}

impl Level {
    /// How many items more it may hold.
    pub(crate) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.items)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut data = vec![FORMAT];
        data.put_u64(self.capacity);
        data.put_u64(self.items);
        data.put_u8(0);
        data.into()
    }

    pub(crate) fn decode(data: &[u8]) -> Option<Self> {
        let mut data = data;
        if data.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let level = Self {
            capacity: data.try_get_u64().ok()?,
            items: data.try_get_u64().ok()?,
        };
        (data.len() == 1).then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::codec::{decode_items, decode_text, encode_text, tests::items};
    use super::*;

    #[test]
    fn a_queue_has_room_up_to_its_capacity() {
        let room = |items| Level { capacity: 10, items }.room();
        assert_eq!([0, 7, 10, 12].map(room), [10, 3, 0, 0]);
    }

    proptest! {
        #[test]
        fn dead_letters_that_are_written_are_read(items in items()) {
            for item in items {
                let dead = DeadData { reason: "r".to_owned(), record: AttemptRecord::default(), item: Some(item), raw: Bytes::new() };
                prop_assert_eq!(DeadData::decode(&dead.encode()), Some(dead));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let data = Bytes::from(bytes);
            let _ = (decode_items(&data), Outcome::decode(&data), ClaimData::decode(&data), DeadData::decode(&data));
            let _ = (decode_forgotten(&data), decode_text(&data), Level::decode(&data));
        }
    }

    #[test]
    fn what_else_is_written_is_read() {
        for outcome in [
            Outcome::Result("x".into()),
            Outcome::DoneWithoutResult,
            Outcome::Cancelled,
            Outcome::Expired,
        ] {
            assert_eq!(Outcome::decode(&outcome.encode()), Some(outcome));
        }
        let progress = vec![Progress {
            index: 3,
            when: 5,
            data: "half".into(),
        }];
        let claim = ClaimData {
            deadline: 7,
            identity: "me".into(),
            progress,
        };
        assert_eq!(ClaimData::decode(&claim.encode()), Some(claim));
        let id: ItemId = "100.0.abcdefghijklmnop.0".parse().unwrap();
        let forgotten = vec![
            Forgotten {
                id: id.clone(),
                key: Some("k".into()),
                outcome: false,
            },
            Forgotten {
                id,
                key: None,
                outcome: true,
            },
        ];
        assert_eq!(decode_forgotten(&encode_forgotten(&forgotten)), Some(forgotten));
        assert_eq!(decode_text(&encode_text("/a")), Some("/a".to_owned()));
        let level = Level { capacity: 3, items: 2 };
        assert_eq!(Level::decode(&level.encode()), Some(level));
    }
}
