//! Idempotency keys: an item that was pushed with one is not pushed again.

use futures::future;

use std::collections::HashMap;
use std::sync::Arc;

use super::item::{ItemId, NewItem};
use super::shared::QueueInner;
use crate::session::{Interrupted, Session};
use crate::znode::read;

/// Items to be pushed, of which some turn out to have been pushed before.
#[derive(Debug)]
pub(super) struct Batch {
    items: Vec<NewItem>,
    /// The ids of those that are there already, by their place.
    known: HashMap<usize, ItemId>,
    /// Those that have the key of an earlier one among them.
    repeated: HashMap<usize, usize>,
}

impl Batch {
    pub(super) fn new<'a>(items: impl IntoIterator<Item = &'a NewItem>) -> Self {
        let items: Vec<NewItem> = items.into_iter().cloned().collect();
        let mut first: HashMap<Arc<str>, usize> = HashMap::new();
        let mut repeated = HashMap::new();
        for (position, item) in items.iter().enumerate() {
            if let Some(key) = &item.options.key {
                let earlier = *first.entry(Arc::clone(key)).or_insert(position);
                if earlier != position {
                    repeated.insert(position, earlier);
                }
            }
        }
        Self {
            items,
            known: HashMap::new(),
            repeated,
        }
    }

    fn is_new(&self, position: usize) -> bool {
        !self.known.contains_key(&position) && !self.repeated.contains_key(&position)
    }

    /// What has to be pushed, as far as is known.
    pub(super) fn new_items(&self) -> impl Iterator<Item = &NewItem> {
        let all = self.items.iter().enumerate();
        all.filter(|(position, _)| self.is_new(*position)).map(|(_, item)| item)
    }

    pub(super) fn has_new_keys(&self) -> bool {
        self.new_items().any(|item| item.options.key.is_some())
    }

    /// The ids of all, once those of the new ones are known.
    pub(super) fn with_new(&self, new: Vec<ItemId>) -> Vec<ItemId> {
        let mut new = new.into_iter();
        let mut ids: Vec<ItemId> = Vec::with_capacity(self.items.len());
        for position in 0..self.items.len() {
            let id = match (self.known.get(&position), self.repeated.get(&position)) {
                (Some(id), _) => Some(id.clone()),
                (None, Some(earlier)) => ids.get(*earlier).cloned(),
                (None, None) => new.next(),
            };
            ids.extend(id);
        }
        ids
    }
}

impl QueueInner {
    /// Looks up which keys are taken, and by which items.
    pub(super) async fn look_up(&self, session: &Arc<Session>, batch: &mut Batch) -> Result<(), Interrupted> {
        let keyed: Vec<_> = batch
            .items
            .iter()
            .enumerate()
            .filter(|(position, _)| batch.is_new(*position))
            .filter_map(|(position, item)| item.options.key.as_deref().map(|key| (position, self.layout.key(key))))
            .collect();
        let reads = keyed.iter().map(|(_, path)| read(session, path));
        let answers = future::try_join_all(reads).await?;
        for ((position, path), answer) in keyed.iter().zip(answers) {
            let Some((data, _)) = answer else { continue };
            let Some(id) = std::str::from_utf8(&data).ok().and_then(ItemId::from_stored) else {
                let reason = "it stands for an idempotency key and holds something else; remove it";
                let path = path.clone();
                return Err(crate::error::Error::Layout { path, reason }.into());
            };
            batch.known.insert(*position, id);
        }
        Ok(())
    }
}
