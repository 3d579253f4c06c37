//! What stands in the data of a segment, of a claim and of a dead letter: items, in a format of our own.
//!
//! A version byte, the number of items, and for each: flags, where its id is from unless that is as with the one before,
//! its index, priority, due time, arrival, attempts, key, payload. Numbers are big-endian, texts have their length ahead.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::item::{Item, ItemId};

const FORMAT: u8 = 1;

const SAME_BATCH: u8 = 1;
const KEYED: u8 = 2;

/// What an item takes beside its payload and key, at most.
pub(super) const OVERHEAD: usize = 1 + 2 + 96 + 4 + 1 + 8 + 8 + 4 + 2 + 4;

pub(super) fn encode<'a>(items: impl IntoIterator<Item = &'a Item>) -> Bytes {
    let mut data = vec![FORMAT, 0, 0, 0, 0];
    let mut count = 0_u32;
    let mut batch = "";
    for item in items {
        count += 1;
        let is_same = item.id.batch() == batch;
        let is_keyed = item.key.is_some();
        data.put_u8(if is_same { SAME_BATCH } else { 0 } | if is_keyed { KEYED } else { 0 });
        if !is_same {
            batch = item.id.batch();
            put_text(&mut data, batch);
        }
        data.put_u32(item.id.index());
        data.put_u8(item.priority);
        data.put_i64(item.due);
        data.put_i64(item.arrival);
        data.put_u32(item.attempt);
        if let Some(key) = &item.key {
            put_text(&mut data, key);
        }
        data.put_u32(u32::try_from(item.payload.len()).unwrap_or(u32::MAX));
        data.put_slice(&item.payload);
    }
    data[1..5].copy_from_slice(&count.to_be_bytes());
    data.into()
}

/// The items; `None` if that is not what was written by [`encode`].
pub(super) fn decode(data: &Bytes) -> Option<Vec<Item>> {
    let mut data = data.clone();
    if data.try_get_u8().ok()? != FORMAT {
        return None;
    }
    let count = data.try_get_u32().ok()?;
    let mut items = Vec::new();
    let mut batch = String::new();
    for _ in 0..count {
        let flags = data.try_get_u8().ok()?;
        if flags & SAME_BATCH == 0 {
            batch = take_text(&mut data)?;
        }
        let index = data.try_get_u32().ok()?;
        let id = ItemId::from_stored(&format!("{batch}.{index}"))?;
        let priority = data.try_get_u8().ok()?;
        let due = data.try_get_i64().ok()?;
        let arrival = data.try_get_i64().ok()?;
        let attempt = data.try_get_u32().ok()?;
        let key = match flags & KEYED {
            0 => None,
            _ => Some(Arc::from(take_text(&mut data)?)),
        };
        let length = usize::try_from(data.try_get_u32().ok()?).ok()?;
        items.push(Item {
            id,
            priority,
            due,
            arrival,
            attempt,
            key,
            payload: take(&mut data, length)?,
        });
    }
    data.is_empty().then_some(items)
}

fn put_text(data: &mut Vec<u8>, text: &str) {
    data.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    data.put_slice(text.as_bytes());
}

fn take_text(data: &mut Bytes) -> Option<String> {
    let length = usize::from(data.try_get_u16().ok()?);
    String::from_utf8(take(data, length)?.into()).ok()
}

fn take(data: &mut Bytes, length: usize) -> Option<Bytes> {
    (data.len() >= length).then(|| data.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::item::Origin;
    use super::super::layout::Lane;
    use super::*;

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let item = (
            (any::<u8>(), 0_i64..i64::MAX, 0_i32..100, 0_usize..200, any::<bool>()),
            (any::<i64>(), any::<i64>(), any::<u32>()),
            prop::option::of("[a-z/|]{1,20}"),
            prop::collection::vec(any::<u8>(), 0..100),
        );
        let made = item.prop_map(
            |((priority, slot, block, index, ready), (due, arrival, attempt), key, payload)| {
                let lane = if ready {
                    Lane::Ready(priority)
                } else {
                    Lane::Later(priority, slot)
                };
                let guid = "0123456789abcdef0123456789abcdef";
                Item {
                    id: ItemId::new(&Origin { lane, block, guid }, index),
                    priority,
                    due,
                    arrival,
                    attempt,
                    key: key.map(Arc::from),
                    payload: payload.into(),
                }
            },
        );
        prop::collection::vec(made, 0..10)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(items in items()) {
            let data = encode(&items);
            let size: usize = items.iter().map(|item| OVERHEAD + item.payload.len() + item.key.as_ref().map_or(0, |key| key.len())).sum();
            prop_assert!(data.len() <= size + 5);
            prop_assert_eq!(decode(&data), Some(items));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode(&Bytes::from(bytes));
        }

        #[test]
        fn what_is_cut_off_is_not_read(items in items(), cut in any::<prop::sample::Index>()) {
            let data = encode(&items);
            let cut = cut.index(data.len());
            prop_assert_eq!(decode(&data.slice(..cut)), None);
        }
    }
}
