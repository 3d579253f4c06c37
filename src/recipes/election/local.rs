//! Whether this process leads, for [`LeaderElection::is_leader`](super::LeaderElection::is_leader).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::observer::Observer;
use crate::session::lock;
use crate::znode::Hold;

/// How many leaderships of one election this process has.
#[derive(Debug)]
pub(super) struct LocalLeader {
    count: Mutex<usize>,
    told: watch::Sender<bool>,
}

/// One leadership that counts until it is lost or this is dropped.
#[derive(Debug)]
pub(super) struct LeadingShare {
    counted: Arc<LocalElection>,
}

#[derive(Debug)]
struct LocalElection {
    leader: Arc<LocalLeader>,
    is_over: AtomicBool,
}

impl LocalLeader {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            count: Mutex::new(0),
            told: watch::Sender::new(false),
        })
    }

    pub(super) fn observe(&self) -> Observer<bool> {
        Observer::new(self.told.subscribe())
    }

    pub(super) fn begin(self: &Arc<Self>, hold: &Hold) -> LeadingShare {
        self.change(|count| count + 1);
        let counted = Arc::new(LocalElection {
            leader: Arc::clone(self),
            is_over: AtomicBool::new(false),
        });
        let (lost, at_loss) = (hold.lost(), Arc::clone(&counted));
        hold.session().runtime().spawn(async move {
            lost.await;
            at_loss.end();
        });
        LeadingShare { counted }
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let mut count = lock(&self.count);
        *count = to(*count);
        let leads = *count > 0;
        self.told
            .send_if_modified(|told| std::mem::replace(told, leads) != leads);
    }
}

impl LocalElection {
    fn end(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.leader.change(|count| count - 1);
        }
    }
}

impl Drop for LeadingShare {
    fn drop(&mut self) {
        self.counted.end();
    }
}
