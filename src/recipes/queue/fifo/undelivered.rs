//! What pops came to whose future was dropped, items that were removed or may have been: the next pop gets it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::warn;

use super::FifoPopError;

/// An item that was removed, or one of which that is not known.
type PopResult = Result<Bytes, FifoPopError>;

#[derive(Debug)]
pub(super) struct Kept {
    path: String,
    outcomes: Mutex<VecDeque<PopResult>>,
    added: Notify,
}

/// What a pop came to for its caller. It is kept for another pop when this is dropped before it was delivered.
#[derive(Debug)]
pub(super) struct PoppedItem {
    undelivered: Arc<Kept>,
    outcome: Option<PopResult>,
}

impl Kept {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            outcomes: Mutex::default(),
            added: Notify::new(),
        }
    }

    pub(super) fn pop(&self) -> Option<PopResult> {
        self.lock().pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The first item that is known to have been removed.
    pub(super) fn peek(&self) -> Option<Bytes> {
        self.lock().iter().find_map(|outcome| outcome.as_ref().ok().cloned())
    }

    /// Waits until there is one.
    pub(super) async fn next(&self) -> PopResult {
        loop {
            // Before the look, since of several that are added in between only one is noted for a pop that comes later.
            let mut added = pin!(self.added.notified());
            added.as_mut().enable();
            if let Some(outcome) = self.pop() {
                return outcome;
            }
            added.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PopResult>> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let count = self.lock().len();
        if count > 0 {
            warn!(
                path = self.path,
                count,
                "the queue was dropped with items that it had removed, or may have, for dropped pops: they are lost"
            );
        }
    }
}

impl PoppedItem {
    pub(super) fn new(undelivered: &Arc<Kept>, outcome: PopResult) -> Self {
        Self {
            undelivered: Arc::clone(undelivered),
            outcome: Some(outcome),
        }
    }

    /// The outcome, which is the caller's from now on.
    pub(super) fn deliver(mut self) -> PopResult {
        self.outcome.take().unwrap_or_else(|| Ok(Bytes::new()))
    }
}

impl Drop for PoppedItem {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.undelivered.lock().push_back(outcome);
            self.undelivered.added.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubtful(item: &'static str) -> PopResult {
        Err(FifoPopError::Indeterminate {
            path: "/q/qn-0000000000".to_owned(),
            item: Bytes::from(item),
        })
    }

    #[test]
    fn what_was_not_delivered_is_kept_in_order_and_a_doubtful_item_too() {
        let undelivered = Arc::new(Kept::new("/q"));
        drop(PoppedItem::new(&undelivered, doubtful("a")));
        drop(PoppedItem::new(&undelivered, Ok(Bytes::from("b"))));
        assert_eq!(
            PoppedItem::new(&undelivered, Ok(Bytes::from("c"))).deliver().unwrap(),
            "c"
        );
        assert_eq!(
            undelivered.peek().unwrap(),
            "b",
            "an item in doubt is not one that is there"
        );
        assert_eq!(undelivered.pop(), Some(doubtful("a")));
        assert_eq!(undelivered.pop(), Some(Ok(Bytes::from("b"))));
        assert_eq!(undelivered.pop(), None);
    }

    #[tokio::test]
    async fn each_outcome_wakes_somebody_who_waits() {
        let undelivered = Arc::new(Kept::new("/q"));
        let mut first = pin!(undelivered.next());
        let mut second = pin!(undelivered.next());
        assert!(futures::poll!(first.as_mut()).is_pending());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(PoppedItem::new(&undelivered, Ok(Bytes::from("a"))));
        drop(PoppedItem::new(&undelivered, doubtful("b")));
        assert_eq!(second.await, Ok(Bytes::from("a")));
        assert_eq!(first.await, doubtful("b"));
    }
}
