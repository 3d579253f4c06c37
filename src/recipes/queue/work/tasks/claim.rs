//! [`Claim`]: a range of items that this process holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::super::store::{ClaimData, Claimable, Item, Taking, Tally, bit};
use super::group::GroupHead;
use super::judge::After;
use crate::metrics;
use crate::session::LossReason;
use crate::znode::{FencingToken, Hold};

/// Clocks run differently by a thousandth at most.
const RATE: u32 = 1000;

/// A range of items that this process holds: until its session ends, its deadline passes, or an operator removes it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) hold: Hold,
    pub(crate) at: Claimable,
    pub(crate) group: Option<GroupHead>,
    open: Mutex<Open>,
    deadline: Mutex<Option<Deadline>>,
}

/// What is left of a claim, and how its nodes say so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub(crate) items: BTreeMap<u8, Item>,
    pub(crate) tally: Tally,
    /// The version of the node with the tally.
    pub(crate) version: i32,
    /// The zxids of the transactions that noted the items that may be handed out.
    pub(crate) noted: BTreeMap<u8, i64>,
    /// Those that are with the user.
    pub(crate) handed_out: BTreeSet<u8>,
    /// So many items are noted ahead of those that are wanted.
    pub(crate) ahead: usize,
    pub(crate) data: ClaimData,
    /// The version of the claim's own node.
    pub(crate) claim_version: i32,
}

impl Open {
    /// What a claim begins with; `zxid` is that of its transaction.
    pub(crate) fn new(taking: &Taking, items: BTreeMap<u8, Item>, identity: Bytes, zxid: i64) -> Self {
        let tally = taking.tally.clone();
        let noted = items.keys().filter(|index| tally.open & bit(**index) != 0);
        let noted = noted.map(|index| (*index, zxid)).collect();
        Self {
            items,
            tally,
            version: taking.version(),
            noted,
            handed_out: BTreeSet::new(),
            ahead: 0,
            data: ClaimData {
                identity,
                ..ClaimData::default()
            },
            claim_version: 0,
        }
    }

    /// The transaction with this zxid has settled some of it.
    pub(super) fn settled(&mut self, after: After, zxid: i64) {
        self.items.retain(|index, _| after.left.contains(index));
        self.handed_out.retain(|index| after.left.contains(index));
        self.tally = after.tally;
        if after.is_written {
            self.version = self.version.wrapping_add(1);
        }
        self.noted.extend(after.noted.iter().map(|index| (*index, zxid)));
        if let Some(data) = after.data {
            self.claim_version = self.claim_version.wrapping_add(1);
            self.data = data;
        }
    }
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    timer: JoinHandle<()>,
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl Drop for Claim {
    /// Counts a claim that was lost before all of its items were settled.
    fn drop(&mut self) {
        let reason = self.hold.node().end().reason();
        let lost = reason.filter(|reason| *reason != LossReason::Released);
        if let Some(reason) = lost.filter(|_| !self.open().items.is_empty()) {
            let labels = [("error.type", reason.label())];
            metrics::count(metrics::QUEUE_CLAIMS_LOST, Some(self.hold.metrics_name()), &labels, 1);
        }
    }
}

impl Claim {
    pub(crate) fn new(hold: Hold, at: Claimable, group: Option<GroupHead>, open: Open) -> Self {
        Self {
            hold,
            at,
            group,
            open: Mutex::new(open),
            deadline: Mutex::default(),
        }
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self) -> MutexGuard<'_, Option<Deadline>> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claim may be taken over once the ensemble's clock shows `deadline`. A transaction that was sent at `sent` was
    /// committed when that clock showed `clock`; so the claim ends here before it ends there.
    pub(crate) fn end_at(&self, deadline: i64, clock: i64, sent: Instant) {
        let left = Duration::from_millis(u64::try_from(deadline.saturating_sub(clock)).unwrap_or_default());
        let at = sent + (left - left / RATE);
        let end = Arc::clone(self.hold.node().end());
        let timer = self.hold.session().runtime().spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            end.set(LossReason::LeaseLapsed);
        });
        *self.deadline() = Some(Deadline { at, timer });
    }

    /// For how long the items are certainly held if nothing more is heard of the ensemble.
    pub(crate) fn remaining(&self) -> Duration {
        let lease = self.hold.remaining();
        let Some(at) = self.deadline().as_ref().map(|deadline| deadline.at) else {
            return lease;
        };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.hold.node().end().set(LossReason::LeaseLapsed);
        }
        lease.min(left)
    }

    /// The token of an item that is handed out.
    pub(crate) fn token(&self, index: u8) -> FencingToken {
        let noted = self.open().noted.get(&index).copied();
        noted.map_or_else(|| self.hold.token(), FencingToken::from_i64)
    }
}
