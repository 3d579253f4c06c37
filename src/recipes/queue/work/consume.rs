//! Taking items: the consumers of one process look once, stand in line once if they have to, and take for all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future;
use tokio::sync::mpsc;
use tokio::time;
use tracing::{Instrument, debug, info_span, warn};
use zookeeper_client as zk;

use super::claim::{Claim, ended};
use super::delivery::Delivery;
use super::demand::{Demand, Demands};
use super::draft::Role;
use super::front::Front;
use super::item::Item;
use super::settle::Settlement;
use super::shared::{Committed, QueueInner};
use crate::line::HeadOfLine;
use crate::session::{Interrupted, Lost, Session};
use crate::znode::{Ephemeral, NodeWatch, read, read_and_watch, stat};

/// How many items are claimed at once.
pub(super) const CLAIM_ITEMS: usize = 128;

/// While items are taken, it is looked this often whether there is something to be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Timers of this process run at most so much ahead of the ensemble's clock, which is asked again then.
const TICK: Duration = Duration::from_millis(2);

/// What one who takes items remembers from one turn to the next.
#[derive(Debug, Default)]
struct Habits {
    /// When it was last looked whether there is something to be forgotten.
    swept: Option<Instant>,
    /// Whether others were met in line, or at an item, so that it is not tried without standing in line.
    lines_up: bool,
}

/// What was seen of the queue at once.
#[derive(Debug)]
struct FrontView {
    now: i64,
    front: Front,
    /// When there may be more without anybody telling.
    next: Option<i64>,
    /// Watches on what arrives and on the claims, if they were asked for.
    watches: Option<(NodeWatch, NodeWatch)>,
}

/// What came of the try to take items without standing in line.
#[derive(Debug)]
enum AtOnce {
    Claimed(Arc<Claim>),
    /// There is nothing to be taken.
    Nothing,
    /// Others stand in line, or have taken what was to be taken.
    Contended,
}

/// Takes items for those who want some, until nobody can want any more.
pub(super) async fn take_all(
    shared: Arc<QueueInner>,
    incoming: mpsc::UnboundedReceiver<Demand>,
    settling: mpsc::UnboundedSender<Settlement>,
) {
    let (mut demands, mut habits) = (Demands::new(incoming), Habits::default());
    while demands.some().await {
        let session = match shared.zk.session().await {
            Ok(session) => session,
            Err(error) => {
                demands.fail(&error);
                continue;
            }
        };
        let turn = shared
            .take(&session, &mut demands, &mut habits)
            .instrument(info_span!("take", queue = shared.path()));
        match turn.await {
            Ok(Some(claim)) => {
                let deliveries = Delivery::all_of(&claim, &settling);
                demands.refresh();
                demands.hand_out(deliveries);
            }
            Ok(None) => {}
            Err(Interrupted::Lost(Lost { reason })) => debug!(%reason, "the turn is lost; beginning again"),
            Err(Interrupted::Failed(error)) => demands.fail(&shared.zk.ended().unwrap_or(error)),
        }
    }
}

impl QueueInner {
    /// Takes items at once, or in its turn; nothing if nobody wants any, or those who do do not wait.
    async fn take(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        habits: &mut Habits,
    ) -> Result<Option<Arc<Claim>>, Interrupted> {
        self.level(session).await?;
        let mut is_empty = false;
        if !habits.lines_up {
            match self.take_at_once(session, demands, habits).await? {
                AtOnce::Claimed(claim) => return Ok(Some(claim)),
                AtOnce::Nothing => is_empty = true,
                AtOnce::Contended => habits.lines_up = true,
            }
            if demands.is_empty() {
                return Ok(None);
            }
        }
        let Some(reached) = self.reach_head(session, demands).await? else {
            return Ok(None);
        };
        habits.lines_up = reached.waited;
        // Watches are set only where there most likely is nothing.
        let watched = is_empty && !reached.waited;
        self.take_turn(session, reached.node, demands, habits, watched).await
    }

