//! Which session is current.

use std::sync::Arc;

use tokio::sync::watch;

use super::core::Session;
use crate::error::Error;

/// What stands in the place of the current session.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// One is being opened.
    Opening,
    /// The current one.
    Live(Arc<Session>),
    /// There will be none any more.
    Over(Error),
}

/// A view of the current session that does not keep the coordinator alive.
#[derive(Clone, Debug)]
pub(crate) struct CurrentSession {
    slot: watch::Receiver<Slot>,
}

impl CurrentSession {
    pub(crate) fn new(slot: watch::Receiver<Slot>) -> Self {
        Self { slot }
    }

    /// The current session, waited for while one is being opened.
    pub(crate) async fn current(&mut self) -> Result<Arc<Session>, Error> {
        let usable = |slot: &Slot| match slot {
            Slot::Opening => false,
            Slot::Live(session) => session.end_reason().is_none(),
            Slot::Over(_) => true,
        };
        match self.slot.wait_for(usable).await {
            Ok(slot) => slot.session()?.ok_or(Error::Closed),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Waits until there will be none any more.
    pub(crate) async fn over(&mut self) {
        // An error means that no task looks after it any more.
        let _ = self.slot.wait_for(|slot| matches!(slot, Slot::Over(_))).await;
    }

    /// The current session, if there is one right now.
    pub(crate) fn peek(&self) -> Result<Option<Arc<Session>>, Error> {
        let found = self.slot.borrow().session()?;
        let is_usable = found.as_ref().is_some_and(|session| session.end_reason().is_none());
        // With its runtime, the supervisor is gone: no session takes the place of one that has ended.
        if !is_usable && self.slot.has_changed().is_err() {
            return Err(Error::Closed);
        }
        Ok(found)
    }
}

impl Slot {
    fn session(&self) -> Result<Option<Arc<Session>>, Error> {
        match self {
            Self::Opening => Ok(None),
            Self::Live(session) => Ok(Some(Arc::clone(session))),
            Self::Over(error) => Err(error.clone()),
        }
    }
}
