//! Whether a queue's handle does its part.

use super::WorkQueue;
use crate::session::{Health, count};

impl<T> WorkQueue<T> {
    /// Returns whether this process can push and pop: live unless the queue or the coordinator is closed, ready while a
    /// server is connected. A consumer that waits for items is ready. A snapshot of what this process knows; it costs no
    /// request, so what stands in the queue is for [`stats`](Self::stats).
    ///
    /// ```no_run
    /// # fn example(mails: &zookeeper_recipes::queue::WorkQueue) {
    /// // queue /mails: ready; 2 settled items to be written
    /// println!("{}", mails.health());
    /// # }
    /// ```
    pub fn health(&self) -> Health {
        let zk = &self.inner.store.zk;
        if *self.inner.closing.borrow() && !zk.draining().has_begun() {
            return Health::closed("queue", self.path(), &self.unwritten());
        }
        zk.health_of("queue", self.path(), || (true, self.unwritten()))
    }

    fn unwritten(&self) -> String {
        let unwritten = *self.inner.settling.pending.borrow();
        format!("{} to be written", count(unwritten, "settled item"))
    }
}
