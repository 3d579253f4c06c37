//! Waiting for items: at once if there are some and no others wait, else in line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future;
use tracing::debug;

use super::super::store::BlockId;
use super::assignment::Assignment;
use super::demand::Demands;
use super::pop::{Memory, Popper, Taken};
use crate::line::HeadOfLine;
use crate::session::{Interrupted, Lost, Retry, Session};
use crate::znode::{Ephemeral, NodeWatch, list_and_watch, stat_and_watch};

/// How often expired keys and outcomes are swept while items are taken.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Timers of this process run at most so much ahead of the ensemble's clock, which is asked again then.
const TICK: Duration = Duration::from_millis(2);

/// So many blocks are watched; beyond that it is looked once in a while.
const WATCHED: usize = 512;

/// After a look that brought nothing, the next one waits for so long.
const PAUSE: Duration = Duration::from_millis(20);

/// What tells that there may be something to take.
struct Watches {
    bell: NodeWatch,
    blocks: Vec<(BlockId, NodeWatch)>,
}

impl Watches {
    fn covers(&self, blocks: &[BlockId]) -> bool {
        let is_watched = |block: &BlockId| self.blocks.iter().any(|(watched, _)| watched == block);
        blocks.iter().take(WATCHED).all(is_watched)
    }

    async fn changed(&mut self) {
        let blocks = self.blocks.iter_mut().map(|(_, watch)| Box::pin(watch.changed()));
        let blocks: Vec<_> = blocks.collect();
        let blocks = async {
            match blocks.is_empty() {
                true => future::pending().await,
                false => future::select_all(blocks).await,
            }
        };
        tokio::select! {
            () = self.bell.changed() => {}
            _ = blocks => {}
        }
    }
}

impl Popper {
    /// Takes items at once, or in its turn; nothing if none are wanted, or what wants them does not wait.
    pub(super) async fn turn(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        memory: &mut Memory,
    ) -> Result<Vec<Assignment>, Interrupted> {
        self.store.header(session).await?;
        self.sweep_now_and_then(session, memory).await?;
        let mut retry = Retry::new(session, self.store.path(), 0);
        while !memory.lines_up {
            match self.take_at_once(session, demands, memory).await? {
                Taken::Items(items) => return Ok(items),
                Taken::Nothing => {
                    if demands.is_empty() {
                        return Ok(Vec::new());
                    }
                    break;
                }
                Taken::Outrun => retry.raced().await?,
                Taken::Paused => self.until_resumed(session, demands).await?,
                Taken::Isolated => self.until_settled(session, demands).await?,
            }
            if demands.is_empty() {
                return Ok(Vec::new());
            }
        }
        let Some(reached) = self.reach_head(session, demands, memory).await? else {
            return Ok(Vec::new());
        };
        memory.lines_up = reached.waited;
        self.take_turn(session, reached.node, demands, memory).await
    }

