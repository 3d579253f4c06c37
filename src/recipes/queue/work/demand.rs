//! [`Demands`]: who of one process wants items.

use futures::future;
use tokio::sync::{mpsc, oneshot};

use super::consume::CLAIM_ITEMS;
use super::delivery::Delivery;
use crate::error::Error;
use crate::session::CleanupToken;

/// Somebody wants items.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) items: usize,
    /// Whether it waits while there are none.
    pub(super) waits: bool,
    /// Held until the place in line is gone, if nobody else wants it.
    pub(super) cleanup: Option<CleanupToken>,
    pub(super) reply: oneshot::Sender<Result<Vec<Delivery>, Error>>,
}

/// Those who want items, in the order in which they came.
#[derive(Debug)]
pub(super) struct Demands {
    incoming: mpsc::UnboundedReceiver<Demand>,
    waiting: Vec<Demand>,
}

impl Demands {
    pub(super) fn new(incoming: mpsc::UnboundedReceiver<Demand>) -> Self {
        Self {
            incoming,
            waiting: Vec::new(),
        }
    }

    /// Waits until somebody wants items; false once nobody can any more.
    pub(super) async fn some(&mut self) -> bool {
        self.refresh();
        while self.waiting.is_empty() {
            match self.incoming.recv().await {
                Some(demand) => self.waiting.push(demand),
                None => return false,
            }
            self.refresh();
        }
        true
    }

    pub(super) fn refresh(&mut self) {
        while let Ok(demand) = self.incoming.try_recv() {
            self.waiting.push(demand);
        }
        self.waiting.retain(|demand| !demand.reply.is_closed());
    }

    pub(super) fn wanted(&self) -> usize {
        let wanted = self
            .waiting
            .iter()
            .fold(0_usize, |sum, demand| sum.saturating_add(demand.items));
        wanted.min(CLAIM_ITEMS)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who has to see the place in line removed: the only one who wants items.
    pub(super) fn cleanup(&self) -> Option<CleanupToken> {
        match self.waiting.as_slice() {
            [only] => only.cleanup.clone(),
            _ => None,
        }
    }

    pub(super) fn any_impatient(&self) -> bool {
        self.waiting.iter().any(|demand| !demand.waits)
    }

    /// Waits until somebody else wants items, or somebody has gone.
    pub(super) async fn changed(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let gone = self.waiting.iter_mut().map(|demand| Box::pin(demand.reply.closed()));
        let come = tokio::select! {
            _ = future::select_all(gone) => None,
            come = self.incoming.recv() => come,
        };
        self.waiting.extend(come);
    }

    pub(super) fn fail(&mut self, error: &Error) {
        for demand in self.waiting.drain(..) {
            let _ = demand.reply.send(Err(error.clone()));
        }
    }

    /// Tells those who do not wait that there is nothing.
    pub(super) fn nothing(&mut self) {
        let (waiting, impatient) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|demand| demand.waits);
        self.waiting = waiting;
        for demand in impatient {
            let _ = demand.reply.send(Ok(Vec::new()));
        }
    }

    /// Hands deliveries out, first come, first served. What nobody takes goes back when it is dropped.
    pub(super) fn hand_out(&mut self, deliveries: Vec<Delivery>) {
        let mut deliveries = deliveries.into_iter().peekable();
        let mut left = Vec::new();
        for demand in self.waiting.drain(..) {
            if deliveries.peek().is_none() {
                left.push(demand);
                continue;
            }
            let given = deliveries.by_ref().take(demand.items).collect();
            // Who is gone at this moment drops them, not delivered.
            let _ = demand.reply.send(Ok(given));
        }
        self.waiting = left;
    }
}
