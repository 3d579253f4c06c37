//! [`Inner`]: what all handles of one queue in this process share, and the tasks behind them.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use super::store::{Asked, Store};
use super::tasks::{Demand, Popper, Push, Settlement, Settler, Settling, push_all, settle_all, take_all, tidy_all};
use crate::error::Error;
use crate::line::{ContenderNames, Line};
use crate::session::Coordinator;
use crate::znode::NodePath;

/// What all handles of one queue in this process share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<Store>,
    pub(super) pushes: mpsc::UnboundedSender<Push>,
    pub(super) demands: mpsc::UnboundedSender<Demand>,
    pub(super) settling: Settling,
    pub(super) closing: watch::Sender<bool>,
    idle: Mutex<Option<Receivers>>,
}

/// What the tasks are made of until they are needed.
#[derive(Debug)]
struct Receivers {
    pushes: mpsc::UnboundedReceiver<Push>,
    demands: mpsc::UnboundedReceiver<Demand>,
    settlements: mpsc::UnboundedReceiver<Vec<Settlement>>,
}

impl Inner {
    pub(super) fn new(zk: Coordinator, path: NodePath, asked: Asked) -> Self {
        let (pushes, push_receiver) = mpsc::unbounded_channel();
        let (demands, demand_receiver) = mpsc::unbounded_channel();
        let (settlements, settlement_receiver) = mpsc::unbounded_channel();
        let receivers = Receivers {
            pushes: push_receiver,
            demands: demand_receiver,
            settlements: settlement_receiver,
        };
        Self {
            store: Arc::new(Store::new(zk, path, asked)),
            pushes,
            demands,
            settling: Settling::new(settlements),
            closing: watch::Sender::new(false),
            idle: Mutex::new(Some(receivers)),
        }
    }

    /// Starts no task any more, if none runs.
    pub(super) fn never_start(&self) {
        drop(self.idle.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Starts the tasks, if that has not been done, on the runtime of the coordinator. A shutdown of the coordinator lets
    /// work that goes on push.
    pub(super) async fn start(&self) -> Result<(), Error> {
        if *self.closing.borrow() && !self.store.zk.draining().has_begun() {
            return Err(Error::Closed);
        }
        let is_idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_idle {
            return Ok(());
        }
        let session = self.store.zk.session().await?;
        let receivers = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receivers) = receivers else { return Ok(()) };
        let runtime = session.runtime();
        let (untidy, untidy_receiver) = mpsc::unbounded_channel();
        let given_back = Arc::new(AtomicBool::new(false));
        let consumers = self.store.layout.directory("consumers");
        let popper = Popper {
            store: Arc::clone(&self.store),
            line: Line::new(self.store.zk.clone(), consumers, ContenderNames::CURATOR_LOCK),
            settling: self.settling.clone(),
            given_back: Arc::clone(&given_back),
            untidy: untidy.clone(),
            closing: self.closing.subscribe(),
        };
        let settler = Settler {
            store: Arc::clone(&self.store),
            given_back,
            pending: self.settling.pending.clone(),
            untidy,
        };
        let (closing, shutting_down) = (self.closing.clone(), self.store.zk.shutting_down());
        runtime.spawn(async move {
            tokio::select! {
                () = shutting_down => drop(closing.send_replace(true)),
                () = closing.closed() => {}
            }
        });
        runtime.spawn(push_all(Arc::clone(&self.store), receivers.pushes));
        runtime.spawn(take_all(popper, receivers.demands));
        runtime.spawn(settle_all(settler, receivers.settlements));
        runtime.spawn(tidy_all(Arc::clone(&self.store), untidy_receiver));
        Ok(())
    }
}
