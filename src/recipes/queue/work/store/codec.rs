//! How items and texts stand in the data of nodes. Numbers are big-endian, texts have their length ahead.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::item::{Item, ItemId, Origin};

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

pub(super) fn take(data: &mut Bytes, length: usize) -> Option<Bytes> {
    (data.len() >= length).then(|| data.split_to(length))
}

pub(super) fn begin(data: &mut Bytes) -> Option<()> {
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

pub(super) fn put_item(data: &mut Vec<u8>, item: &Item, last: &mut Option<Origin>) {
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

pub(super) fn take_item(data: &mut Bytes, last: &mut Option<Origin>) -> Option<Item> {
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

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::names::Guid;
    use super::super::paths::{BlockId, Lane};
    use super::*;

    pub(in super::super) fn items() -> impl Strategy<Value = Vec<Item>> {
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
            prop_assert_eq!(decode_items(&data), Some(items));
        }

        #[test]
        fn what_is_cut_off_is_not_read(items in items(), cut in any::<prop::sample::Index>()) {
            let data = encode_items(&items);
            let cut = cut.index(data.len());
            prop_assert_eq!(decode_items(&data.slice(..cut)), None);
        }
    }
}
