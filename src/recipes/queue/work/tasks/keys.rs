//! Idempotency keys: an item that was pushed with one is not pushed again.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future;

use super::super::store::{ItemId, NewEntry, Store, decode_text};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::read;

/// Items to be pushed, of which some turn out to have been pushed before.
#[derive(Debug)]
pub(crate) struct Batch {
    entries: Vec<NewEntry>,
    /// The ids of those that are there already, by their place.
    known: HashMap<usize, ItemId>,
    /// Those that have the key of an earlier one among them.
    repeated: HashMap<usize, usize>,
}

impl Batch {
    pub(crate) fn new<'a>(entries: impl IntoIterator<Item = &'a NewEntry>) -> Self {
        let entries: Vec<NewEntry> = entries.into_iter().cloned().collect();
        let mut first: HashMap<Arc<str>, usize> = HashMap::new();
        let mut repeated = HashMap::new();
        for (position, entry) in entries.iter().enumerate() {
            if let Some(key) = &entry.key {
                let earlier = *first.entry(Arc::clone(key)).or_insert(position);
                if earlier != position {
                    repeated.insert(position, earlier);
                }
            }
        }
        Self {
            entries,
            known: HashMap::new(),
            repeated,
        }
    }

    fn is_new(&self, position: usize) -> bool {
        !self.known.contains_key(&position) && !self.repeated.contains_key(&position)
    }

    /// What has to be pushed, as far as is known.
    pub(crate) fn new_entries(&self) -> impl Iterator<Item = &NewEntry> {
        let all = self.entries.iter().enumerate();
        all.filter(|(position, _)| self.is_new(*position))
            .map(|(_, entry)| entry)
    }

    pub(crate) fn has_new_keys(&self) -> bool {
        self.new_entries().any(|entry| entry.key.is_some())
    }

    /// The ids of all, once those of the new ones are known.
    pub(crate) fn with_new(&self, new: Vec<ItemId>) -> Vec<ItemId> {
        let mut new = new.into_iter();
        let mut ids: Vec<ItemId> = Vec::with_capacity(self.entries.len());
        for position in 0..self.entries.len() {
            let id = match (self.known.get(&position), self.repeated.get(&position)) {
                (Some(id), _) => Some(id.clone()),
                (None, Some(earlier)) => ids.get(*earlier).cloned(),
                (None, None) => new.next(),
            };
            ids.extend(id);
        }
        ids
    }

    /// Looks up which keys are taken, and by which items.
    pub(crate) async fn look_up(&mut self, store: &Store, session: &Arc<Session>) -> Result<(), Interrupted> {
        let keyed: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .filter(|(position, _)| self.is_new(*position))
            .filter_map(|(position, entry)| entry.key.as_deref().map(|key| (position, store.layout.key(key))))
            .collect();
        let reads = keyed.iter().map(|(_, path)| read(session, path));
        let answers = future::try_join_all(reads).await?;
        for ((position, path), answer) in keyed.iter().zip(answers) {
            let Some((data, _)) = answer else { continue };
            let Some(id) = decode_text(&data).and_then(|text| text.parse().ok()) else {
                let reason = "it stands for an idempotency key and holds something else; remove it";
                return Err(Error::Layout {
                    path: path.clone(),
                    reason,
                }
                .into());
            };
            self.known.insert(*position, id);
        }
        Ok(())
    }
}