    async fn sweep_now_and_then(&self, session: &Arc<Session>, memory: &mut Memory) -> Result<(), Interrupted> {
        if memory.swept.is_none_or(|at| at.elapsed() > SWEEP_INTERVAL) {
            let now = self.store.now(session).await?;
            self.store.sweep(session, now).await?;
            memory.swept = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes items without a place in line, if none stands there.
    ///
    /// Another may join meanwhile and be overtaken, once: the claim is committed after that, so whatever server we are
    /// connected to, from then on it shows us the line.
    async fn take_at_once(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        memory: &mut Memory,
    ) -> Result<Taken, Interrupted> {
        if !self.knows_some(memory) {
            let occupied = self.line.is_occupied(session);
            let look = self.look(session, memory);
            let (occupied, ()) = future::try_join(occupied, look).await?;
            if occupied {
                memory.lines_up = true;
                return Ok(Taken::Nothing);
            }
            if memory.view.line.is_empty() {
                demands.nothing();
            }
            // What has come since then is not told what was seen before.
            demands.refresh();
            if memory.view.line.is_empty() || demands.is_empty() {
                return Ok(Taken::Nothing);
            }
        }
        let taken = self.claim_for(session, None, demands, memory).await?;
        if matches!(taken, Taken::Outrun | Taken::Nothing) {
            memory.view.line.clear();
            return Ok(if memory.lines_up { Taken::Nothing } else { Taken::Outrun });
        }
        Ok(taken)
    }

    /// Takes items at the head of the line, as soon as there are some.
    async fn take_turn(
        &self,
        session: &Arc<Session>,
        mut place: Ephemeral,
        demands: &mut Demands,
        memory: &mut Memory,
    ) -> Result<Vec<Assignment>, Interrupted> {
        let mut watches: Option<Watches> = None;
        let mut woken = false;
        let mut retry = Retry::new(session, self.store.path(), 0);
        loop {
            self.look(session, memory).await?;
            demands.refresh();
            if demands.is_empty() {
                place.remove().await?;
                return Ok(Vec::new());
            }
            // By the view alone: what was given back since that look may be in it already, and then no watch tells of it.
            if !memory.view.line.is_empty() {
                match self.claim_for(session, Some(&place), demands, memory).await? {
                    Taken::Items(items) => return Ok(items),
                    Taken::Paused => self.until_resumed(session, demands).await?,
                    Taken::Isolated => self.until_settled(session, demands).await?,
                    Taken::Outrun | Taken::Nothing => retry.raced().await?,
                }
                continue;
            }
            demands.nothing();
            if demands.is_empty() {
                place.remove().await?;
                return Ok(Vec::new());
            }
            if std::mem::take(&mut woken) {
                session.sleep(PAUSE).await?;
            }
            let pinned = memory.view.pinned_blocks();
            let Some(set) = watches.as_mut().filter(|watches| watches.covers(&pinned)) else {
                watches = Some(self.watch(session, &pinned).await?);
                // What changed since a list that is kept is not told by a watch that was set later.
                memory.view.keep_no_lists();
                continue;
            };
            debug!(place = place.path(), next = ?memory.view.next, "waiting for items");
            place.watch();
            let next = self.next_look(session, memory).await?;
            let timer = async {
                match next {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = set.changed() => {
                    watches = None;
                    woken = true;
                }
                () = timer => self.sweep_now_and_then(session, memory).await?,
                () = demands.changed() => {}
                reason = place.end().reached() => return Err(Lost { reason }.into()),
            }
            if let Some(reason) = session.end_reason() {
                return Err(Lost { reason }.into());
            }
        }
    }

    /// Watches what tells of items: the bell, and the blocks in which something is claimed.
    async fn watch(&self, session: &Arc<Session>, pinned: &[BlockId]) -> Result<Watches, Interrupted> {
        let bell = self.store.layout.bell();
        let bell = async { stat_and_watch(session, &bell).await };
        let blocks = pinned.iter().take(WATCHED).map(|block| async move {
            let path = self.store.layout.block(*block);
            let watched = list_and_watch(session, &path).await?;
            Ok::<_, Interrupted>(watched.map(|(_, watch)| (*block, watch)))
        });
        let ((_, bell), blocks) = future::try_join(bell, future::try_join_all(blocks)).await?;
        Ok(Watches {
            bell,
            blocks: blocks.into_iter().flatten().collect(),
        })
    }

    /// When it has to be looked again without a notice.
    async fn next_look(&self, session: &Arc<Session>, memory: &Memory) -> Result<Option<Duration>, Interrupted> {
        let now = self.store.now(session).await?;
        let expiry = self.store.sweep(session, now).await?;
        let next = [memory.view.next, expiry.next];
        let wait = next.into_iter().flatten().min().map(|next| {
            let wait = Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or_default());
            wait + TICK
        });
        let unwatched = memory.view.pinned_blocks().len() > WATCHED;
        Ok(match unwatched {
            true => Some(wait.unwrap_or(SWEEP_INTERVAL).min(SWEEP_INTERVAL)),
            false => wait,
        })
    }

    /// Waits until the queue is not paused any more, or what is wanted changes.
    async fn until_resumed(&self, session: &Arc<Session>, demands: &mut Demands) -> Result<(), Interrupted> {
        let (_, mut watch) = stat_and_watch(session, self.store.path()).await?;
        if self.store.load_header(session).await?.paused {
            demands.nothing();
            let resumed = async {
                tokio::select! {
                    () = watch.changed() => {}
                    () = demands.changed() => {}
                }
            };
            session.while_alive(resumed).await?;
        }
        demands.refresh();
        Ok(())
    }

    /// Waits until nothing of this handle is open, so that an item can be given its last attempt alone.
    async fn until_settled(&self, session: &Arc<Session>, demands: &mut Demands) -> Result<(), Interrupted> {
        demands.nothing();
        let settled = async {
            tokio::select! {
                () = self.settling.until_settled() => {}
                () = demands.changed() => {}
            }
        };
        session.while_alive(settled).await?;
        demands.refresh();
        Ok(())
    }

    /// Waits for the head of the line of consumers; `None` if no items are wanted any more.
    async fn reach_head(
        &self,
        session: &Arc<Session>,
        demands: &mut Demands,
        memory: &mut Memory,
    ) -> Result<Option<HeadOfLine>, Interrupted> {
        let cleanup = demands.cleanup();
        let mut entering = Box::pin(self.line.enter_turnstile(session, cleanup.as_ref()));
        let mut watched: Option<(BlockId, NodeWatch)> = None;
        loop {
            if demands.any_impatient() {
                // Those ahead may be idle, and this one would wait with them: it is looked whether there is something at
                // all, each time when something was taken. The watch is set first, then it is looked.
                self.look(session, memory).await?;
                match memory.view.line.first().map(|first| first.block) {
                    None => demands.nothing(),
                    Some(block) if watched.as_ref().is_some_and(|(watched, _)| *watched == block) => {}
                    Some(block) => {
                        let path = self.store.layout.block(block);
                        watched = list_and_watch(session, &path).await?.map(|(_, watch)| (block, watch));
                        demands.refresh();
                        continue;
                    }
                }
                demands.refresh();
                if demands.is_empty() {
                    return Ok(None);
                }
            }
            let taken = async {
                match watched.as_mut() {
                    Some((_, watch)) => watch.changed().await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                reached = &mut entering => return reached.map(Some),
                () = taken => watched = None,
                () = demands.changed() => demands.refresh(),
            }
            if demands.is_empty() {
                return Ok(None);
            }
        }
    }
}