    /// Takes items without a place in line, if nobody stands there.
    ///
    /// Somebody may come to stand there after we looked, and be overtaken, once: the claim is committed after that, so
    /// whatever server we are connected to, from then on it shows us whoever stood there.
    async fn take_at_once(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        habits: &mut Habits,
    ) -> Result<AtOnce, Interrupted> {
        // Both are sent before the first answer comes.
        let occupied = self.line.is_occupied(session);
        let sight = self.look(session, demands, habits, false);
        let (occupied, sight) = future::try_join(occupied, sight).await?;
        if occupied {
            return Ok(AtOnce::Contended);
        }
        if sight.front.len() == 0 {
            // Who has come since then is not told what was seen before.
            demands.nothing();
            demands.refresh();
            return Ok(AtOnce::Nothing);
        }
        demands.refresh();
        if demands.is_empty() {
            return Ok(AtOnce::Nothing);
        }
        let claimed = self.claim(session, None, sight.now, sight.front).await?;
        Ok(claimed.map_or(AtOnce::Contended, AtOnce::Claimed))
    }

    /// Takes items at the head of the line, as soon as there are some.
    async fn take_turn(
        &self,
        session: &Arc<Session>,
        mut place: Ephemeral,
        demands: &mut Demands,
        habits: &mut Habits,
        mut watched: bool,
    ) -> Result<Option<Arc<Claim>>, Interrupted> {
        loop {
            let sight = self.look(session, demands, habits, watched).await?;
            if demands.is_empty() {
                place.remove().await?;
                return Ok(None);
            }
            if sight.front.len() > 0 {
                if let Some(claim) = self.claim(session, Some(&place), sight.now, sight.front).await? {
                    return Ok(Some(claim));
                }
                continue;
            }
            demands.nothing();
            if demands.is_empty() {
                place.remove().await?;
                return Ok(None);
            }
            let mut arrived = false;
            if let Some((mut arrivals, mut claims)) = sight.watches {
                let (now, next) = (sight.now, sight.next);
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

    /// Looks what there is to be taken, and puts right what it finds on its way: items of lost consumers go back, what
    /// cannot be read is put aside, what is to be forgotten goes.
    async fn look(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        habits: &mut Habits,
        watched: bool,
    ) -> Result<FrontView, Interrupted> {
        loop {
            let now = self.now(session).await?;
            // The watches are set before it is looked, so that nothing falls in between.
            let arrivals = match watched {
                true => Some(self.watch_arrivals(session).await?),
                false => None,
            };
            demands.refresh();
            let recover = self.recover(session, now, watched);
            let front = self.front(session, now, demands.wanted());
            let sweeps = watched || habits.swept.is_none_or(|at| at.elapsed() > SWEEP_INTERVAL);
            let sweep = async {
                match sweeps {
                    true => self.sweep(session, now).await,
                    false => Ok((None, false)),
                }
            };
            let (recovered, front, (next_expiry, more)) = future::try_join3(recover, front, sweep).await?;
            if sweeps {
                habits.swept = (!more).then(Instant::now);
            }
            // Not for ever: something was claimed each time.
            if recovered.gave_back || front.vanished {
                continue;
            }
            for unreadable in &front.unreadable {
                self.bury_unreadable(session, unreadable).await?;
            }
            if !front.unreadable.is_empty() {
                continue;
            }
            let next = [front.next_due, recovered.next_claim, next_expiry];
            return Ok(FrontView {
                now,
                front,
                next: next.into_iter().flatten().min(),
                watches: arrivals.zip(recovered.watch),
            });
        }
    }

    /// Waits for the head of the line of consumers; `None` if nobody wants items any more.
    async fn reach_head(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
    ) -> Result<Option<HeadOfLine>, Interrupted> {
        let cleanup = demands.cleanup();
        let mut entering = Box::pin(self.line.enter_turnstile(session, cleanup.as_ref()));
        loop {
            if demands.any_impatient() {
                // Those ahead may be idle, so that we would wait with them: it is looked whether there is something at
                // all, each time when somebody has taken something.
                let now = self.now(session).await?;
                let recover = self.recover(session, now, true);
                let (recovered, front) = future::try_join(recover, self.front(session, now, 1)).await?;
                let seen_at_once = !recovered.gave_back && !front.vanished;
                let Some(mut claims) = recovered.watch.filter(|_| seen_at_once) else {
                    continue;
                };
                if front.len() == 0 && front.unreadable.is_empty() {
                    demands.nothing();
                }
                demands.refresh();
                if demands.is_empty() {
                    return Ok(None);
                }
                tokio::select! {
                    reached = &mut entering => return reached.map(Some),
                    () = claims.changed() => {}
                    () = demands.changed() => demands.refresh(),
                }
            } else {
                tokio::select! {
                    reached = &mut entering => return reached.map(Some),
                    () = demands.changed() => demands.refresh(),
                }
            }
            if demands.is_empty() {
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
