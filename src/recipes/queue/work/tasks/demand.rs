//! [`Demands`]: the calls of one process that want items.

use futures::future;
use tokio::sync::{mpsc, oneshot, watch};

use super::assignment::Assignment;
use crate::error::Error;
use crate::session::CleanupToken;

/// So many items are claimed for one process at once.
pub(crate) const CLAIM_ITEMS: usize = 512;

/// A wish for items.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) items: usize,
    /// How many of them are handed out at once, and so are noted with the claim.
    pub(crate) noted: usize,
    /// Whether it waits while there are none.
    pub(crate) waits: bool,
    /// Held until the place in line is gone, if nothing else of this process wants it.
    pub(crate) cleanup: Option<CleanupToken>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Assignment>, Error>>,
}

/// Wishes for items, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Demands {
    incoming: mpsc::UnboundedReceiver<Demand>,
    waiting: Vec<Demand>,
    /// True once the queue is closed.
    closing: watch::Receiver<bool>,
}

impl Demands {
    pub(crate) fn new(incoming: mpsc::UnboundedReceiver<Demand>, closing: watch::Receiver<bool>) -> Self {
        Self {
            incoming,
            waiting: Vec::new(),
            closing,
        }
    }

    /// Waits until items are wanted; false once they cannot be any more.
    pub(crate) async fn some(&mut self) -> bool {
        self.refresh();
        while self.waiting.is_empty() {
            tokio::select! {
                demand = self.incoming.recv() => match demand {
                    Some(demand) => self.waiting.push(demand),
                    None => return false,
                },
                _ = self.closing.wait_for(|closing| *closing) => return false,
            }
            self.refresh();
        }
        true
    }

    pub(crate) fn refresh(&mut self) {
        while let Ok(demand) = self.incoming.try_recv() {
            self.waiting.push(demand);
        }
        self.waiting.retain(|demand| !demand.reply.is_closed());
        if *self.closing.borrow() {
            self.fail(&Error::Closed);
        }
    }

    /// For each item that is wanted, in line, whether it is noted.
    pub(crate) fn wanted(&self) -> Vec<bool> {
        let wanted = self
            .waiting
            .iter()
            .flat_map(|demand| (0..demand.items).map(|place| place < demand.noted));
        wanted.take(CLAIM_ITEMS).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Held until the place in line is gone: by the only one that wants items.
    pub(crate) fn cleanup(&self) -> Option<CleanupToken> {
        match self.waiting.as_slice() {
            [only] => only.cleanup.clone(),
            _ => None,
        }
    }

    pub(crate) fn any_impatient(&self) -> bool {
        self.waiting.iter().any(|demand| !demand.waits)
    }

    /// Waits until more items are wanted, or fewer.
    pub(crate) async fn changed(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let gone = self.waiting.iter_mut().map(|demand| Box::pin(demand.reply.closed()));
        let come = tokio::select! {
            _ = future::select_all(gone) => None,
            come = self.incoming.recv() => come,
            _ = self.closing.wait_for(|closing| *closing) => None,
        };
        self.waiting.extend(come);
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        for demand in self.waiting.drain(..) {
            let _ = demand.reply.send(Err(error.clone()));
        }
    }

    /// Tells those that do not wait that there is nothing.
    pub(crate) fn nothing(&mut self) {
        let (waiting, impatient) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|demand| demand.waits);
        self.waiting = waiting;
        for demand in impatient {
            let _ = demand.reply.send(Ok(Vec::new()));
        }
    }

    /// Hands items out, first come, first served, and returns what nothing waits for.
    pub(crate) fn hand_out(&mut self, assignments: Vec<Assignment>) -> Vec<Assignment> {
        let mut rest = assignments.into_iter().peekable();
        let mut left = Vec::new();
        let mut back = Vec::new();
        for demand in self.waiting.drain(..) {
            if rest.peek().is_none() {
                left.push(demand);
                continue;
            }
            let given: Vec<Assignment> = rest.by_ref().take(demand.items).collect();
            if let Err(Ok(unwanted)) = demand.reply.send(Ok(given)) {
                back.extend(unwanted);
            }
        }
        self.waiting = left;
        back.extend(rest);
        back
    }
}
