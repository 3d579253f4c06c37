//! [`SeenVersion`]: the version of a node's data, as its guardian saw it last.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::sync::Notify;

/// The version that was seen last, 0 as created. Clones share it. A tokio `watch` would take six times the room, and there
/// is one for each hold.
#[derive(Clone, Debug, Default)]
pub(in crate::znode) struct SeenVersion(Arc<LastVersion>);

#[derive(Debug, Default)]
struct LastVersion {
    version: AtomicI32,
    changed: Notify,
}

impl SeenVersion {
    pub(super) fn get(&self) -> i32 {
        self.0.version.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, version: i32) {
        if self.0.version.swap(version, Ordering::AcqRel) != version {
            self.0.changed.notify_waiters();
        }
    }

    /// Waits until the version is another one than `known`.
    pub(in crate::znode) async fn other_than(&self, known: i32) -> i32 {
        loop {
            // Before the look, so that no change falls between the two.
            let changed = self.0.changed.notified();
            match self.get() {
                version if version != known => return version,
                _ => changed.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_another_version_wakes() {
        let seen = SeenVersion::default();
        let mut waiting = Box::pin(seen.other_than(0));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        seen.set(0);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        seen.set(3);
        assert_eq!(waiting.now_or_never(), Some(3));
        assert_eq!(seen.other_than(0).now_or_never(), Some(3));
    }
}
