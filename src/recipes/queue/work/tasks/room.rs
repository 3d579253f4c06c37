//! [`ProducerLine`]: waiting for room in a bounded queue. The producers of one process stand in line once, and the first in line
//! looks, so that an item that leaves wakes one process and not all.

use std::pin::Pin;
use std::sync::Arc;

use super::super::store::{Level, Store};
use crate::causes::Error;
use crate::line::{ContenderNames, Line};
use crate::session::{Interrupted, Session};
use crate::znode::{Ephemeral, read_and_watch};

/// `None` if the session ended first.
type Entering = Pin<Box<dyn Future<Output = Result<Option<Ephemeral>, Error>> + Send>>;

/// The place of this process in the line of producers.
pub(super) struct ProducerLine {
    store: Arc<Store>,
    line: Arc<Line>,
    /// At the head of the line; kept until something was pushed.
    place: Option<Ephemeral>,
    entering: Option<Entering>,
}

impl ProducerLine {
    pub(super) fn new(store: &Arc<Store>) -> Self {
        let line = Line::new(
            store.zk.clone(),
            store.layout.directory("producers"),
            ContenderNames::CURATOR_LOCK,
        );
        Self {
            store: Arc::clone(store),
            line: Arc::new(line),
            place: None,
            entering: None,
        }
    }

    /// Leaves the line, in the background.
    pub(super) fn leave(&mut self) {
        self.place = None;
        self.entering = None;
    }

    /// Waits until this process is the first in line and there is room for so many items, or until its session or its
    /// place ends. What it has waited for stays if the future is dropped.
    ///
    /// # Errors
    /// Those of a place that is refused.
    pub(super) async fn wait(&mut self, session: &Arc<Session>, needed: u64) -> Result<(), Error> {
        let is_ours = |place: &Ephemeral| Arc::ptr_eq(place.session(), session) && place.end().reason().is_none();
        if !self.place.as_ref().is_some_and(is_ours) {
            self.place = None;
            let entering = self.entering.get_or_insert_with(|| {
                let (line, session) = (Arc::clone(&self.line), Arc::clone(session));
                Box::pin(async move {
                    match line.enter_turnstile(&session, None).await {
                        Ok(reached) => Ok(Some(reached.node)),
                        Err(Interrupted::Lost(_)) => Ok(None),
                        Err(Interrupted::Failed(error)) => Err(error),
                    }
                })
            });
            let reached = entering.await;
            self.entering = None;
            self.place = reached?;
        }
        let Some(place) = &mut self.place else { return Ok(()) };
        place.watch();
        loop {
            let watched = read_and_watch(session, &self.store.layout.level()).await;
            let Ok(Some((data, _, mut watch))) = watched else {
                return Ok(());
            };
            if Level::decode(&data).is_none_or(|level| level.room() >= needed) {
                return Ok(());
            }
            tokio::select! {
                () = watch.changed() => {}
                _ = place.end().reached() => return Ok(()),
            }
            if session.end_reason().is_some() {
                return Ok(());
            }
        }
    }
}
