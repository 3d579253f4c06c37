//! Items: their ids, and what is stored of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::names::Guid;
use super::paths::{BlockId, Lane};

/// The priority of an item that was pushed without one.
pub(crate) const DEFAULT_PRIORITY: u8 = 100;

/// Names an item of a [`WorkQueue`](crate::queue::WorkQueue), uniquely in the life of the queue.
///
/// Its text can be stored and parsed again.
///
/// # Examples
/// ```no_run
/// # async fn example(recharges: zookeeper_recipes::queue::WorkQueue) -> Result<(), Box<dyn std::error::Error>> {
/// let id = recharges.push("17 10.00").await?;
/// println!("{} is {:?}", id.as_str(), recharges.status(&id).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(Arc<str>);

/// Where an item was put when it was pushed, as its id tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) block: BlockId,
    pub(crate) guid: Guid,
}

impl ItemId {
    pub(crate) fn new(origin: Origin, index: u8) -> Self {
        Self(format!("{origin}.{index}").into())
    }

    /// The id as text: letters, digits, dots and minus signs.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The index in the segment of its push.
    pub(crate) fn index(&self) -> u8 {
        let index = self.0.rsplit('.').next().and_then(|index| index.parse().ok());
        index.unwrap_or_default()
    }

    pub(crate) fn origin(&self) -> Option<Origin> {
        Origin::parse(self.0.rsplit_once('.')?.0)
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
        match id.origin() {
            Some(origin) if Self::new(origin, id.index()) == id => Ok(id),
            _ => Err(InvalidItemId { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, guid } = self;
        write!(f, "{}.{}.{guid}", block.lane, block.number)
    }
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let lane = Lane::parse(parts.next()?)?;
        let number = parts.next()?.parse().ok()?;
        let guid = Guid::parse(parts.next()?)?;
        parts.next().is_none().then_some(Self {
            block: BlockId { lane, number },
            guid,
        })
    }
}

/// An item as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Item {
    pub(crate) id: ItemId,
    pub(crate) priority: u8,
    /// From when on it may be delivered, in milliseconds of the ensemble's clock; 0 if at once.
    pub(crate) due: i64,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) group: Option<Arc<str>>,
    /// From when on it is of no use.
    pub(crate) expires: Option<i64>,
    /// Whether its pusher asks for an outcome.
    pub(crate) wants_outcome: bool,
    /// Whether it stands elsewhere than its id says.
    pub(crate) moved: bool,
    pub(crate) payload: Bytes,
}

/// An item that is to be pushed.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) payload: Bytes,
    pub(crate) priority: u8,
    pub(crate) delay: Duration,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) expires_after: Option<Duration>,
    pub(crate) wants_outcome: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_a_push_returned_is_an_id() {
        let guid = "abcdefghijklmnop";
        for good in [
            format!("100.0.{guid}.0"),
            format!("d1700000000000.12.{guid}.63"),
            format!("g{guid}.1.{guid}.0"),
        ] {
            assert_eq!(good.parse::<ItemId>().map(|id| id.to_string()), Ok(good));
        }
        for bad in [
            String::new(),
            "/".to_owned(),
            format!("100.0.{guid}"),
            format!("100.0.{guid}.01"),
            format!("256.0.{guid}.0"),
            format!("7.0.{guid}.0"),
            format!("100.0.{guid}.0.0"),
            format!("d+5.0.{guid}.0"),
            "100.0.../../../../../../../../../../ab.0".to_owned(),
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
