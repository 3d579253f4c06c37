//! Items that were removed from the queue for a pop whose future was dropped: the next pop gets them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::warn;

#[derive(Debug)]
pub(super) struct Kept {
    path: String,
    items: Mutex<VecDeque<Bytes>>,
    added: Notify,
}

/// An item that was removed from the queue. It is kept for another pop when this is dropped before it was delivered.
#[derive(Debug)]
pub(super) struct Taken {
    kept: Arc<Kept>,
    item: Option<Bytes>,
}

impl Kept {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            items: Mutex::default(),
            added: Notify::new(),
        }
    }

    pub(super) fn pop(&self) -> Option<Bytes> {
        self.lock().pop_front()
    }

    pub(super) fn peek(&self) -> Option<Bytes> {
        self.lock().front().cloned()
    }

    /// Waits until there is one.
    pub(super) async fn next(&self) -> Bytes {
        loop {
            if let Some(item) = self.pop() {
                return item;
            }
            self.added.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Bytes>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let count = self.lock().len();
        if count > 0 {
            warn!(
                path = self.path,
                count, "the queue was dropped with items that it had removed for dropped pops: they are lost"
            );
        }
    }
}

impl Taken {
    pub(super) fn new(kept: &Arc<Kept>, item: Bytes) -> Self {
        Self {
            kept: Arc::clone(kept),
            item: Some(item),
        }
    }

    /// The item, which is the caller's from now on.
    pub(super) fn deliver(mut self) -> Bytes {
        self.item.take().unwrap_or_default()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.kept.lock().push_back(item);
            self.kept.added.notify_one();
        }
    }
}
