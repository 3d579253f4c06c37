//! What stands in the data of nodes, but for the header and tallies. Numbers are big-endian, texts have their length ahead.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::item::{Item, ItemId, Origin};
use super::tally::AttemptRecord;

/// The first byte of all data.
pub(crate) const FORMAT: u8 = 2;

const SAME_ORIGIN: u8 = 1;
const KEYED: u8 = 2;
const EXPIRES: u8 = 4;
const OUTCOME: u8 = 8;
const MOVED: u8 = 16;
const GROUP: u8 = 32;

/// What an item takes beside its payload, its key and its group, at most.
pub(crate) const OVERHEAD: usize = 96;

pub(crate) fn put_text(data: &mut Vec<u8>, text: &str) {
    data.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    data.put_slice(text.as_bytes());
}

pub(crate) fn take_text(data: &mut Bytes) -> Option<String> {
    let length = usize::from(data.try_get_u16().ok()?);
    String::from_utf8(take(data, length)?.into()).ok()
}

fn take(data: &mut Bytes, length: usize) -> Option<Bytes> {
    (data.len() >= length).then(|| data.split_to(length))
}

fn begin(data: &mut Bytes) -> Option<()> {
    (data.try_get_u8().ok()? == FORMAT).then_some(())
}

/// The data of a segment.
pub(crate) fn encode_items<'a>(items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    let mut data = vec![FORMAT, 0];
    let mut last = None;
    for item in items {
        data[1] = data[1].saturating_add(1);
        put_item(&mut data, item, &mut last);
    }
    data.into()
}

fn put_item(data: &mut Vec<u8>, item: &Item, last: &mut Option<Origin>) {
    let origin = item.id.origin();
    let is_same = origin.is_some() && origin == *last;
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    data.put_u8(
        flag(is_same, SAME_ORIGIN)
            | flag(item.key.is_some(), KEYED)
            | flag(item.expires.is_some(), EXPIRES)
            | flag(item.wants_outcome, OUTCOME)
            | flag(item.moved, MOVED)
            | flag(item.group.is_some(), GROUP),
    );
    if !is_same {
        put_text(data, &origin.map(|origin| origin.to_string()).unwrap_or_default());
        *last = origin;
    }
    data.put_u8(item.id.index());
    data.put_u8(item.priority);
    data.put_i64(item.due);
    item.key.iter().for_each(|key| put_text(data, key));
    item.expires.iter().for_each(|expires| data.put_i64(*expires));
    item.group.iter().for_each(|group| put_text(data, group));
    data.put_u32(u32::try_from(item.payload.len()).unwrap_or(u32::MAX));
    data.put_slice(&item.payload);
}

/// The items of a segment; `None` if that is not what [`encode_items`] wrote.
pub(crate) fn decode_items(data: &Bytes) -> Option<Vec<Item>> {
    let mut data = data.clone();
    begin(&mut data)?;
    let mut items = Vec::new();
    let mut last = None;
    for _ in 0..data.try_get_u8().ok()? {
        items.push(take_item(&mut data, &mut last)?);
    }
    data.is_empty().then_some(items)
}

fn take_item(data: &mut Bytes, last: &mut Option<Origin>) -> Option<Item> {
    let flags = data.try_get_u8().ok()?;
    if flags & SAME_ORIGIN == 0 {
        *last = Origin::parse(&take_text(data)?);
    }
    let id = ItemId::new((*last)?, data.try_get_u8().ok()?);
    let priority = data.try_get_u8().ok()?;
    let due = data.try_get_i64().ok()?;
    let text = |flag: u8, data: &mut Bytes| match flags & flag {
        0 => Some(None),
        _ => take_text(data).map(|text| Some(Arc::from(text))),
    };
    let key = text(KEYED, data)?;
    let expires = match flags & EXPIRES {
        0 => None,
        _ => Some(data.try_get_i64().ok()?),
    };
    let group = text(GROUP, data)?;
    let length = usize::try_from(data.try_get_u32().ok()?).ok()?;
    let payload = take(data, length)?;
    let (wants_outcome, moved) = (flags & OUTCOME != 0, flags & MOVED != 0);
    Some(Item {
        id,
        priority,
        due,
        key,
        group,
        expires,
        wants_outcome,
        moved,
        payload,
    })
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) index: u8,
    /// In milliseconds of the ensemble's clock.
    pub(crate) when: i64,
    pub(crate) data: Bytes,
}

/// The data of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
        data.put_u8(u8::from(*outcome) | if key.is_some() { KEYED } else { 0 });
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
        let key = match flags & KEYED {
            0 => None,
            _ => Some(Arc::from(take_text(&mut data)?)),
        };
        all.push(Forgotten {
            id,
            key,
            outcome: flags & 1 != 0,
        });
    }
    data.is_empty().then_some(all)
}

/// A text alone: the id that stands for a key, the path to which an item was moved, the key of a group.
pub(crate) fn encode_text(text: &str) -> Bytes {
    let mut data = vec![FORMAT];
    put_text(&mut data, text);
    data.into()
}

pub(crate) fn decode_text(data: &[u8]) -> Option<String> {
    let mut data = Bytes::copy_from_slice(data);
    begin(&mut data)?;
    let text = take_text(&mut data)?;
    data.is_empty().then_some(text)
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

    use super::super::paths::{BlockId, Guid, Lane};
    use super::*;

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let item = (
            (any::<u8>(), 0_i64..i64::MAX, 0_i32..100, 0_u8..64, any::<bool>()),
            (
                any::<i64>(),
                prop::option::of(any::<i64>()),
                any::<bool>(),
                any::<bool>(),
            ),
            prop::option::of("[a-z/|]{1,20}"),
            prop::option::of(".{1,20}"),
            prop::collection::vec(any::<u8>(), 0..100),
        );
        let made = item.prop_map(
            |((priority, slot, number, index, ready), (due, expires, wants_outcome, moved), key, group, payload)| {
                let lane = if ready {
                    Lane::Ready(priority)
                } else {
                    Lane::Delayed(slot)
                };
                let origin = Origin {
                    block: BlockId { lane, number },
                    guid: Guid::of_text("a"),
                };
                Item {
                    id: ItemId::new(origin, index),
                    priority,
                    due,
                    key: key.map(Arc::from),
                    group: group.map(Arc::from),
                    expires,
                    wants_outcome,
                    moved,
                    payload: payload.into(),
                }
            },
        );
        prop::collection::vec(made, 0..10)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(items in items()) {
            let data = encode_items(&items);
            let texts = |item: &Item| item.key.as_ref().map_or(0, |key| key.len()) + item.group.as_ref().map_or(0, |group| group.len());
            let size: usize = items.iter().map(|item| OVERHEAD + item.payload.len() + texts(item)).sum();
            prop_assert!(data.len() <= size + 2);
            prop_assert_eq!(decode_items(&data), Some(items.clone()));
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

        #[test]
        fn what_is_cut_off_is_not_read(items in items(), cut in any::<prop::sample::Index>()) {
            let data = encode_items(&items);
            let cut = cut.index(data.len());
            prop_assert_eq!(decode_items(&data.slice(..cut)), None);
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
