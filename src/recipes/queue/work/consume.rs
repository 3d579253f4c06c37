//! Taking items: the consumers of one process stand in line once, and take for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future;
use tokio::sync::{mpsc, oneshot};
use tokio::time;
use tracing::{Instrument, debug, info_span, warn};
use zookeeper_client as zk;

use super::claim::{Claim, ended};
use super::delivery::Delivery;
use super::draft::Role;
use super::item::Item;
use super::settle::Settlement;
use super::shared::{Committed, Shared};
use crate::error::Error;
use crate::session::{Lost, Session, Witness};
use crate::znode::{Ephemeral, Interrupted, NodeWatch, read, read_and_watch, stat};

/// How many items are claimed at once.
pub(super) const CLAIM_ITEMS: usize = 128;

/// While items are taken, it is looked this often whether there is something to be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Timers of this process run at most so much ahead of the ensemble's clock, which is asked again then.
const TICK: Duration = Duration::from_millis(2);

/// Somebody wants items.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) items: usize,
    /// Whether it waits while there are none.
    pub(super) waits: bool,
    /// Held until the place in line is gone, if nobody else wants it.
    pub(super) witness: Option<Witness>,
    pub(super) reply: oneshot::Sender<Result<Vec<Delivery>, Error>>,
}

/// Those who want items, in the order in which they came.
struct Demands {
    incoming: mpsc::UnboundedReceiver<Demand>,
    waiting: Vec<Demand>,
}

