//! The items that were in the queue when it was listed last, so that not each pop has to list it.
//!
//! What is pushed later comes behind them, so the list stays right until it is used up. Only a queue whose directory
//! was removed and made again counts from the beginning again: its items are younger than the list, which their zxids
//! tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zookeeper_client as zk;

use crate::line::in_order;
use crate::session::{Interrupted, Session};
use crate::znode::{NodePath, Sequence, children};

/// What the names of items begin with, as Curator's `SimpleDistributedQueue` and ZooKeeper's own queue have it.
pub(super) const PREFIX: &str = "qn-";

#[derive(Debug, Default)]
pub(super) struct Backlog {
    listed: Mutex<Listed>,
    /// Held by the task that lists.
    listing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Listed {
    /// Which list this is.
    number: u64,
    /// The session that listed.
    session: i64,
    /// The zxid that no item in the list is younger than.
    until: i64,
    /// The list is empty because items in it were younger than it said.
    doubted: bool,
    /// By their place in the list.
    names: BTreeMap<usize, String>,
}

/// An item that was listed.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) name: String,
    number: u64,
    place: usize,
    until: i64,
}

/// An item that one pop is after; others of this handle go for those behind it. It goes back to its place in the list
/// when this is dropped, unless it is known to be gone.
#[derive(Debug)]
pub(super) struct LeasedItem {
    backlog: Arc<Backlog>,
    item: Listing,
    gone: bool,
}

impl Backlog {
    /// The first item that no other pop of this handle is after.
    pub(super) async fn lease(
        self: &Arc<Self>,
        session: &Arc<Session>,
        path: &NodePath,
    ) -> Result<Option<LeasedItem>, Interrupted> {
        let item = self.next(session, path, Listed::take_first).await?;
        Ok(item.map(|item| LeasedItem {
            backlog: Arc::clone(self),
            item,
            gone: false,
        }))
    }

    /// The first item, which stays in the list.
    pub(super) async fn first(&self, session: &Arc<Session>, path: &NodePath) -> Result<Option<Listing>, Interrupted> {
        self.next(session, path, |listed| listed.first()).await
    }

    /// The item is not there any more.
    pub(super) fn forget(&self, item: &Listing) {
        let mut listed = self.lock();
        if listed.number == item.number {
            listed.names.remove(&item.place);
        }
    }

    /// The list is of another directory than the one that is there now.
    pub(super) fn outdated(&self, item: &Listing) {
        let mut listed = self.lock();
        if listed.number == item.number {
            *listed = Listed {
                number: listed.number + 1,
                doubted: true,
                ..Listed::default()
            };
        }
    }

    /// Takes over what a list of the queue says, and whether there is anything in it.
    pub(super) async fn fill(
        &self,
        session: &Arc<Session>,
        path: &NodePath,
        (names, stat): (Vec<String>, zk::Stat),
    ) -> Result<bool, Interrupted> {
        let items = names.iter().filter_map(|name| Some((name.as_str(), sequence(name)?)));
        let items = in_order(session, path, items.collect(), |item| *item).await?;
        let names = items.into_iter().map(|(name, _)| name.to_owned()).enumerate().collect();
        let mut listed = self.lock();
        *listed = Listed {
            number: listed.number + 1,
            session: session.id(),
            // A server whose counter has come to its end no longer notes when a child was created. And what looks
            // younger than a list that is new is not.
            until: match listed.doubted || stat.cversion == i32::MAX {
                true => i64::MAX,
                false => stat.pzxid,
            },
            doubted: false,
            names,
        };
        Ok(!listed.names.is_empty())
    }

    async fn next(
        &self,
        session: &Arc<Session>,
        path: &NodePath,
        choose: impl Fn(&mut Listed) -> Option<Listing>,
    ) -> Result<Option<Listing>, Interrupted> {
        let known = || {
            let mut listed = self.lock();
            // Another server may not know yet what one has told the session before.
            let listed = Some(&mut *listed).filter(|listed| listed.session == session.id());
            listed.and_then(&choose)
        };
        if let Some(item) = known() {
            return Ok(Some(item));
        }
        let _turn = self.listing.lock().await;
        if let Some(item) = known() {
            return Ok(Some(item));
        }
        if let Some(listed) = children(session, path).await? {
            self.fill(session, path, listed).await?;
        }
        Ok(known())
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn take_first(&mut self) -> Option<Listing> {
        let (place, name) = self.names.pop_first()?;
        Some(self.listing(place, name))
    }

    fn first(&self) -> Option<Listing> {
        let (place, name) = self.names.first_key_value()?;
        Some(self.listing(*place, name.clone()))
    }

    fn listing(&self, place: usize, name: String) -> Listing {
        Listing {
            name,
            number: self.number,
            place,
            until: self.until,
        }
    }
}

impl Listing {
    /// Whether a node of this name is the one that was listed.
    pub(super) fn is(&self, stat: &zk::Stat) -> bool {
        stat.czxid <= self.until
    }
}

impl LeasedItem {
    pub(super) fn item(&self) -> &Listing {
        &self.item
    }

    pub(super) fn gone(mut self) {
        self.gone = true;
    }
}

impl Drop for LeasedItem {
    fn drop(&mut self) {
        let mut listed = self.backlog.lock();
        if !self.gone && listed.number == self.item.number {
            let name = std::mem::take(&mut self.item.name);
            listed.names.insert(self.item.place, name);
        }
    }
}

/// The number of an item; `None` for a child that is none.
pub(super) fn sequence(name: &str) -> Option<Sequence> {
    Sequence::parse(name.strip_prefix(PREFIX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_server_has_numbered_is_an_item() {
        for (name, is_item) in [
            ("qn-0000000000", true),
            ("qn-2147483647", true),
            ("qn--2147483648", true),
            ("qn-", false),
            ("qn-7", false),
            ("qn-poison", false),
            ("queue-0000000000", false),
            ("_c_x-qn-0000000000", false),
            ("entry-100-0000000000", false),
        ] {
            let written = sequence(name).map(|sequence| format!("{PREFIX}{sequence}"));
            assert_eq!(written.as_deref(), is_item.then_some(name));
        }
    }

    fn filled(number: u64) -> Arc<Backlog> {
        let names = (0..4).map(|place| (place, format!("qn-{place:010}"))).collect();
        let backlog = Backlog::default();
        *backlog.lock() = Listed {
            number,
            session: 1,
            until: 9,
            doubted: false,
            names,
        };
        Arc::new(backlog)
    }

    fn lease(backlog: &Arc<Backlog>) -> LeasedItem {
        LeasedItem {
            backlog: Arc::clone(backlog),
            item: backlog.lock().take_first().unwrap(),
            gone: false,
        }
    }

    #[test]
    fn what_was_leased_in_vain_comes_before_what_was_behind_it() {
        let backlog = filled(1);
        let [first, second, third] = [(); 3].map(|()| lease(&backlog));
        drop(third);
        second.gone();
        drop(first);
        let left = [(); 3].map(|()| lease(&backlog).item.place);
        // Each one goes back at the end of its statement.
        assert_eq!(left, [0, 0, 0]);
        let names: Vec<_> = backlog.lock().names.keys().copied().collect();
        assert_eq!(names, [0, 2, 3]);
    }

    #[test]
    fn what_was_leased_from_a_former_list_does_not_come_back() {
        let backlog = filled(1);
        let lease = lease(&backlog);
        backlog.outdated(lease.item());
        drop(lease);
        assert!(backlog.lock().names.is_empty());
    }
}
