//! [`TurnoverRecord`]: how many items a handle has pushed and ended lately, as its ledgers say.
//!
//! Each transaction of a handle writes a ledger of it; the numbers stand in that, and cost no node and no request.

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

use super::codec::{FORMAT, begin};

/// The length of a window, in milliseconds of the ensemble's clock.
const WINDOW: i64 = 10_000;

/// Items that were pushed, and items that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemCounts {
    pub(crate) pushed: u32,
    pub(crate) done: u32,
}

impl ItemCounts {
    pub(crate) fn add(&mut self, more: Self) {
        self.pushed = self.pushed.saturating_add(more.pushed);
        self.done = self.done.saturating_add(more.done);
    }
}

/// What a handle did in a window of time, and in the window before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TurnoverRecord {
    handle: u64,
    window: i64,
    current: ItemCounts,
    before: ItemCounts,
}

impl TurnoverRecord {
    pub(super) fn new() -> Self {
        Self {
            handle: u64::try_from(Uuid::new_v4().as_u128() >> 64).unwrap_or_default(),
            window: 0,
            current: ItemCounts::default(),
            before: ItemCounts::default(),
        }
    }

    /// Numbers that stand together are of one handle.
    pub(crate) fn handle(&self) -> u64 {
        self.handle
    }

    #[must_use]
    pub(super) fn with(mut self, now: i64, counts: ItemCounts) -> Self {
        let window = now.div_euclid(WINDOW);
        // A clock that was set back counts on where it is.
        if window != self.window {
            self.before = match window == self.window + 1 {
                true => self.current,
                false => ItemCounts::default(),
            };
            self.current = ItemCounts::default();
            self.window = window;
        }
        self.current.add(counts);
        self
    }

    /// What it did since the beginning of the last full window, of which [`span`] is the length.
    pub(crate) fn since(&self, now: i64) -> ItemCounts {
        let mut counts = ItemCounts::default();
        let window = now.div_euclid(WINDOW);
        if (window - 1..=window).contains(&self.window) {
            counts.add(self.current);
        }
        if self.window == window {
            counts.add(self.before);
        }
        counts
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut data = Vec::with_capacity(33);
        data.put_u8(FORMAT);
        data.put_u64(self.handle);
        data.put_i64(self.window);
        for counts in [self.current, self.before] {
            data.put_u32(counts.pushed);
            data.put_u32(counts.done);
        }
        data.into()
    }

    pub(crate) fn decode(data: Vec<u8>) -> Option<Self> {
        let mut data = Bytes::from(data);
        begin(&mut data)?;
        let (handle, window) = (data.try_get_u64().ok()?, data.try_get_i64().ok()?);
        let mut counts = || {
            Some(ItemCounts {
                pushed: data.try_get_u32().ok()?,
                done: data.try_get_u32().ok()?,
            })
        };
        Some(Self {
            handle,
            window,
            current: counts()?,
            before: counts()?,
        })
    }
}

/// How many milliseconds passed since the beginning of the last full window.
pub(crate) fn span(now: i64) -> i64 {
    WINDOW + now.rem_euclid(WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pushed: u32, done: u32) -> ItemCounts {
        ItemCounts { pushed, done }
    }

    #[test]
    fn the_last_full_window_and_this_one_count() {
        let record = TurnoverRecord::new().with(5_000, counts(7, 0));
        let record = record.with(12_000, counts(2, 1)).with(19_999, counts(0, 3));
        assert_eq!(record.since(19_999), counts(9, 4));
        assert_eq!((span(10_000), span(19_999)), (10_000, 19_999));
        assert_eq!(record.since(20_000), counts(2, 4));
        assert_eq!(record.with(20_000, counts(1, 1)).since(20_000), counts(3, 5));
        assert_eq!(record.since(30_000), counts(0, 0));
        assert_eq!(record.with(45_000, counts(1, 0)).since(45_000), counts(1, 0));
        // A clock that was set back.
        assert_eq!(record.with(3_000, counts(1, 0)).since(3_000), counts(1, 0));
        assert_eq!(record.since(3_000), counts(0, 0));
    }

    #[test]
    fn what_is_written_is_read() {
        let record = TurnoverRecord::new()
            .with(12_000, counts(u32::MAX, 1))
            .with(21_000, counts(3, 4));
        assert_eq!(TurnoverRecord::decode(record.encode().to_vec()), Some(record));
        for other in [&b""[..], b"host 1", &record.encode()[..20], &[2]] {
            assert_eq!(TurnoverRecord::decode(other.to_vec()), None);
        }
    }
}