impl Demands {
    /// Waits until somebody wants items; false once nobody can any more.
    async fn some(&mut self) -> bool {
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

    fn refresh(&mut self) {
        while let Ok(demand) = self.incoming.try_recv() {
            self.waiting.push(demand);
        }
        self.waiting.retain(|demand| !demand.reply.is_closed());
    }

    fn wanted(&self) -> usize {
        let wanted = self
            .waiting
            .iter()
            .fold(0_usize, |sum, demand| sum.saturating_add(demand.items));
        wanted.min(CLAIM_ITEMS)
    }

    /// Who has to see the place in line removed: the only one who wants items.
    fn witness(&self) -> Option<Witness> {
        match self.waiting.as_slice() {
            [only] => only.witness.clone(),
            _ => None,
        }
    }

    fn any_impatient(&self) -> bool {
        self.waiting.iter().any(|demand| !demand.waits)
    }

    /// Waits until somebody else wants items, or somebody has gone.
    async fn changed(&mut self) {
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

    fn fail(&mut self, error: &Error) {
        for demand in self.waiting.drain(..) {
            let _ = demand.reply.send(Err(error.clone()));
        }
    }

    /// Tells those who do not wait that there is nothing.
    fn nothing(&mut self) {
        let (waiting, impatient) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|demand| demand.waits);
        self.waiting = waiting;
        for demand in impatient {
            let _ = demand.reply.send(Ok(Vec::new()));
        }
    }

    /// Hands deliveries out, first come, first served. What nobody takes goes back when it is dropped.
    fn hand_out(&mut self, deliveries: Vec<Delivery>) {
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

/// Takes items for those who want some, until nobody can want any more.
pub(super) async fn take_all(
    shared: Arc<Shared>,
    incoming: mpsc::UnboundedReceiver<Demand>,
    settling: mpsc::UnboundedSender<Settlement>,
) {
    let mut demands = Demands {
        incoming,
        waiting: Vec::new(),
    };
    let mut swept = None;
    while demands.some().await {
        let session = match shared.zk.session().await {
            Ok(session) => session,
            Err(error) => {
                demands.fail(&error);
                continue;
            }
        };
        let turn = shared
            .take_turn(&session, &mut demands, &mut swept)
            .instrument(info_span!("take", queue = shared.path()));
        match turn.await {
            Ok(Some(claim)) => {
                let deliveries = Delivery::all_of(&claim, &settling);
                demands.refresh();
                demands.hand_out(deliveries);
            }
            Ok(None) => {}
            Err(Interrupted::Lost(Lost { reason })) => debug!(%reason, "lost the place in line; beginning again"),
            Err(Interrupted::Failed(error)) => demands.fail(&shared.zk.ended().unwrap_or(error)),
        }
    }
}

impl Shared {
    /// Goes through the line once: with items, or with nothing if nobody wants any or those who do do not wait.
    async fn take_turn(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        swept: &mut Option<Instant>,
    ) -> Result<Option<Arc<Claim>>, Interrupted> {
        self.level(session).await?;
        let Some(mut place) = self.reach_head(session, demands).await? else {
            return Ok(None);
        };
        let mut watched = false;
        loop {
            let now = self.now(session).await?;
            // The watches are set before it is looked, so that nothing falls in between.
            let arrivals = match watched {
                true => Some(self.watch_arrivals(session).await?),
                false => None,
            };
            let next_expiry = if watched || swept.is_none_or(|at| at.elapsed() > SWEEP_INTERVAL) {
                *swept = Some(Instant::now());
                let (next, more) = self.sweep(session, now).await?;
                if more {
                    *swept = None;
                }
                next
            } else {
                None
            };
            demands.refresh();
            let recover = self.recover(session, now, watched);
            let (recovered, front) = future::try_join(recover, self.front(session, now, demands.wanted())).await?;
            if recovered.gave_back {
                continue;
            }
            for unreadable in &front.unreadable {
                self.bury_unreadable(session, unreadable).await?;
            }
            if !front.unreadable.is_empty() {
                continue;
            }
            if demands.waiting.is_empty() {
                place.remove().await?;
                return Ok(None);
            }
            let next = [front.next_due, recovered.next_claim, next_expiry]
                .into_iter()
                .flatten()
                .min();
            if front.len() > 0 {
                match self.claim(session, place, now, front).await? {
                    Ok(claim) => return Ok(Some(claim)),
                    Err(back) => place = back,
                }
                continue;
            }
            demands.nothing();
            if demands.waiting.is_empty() {
                place.remove().await?;
                return Ok(None);
            }
            let mut arrived = false;
            if let (Some(mut arrivals), Some(mut claims)) = (arrivals, recovered.watch) {
                debug!(place = place.path(), ?next, "waiting for items");
                place.watch();
                let timer = async {
                    match next {
                        Some(next) => {
                            let wait = u64::try_from(next.saturating_sub(now)).unwrap_or_default();
                            time::sleep(Duration::from_millis(wait) + TICK).await;
                        }
                        None => future::pending().await,
                    }
                };
                tokio::select! {
                    () = arrivals.changed() => arrived = true,
                    () = claims.changed() => {}
                    () = timer => {}
                    () = demands.changed() => {}
                    reason = place.end().reached() => return Err(Lost { reason }.into()),
                }
            }
            // What has arrived is most likely there to be taken, so that no watches are needed.
            watched = !arrived;
        }
    }

    /// Waits for the head of the line of consumers; `None` if nobody wants items any more.
    async fn reach_head(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
    ) -> Result<Option<Ephemeral>, Interrupted> {
        let witness = demands.witness();
        let mut entering = Box::pin(self.line.enter_turnstile(session, witness.as_ref()));
        loop {
            if demands.any_impatient() {
                // Those ahead may be idle, so that we would wait with them: it is looked whether there is something at
                // all, each time when somebody has taken something.
                let now = self.now(session).await?;
                let recover = self.recover(session, now, true);
                let (recovered, front) = future::try_join(recover, self.front(session, now, 1)).await?;
                let Some(mut claims) = recovered.watch.filter(|_| !recovered.gave_back) else {
                    continue;
                };
                if front.len() == 0 && front.unreadable.is_empty() {
                    demands.nothing();
                }
                demands.refresh();
                if demands.waiting.is_empty() {
                    return Ok(None);
                }
                tokio::select! {
                    place = &mut entering => return place.map(Some),
                    () = claims.changed() => {}
                    () = demands.changed() => demands.refresh(),
                }
            } else {
                tokio::select! {
                    place = &mut entering => return place.map(Some),
                    () = demands.changed() => demands.refresh(),
                }
            }
            if demands.waiting.is_empty() {
                return Ok(None);
            }
        }
    }

    /// A watch that tells of the next push, or of the end of the queue's node.
    async fn watch_arrivals(&self, session: &Arc<Session>) -> Result<NodeWatch, Interrupted> {
        loop {
            if let Some((_, _, watch)) = read_and_watch(session, self.path()).await? {
                return Ok(watch);
            }
            self.load_level(session).await?;
        }
    }

    /// Forgets some of the keys and results whose time is over: a transaction's worth, since consumers wait meanwhile.
    /// Says when the next one's is, and whether there were some.
    async fn sweep(&self, session: &Arc<Session>, now: i64) -> Result<(Option<i64>, bool), Interrupted> {
        let (expired, next) = self.expired(session, now, CLAIM_ITEMS).await?;
        if expired.is_empty() {
            return Ok((next, false));
        }
        let items = expired.iter().flat_map(|(_, items)| items);
        let forgotten = items.map(|item| self.forgotten(session, item));
        let paths: Vec<String> = future::try_join_all(forgotten).await?.into_iter().flatten().collect();
        debug!(queue = self.path(), nodes = paths.len(), "forgetting keys and results");
        let committed = self.commit(session, |draft| {
            for (segment, _) in &expired {
                draft.delete(segment.path(), None, Role::Source(0));
            }
            for path in &paths {
                draft.delete(path.clone(), None, Role::Other);
            }
            Ok(())
        });
        match committed.await? {
            Committed::Done(..) => Ok((Some(now), true)),
            // Somebody else was there. It is looked at again.
            Committed::Refused(_, zk::Error::NoNode) => Ok((Some(now), true)),
            Committed::Refused(role, error) => {
                warn!(queue = self.path(), ?role, %error, "keys and results whose time is over cannot be removed");
                Ok((None, false))
            }
            Committed::Indeterminate(()) => Err(ended(session)),
        }
    }

    /// What is there of an item that is to be forgotten: its key, unless that is another one's by now, and its result.
    async fn forgotten(&self, session: &Arc<Session>, item: &Item) -> Result<Vec<String>, Interrupted> {
        let mut paths = Vec::new();
        if let Some(key) = &item.key {
            let path = self.layout.key(key);
            let id = read(session, &path).await?.map(|(id, _)| id);
            if id.is_some_and(|id| id == item.id.as_str().as_bytes()) {
                paths.push(path);
            }
        }
        if !item.payload.is_empty() {
            let path = self.layout.result(item.id.as_str());
            if stat(session, &path).await?.is_some() {
                paths.push(path);
            }
        }
        Ok(paths)
    }
}
