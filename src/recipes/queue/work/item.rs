//! Items: what is pushed, and what is known of it on its way.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::layout::Lane;

/// The priority of an item that was pushed without one.
pub(super) const DEFAULT_PRIORITY: u8 = 100;

/// Names an item of a [`WorkQueue`](super::WorkQueue) for ever. Its text can be stored, and parsed again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(Arc<str>);

/// Where an item was put when it was pushed, as its id tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin<'a> {
    pub(super) lane: Lane,
    pub(super) block: i32,
    pub(super) guid: &'a str,
}

impl ItemId {
    pub(super) fn new(origin: &Origin<'_>, index: usize) -> Self {
        Self(format!("{origin}.{index}").into())
    }

    /// An id that was read from a node of ours.
    pub(super) fn from_stored(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The id as text: letters, digits, dots and minus signs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id without its last part, which items that were pushed together share.
    pub(super) fn batch(&self) -> &str {
        self.0.rfind('.').map_or("", |dot| &self.0[..dot])
    }

    pub(super) fn index(&self) -> u32 {
        let index = self.0.rsplit('.').next().and_then(|index| index.parse().ok());
        index.unwrap_or_default()
    }

    pub(super) fn origin(&self) -> Option<Origin<'_>> {
        Origin::parse(self.batch())
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not the id of an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the id of an item; use one that a push returned")]
pub struct InvalidItemId {
    text: String,
}

impl FromStr for ItemId {
    type Err = InvalidItemId;

    fn from_str(text: &str) -> Result<Self, InvalidItemId> {
        let id = Self(text.into());
        let is_index = |index: &str| index.parse::<u32>().is_ok_and(|number| number.to_string() == index);
        let is_valid = id.origin().is_some() && text.rsplit('.').next().is_some_and(is_index);
        if is_valid {
            Ok(id)
        } else {
            Err(InvalidItemId { text: text.to_owned() })
        }
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, block, guid } = self;
        match lane {
            Lane::Ready(priority) => write!(f, "{priority:03}.r.{block}.{guid}"),
            Lane::Later(priority, slot) => write!(f, "{priority:03}.{slot}.{block}.{guid}"),
            Lane::Expiry(slot) => write!(f, "x.{slot}.{block}.{guid}"),
        }
    }
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('.');
        let (priority, slot, block, guid) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lane = match (priority.parse().ok()?, slot) {
            (priority, "r") => Lane::Ready(priority),
            (priority, slot) => Lane::Later(priority, slot.parse().ok()?),
        };
        let origin = Self {
            lane,
            block: block.parse().ok()?,
            guid,
        };
        let is_guid = guid.len() == 32 && guid.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Written again, because numbers have many spellings.
        (parts.next().is_none() && is_guid && origin.to_string() == text).then_some(origin)
    }
}

/// An item on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) id: ItemId,
    pub(super) priority: u8,
    /// From when on it may be delivered, in milliseconds of the ensemble's clock.
    pub(super) due: i64,
    /// The zxid of its push.
    pub(super) arrival: i64,
    /// How often it was claimed.
    pub(super) attempt: u32,
    pub(super) key: Option<Arc<str>>,
    pub(super) payload: Bytes,
}

impl Item {
    /// What a queue delivers first is smaller, within a priority: by due time, then by arrival.
    pub(super) fn rank(&self) -> (i64, i64, u32) {
        (self.due, self.arrival, self.id.index())
    }
}

/// How an item is pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct PushOptions {
    pub(super) key: Option<Arc<str>>,
    pub(super) priority: Option<u8>,
    pub(super) delay: Duration,
}

impl PushOptions {
    /// No key, priority 100, no delay.
    pub fn new() -> Self {
        Self::default()
    }

    /// An idempotency key: a second push with the same key adds nothing and returns the id of the first one. A key is
    /// any text of 1 to 512 bytes. It is forgotten after [`result_retention`](super::WorkQueue::result_retention),
    /// counted from the end of its item.
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.key = Some(key.as_ref().into());
        self
    }

    /// Items of a lower number are delivered first, whenever they come; 100 where none is given.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The item is delivered this much later, by the clock of the ensemble. The time is rounded up: to an eighth of a
    /// second, and by up to 1.6 % of a longer delay.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// An item to be pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct NewItem {
    pub(super) payload: Bytes,
    pub(super) options: PushOptions,
}

impl NewItem {
    /// An item without a key, of priority 100, without a delay.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            options: PushOptions::default(),
        }
    }

    /// The same item, pushed with these options.
    pub fn with(mut self, options: PushOptions) -> Self {
        self.options = options;
        self
    }

    pub(super) fn priority(&self) -> u8 {
        self.options.priority.unwrap_or(DEFAULT_PRIORITY)
    }
}

impl<T: Into<Bytes>> From<T> for NewItem {
    fn from(payload: T) -> Self {
        Self::new(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_push_returned_is_an_id() {
        let guid = "0123456789abcdef0123456789abcdef";
        for good in [format!("100.r.0.{guid}.0"), format!("007.1700000000000.12.{guid}.127")] {
            assert_eq!(good.parse::<ItemId>().map(|id| id.to_string()), Ok(good));
        }
        for bad in [
            String::new(),
            "/".to_owned(),
            format!("100.r.0.{guid}"),
            format!("100.r.0.{guid}.01"),
            format!("256.r.0.{guid}.0"),
            format!("100.r.0.{guid}.0.0"),
            format!("100.+5.0.{guid}.0"),
            "100.r.0.../../../../../../../../../../ab.0".to_owned(),
        ] {
            assert!(bad.parse::<ItemId>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<ItemId>();
        }
    }
}
