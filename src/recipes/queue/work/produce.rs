//! Pushing: whatever is pushed while a transaction is under way goes into the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, trace};
use zookeeper_client as zk;

use super::draft::Role;
use super::errors::PushError;
use super::item::{ItemId, NewItem};
use super::keys::Batch;
use super::level::{Bound, Level};
use super::segment::OVERHEAD;
use super::shared::{Committed, QueueInner};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{NodeWatch, read_and_watch, sync};

/// How many items are pushed in one transaction, and how many bytes it carries, about; more if one push has more.
const PUSHED_ITEMS: usize = 1024;
const PUSHED_BYTES: usize = 256 * 1024;

/// Items that belong into one transaction.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) items: Vec<NewItem>,
    /// Whether it waits while the queue is full.
    pub(super) waits: bool,
    /// The ids that the items have if an earlier transaction was committed, of which that is not known.
    pub(super) doubtful: Option<Vec<ItemId>>,
    /// For how many items it needs room; fewer than it has if some were pushed before.
    pub(super) needed: u64,
    pub(super) reply: oneshot::Sender<Result<Vec<ItemId>, PushError>>,
}

impl Push {
    fn size(&self) -> usize {
        let size =
            |item: &NewItem| OVERHEAD + item.payload.len() + item.options.key.as_ref().map_or(0, |key| key.len() + 400);
        self.items.iter().map(size).sum()
    }

    fn answer(self, answer: Result<Vec<ItemId>, PushError>) {
        let answer = match (answer, self.doubtful) {
            (Err(PushError::Error(_)), Some(ids)) => Err(PushError::Indeterminate { ids }),
            (answer, _) => answer,
        };
        // An error means that the caller is gone.
        let _ = self.reply.send(answer);
    }
}

/// What became of pushes in one transaction.
enum PushOutcome {
    Pushed,
    /// The queue is full: they wait, but for those that do not.
    Full(Vec<Push>),
    Again(Vec<Push>),
}

/// Pushes what comes, in the order in which it comes, until nothing more can come.
pub(super) async fn push_all(shared: Arc<QueueInner>, mut incoming: mpsc::UnboundedReceiver<Push>) {
    let mut waiting = VecDeque::new();
    let mut full = false;
    loop {
        if waiting.is_empty() {
            match incoming.recv().await {
                Some(push) => waiting.push_back(push),
                None => return,
            }
        }
        while let Ok(push) = incoming.try_recv() {
            waiting.push_back(push);
        }
        if std::mem::take(&mut full) {
            // Who does not wait is told at once, whoever waits.
            waiting.make_contiguous().sort_by_key(|push: &Push| push.waits);
        }
        // Whoever has gone in the meantime does not push.
        waiting.retain(|push: &Push| !push.reply.is_closed());
        let mut batch = Vec::new();
        let (mut items, mut size) = (0, 0);
        while let Some(push) = waiting.pop_front() {
            items += push.items.len();
            size += push.size();
            if !batch.is_empty() && (items > PUSHED_ITEMS || size > PUSHED_BYTES) {
                waiting.push_front(push);
                break;
            }
            batch.push(push);
        }
        if batch.is_empty() {
            continue;
        }
        let session = match shared.zk.session().await {
            Ok(session) => session,
            Err(error) => {
                batch
                    .into_iter()
                    .for_each(|push| push.answer(Err(error.clone().into())));
                continue;
            }
        };
        match shared.push_in(&session, batch).await {
            PushOutcome::Pushed => {}
            PushOutcome::Again(batch) => batch.into_iter().rev().for_each(|push| waiting.push_front(push)),
            PushOutcome::Full(batch) => {
                batch.into_iter().rev().for_each(|push| waiting.push_front(push));
                full = true;
                shared.until_room(&session, &mut waiting, &mut incoming).await;
            }
        }
    }
}

impl QueueInner {
    async fn push_in(&self, session: &Arc<Session>, batch: Vec<Push>) -> PushOutcome {
        let mut items = Batch::new(batch.iter().flat_map(|push| &push.items));
        let mut looked_up = false;
        loop {
            let mut full = None;
            let committed = self.commit(session, |draft| {
                let new: Vec<_> = items.new_items().collect();
                let bound = draft.known.level.bound;
                let needed = u64::try_from(new.len()).unwrap_or(u64::MAX);
                full = bound.filter(|bound| bound.room() < needed);
                if full.is_some() {
                    return Ok(None);
                }
                Ok(Some(draft.push(new)))
            });
            let committed = committed.await;
            if let Some(bound) = full {
                // What was pushed before needs no room.
                if !looked_up && items.has_new_keys() {
                    looked_up = true;
                    let looked = async {
                        sync(session, self.path()).await?;
                        self.look_up(session, &mut items).await
                    };
                    match looked.await {
                        Ok(()) => continue,
                        Err(Interrupted::Lost(_)) => return PushOutcome::Again(batch),
                        Err(Interrupted::Failed(error)) => {
                            return self.push_each_or_refuse(session, batch, &error).await;
                        }
                    }
                }
                let needed = u64::try_from(items.new_items().count()).unwrap_or(u64::MAX);
                return self.make_room(session, batch, bound, needed).await;
            }
            match committed {
                Ok(Committed::Done(ids, _)) => {
                    let mut ids = items.with_new(ids.unwrap_or_default()).into_iter();
                    trace!(queue = self.path(), items = ids.len(), pushes = batch.len(), "pushed");
                    for push in batch {
                        let ids = ids.by_ref().take(push.items.len()).collect();
                        push.answer(Ok(ids));
                    }
                    return PushOutcome::Pushed;
                }
                Ok(Committed::Refused(Role::Key, zk::Error::NodeExists)) => {
                    match self.look_up(session, &mut items).await {
                        Ok(()) => {}
                        Err(Interrupted::Lost(_)) => return PushOutcome::Again(batch),
                        Err(Interrupted::Failed(error)) => {
                            return self.push_each_or_refuse(session, batch, &error).await;
                        }
                    }
                }
                Ok(Committed::Refused(_, error)) => {
                    let error = Error::from_answer(self.path(), error);
                    return self.push_each_or_refuse(session, batch, &error).await;
                }
                Ok(Committed::Indeterminate(ids)) => {
                    debug!(queue = self.path(), "not known what was pushed");
                    let mut ids = items.with_new(ids.unwrap_or_default()).into_iter();
                    let mut again = Vec::new();
                    for mut push in batch {
                        let ids: Vec<_> = ids.by_ref().take(push.items.len()).collect();
                        // Keys tell in the next session whether it was.
                        if push.items.iter().all(|item| item.options.key.is_some()) {
                            push.doubtful = Some(ids);
                            again.push(push);
                        } else {
                            push.answer(Err(PushError::Indeterminate { ids }));
                        }
                    }
                    return PushOutcome::Again(again);
                }
                Err(Interrupted::Lost(_)) => return PushOutcome::Again(batch),
                Err(Interrupted::Failed(error)) => {
                    let error = self.zk.ended().unwrap_or(error);
                    return self.push_each_or_refuse(session, batch, &error).await;
                }
            }
        }
    }

    /// What cannot be pushed together may be pushed alone, and what cannot be pushed takes nothing else with it.
    async fn push_each_or_refuse(&self, session: &Arc<Session>, batch: Vec<Push>, error: &Error) -> PushOutcome {
        if batch.len() == 1 {
            return refuse(batch, error);
        }
        debug!(queue = self.path(), %error, "pushing one by one");
        self.push_each(session, batch).await
    }

    /// Pushes one by one, in order: a push does not overtake one that waits.
    async fn push_each(&self, session: &Arc<Session>, batch: Vec<Push>) -> PushOutcome {
        let (mut left, mut all_full) = (Vec::new(), true);
        for push in batch {
            if !left.is_empty() && push.waits {
                left.push(push);
                continue;
            }
            match Box::pin(self.push_in(session, vec![push])).await {
                PushOutcome::Pushed => {}
                PushOutcome::Full(pushes) => left.extend(pushes),
                PushOutcome::Again(pushes) => {
                    all_full = false;
                    left.extend(pushes);
                }
            }
        }
        match (left.is_empty(), all_full) {
            (true, _) => PushOutcome::Pushed,
            (false, true) => PushOutcome::Full(left),
            // Those who do not wait are not left with those who do.
            (false, false) => PushOutcome::Again(left),
        }
    }

    /// There is not enough room for all: those who do not wait are told, unless there is room for them alone.
    async fn make_room(&self, session: &Arc<Session>, batch: Vec<Push>, seen: Bound, needed: u64) -> PushOutcome {
        // What is known may be outdated.
        match self.load_level(session).await {
            Ok(level) if level.bound != Some(seen) => return PushOutcome::Again(batch),
            Ok(_) => {}
            Err(Interrupted::Lost(_)) => return PushOutcome::Again(batch),
            Err(Interrupted::Failed(error)) => return refuse(batch, &error),
        }
        if batch.len() > 1 {
            return self.push_each(session, batch).await;
        }
        let mut waiting = Vec::new();
        for mut push in batch {
            let path = self.path().to_owned();
            let (items, capacity) = (needed, seen.capacity);
            if items > capacity {
                push.answer(Err(PushError::NeverFits { path, items, capacity }));
            } else if push.waits {
                debug!(queue = path, items, "the queue is full; waiting");
                push.needed = needed;
                waiting.push(push);
            } else {
                push.answer(Err(PushError::QueueFull { path, capacity }));
            }
        }
        if waiting.is_empty() {
            PushOutcome::Pushed
        } else {
            PushOutcome::Full(waiting)
        }
    }

    /// Waits until the first of those who wait finds room, or has gone, or until somebody comes who does not wait.
    async fn until_room(
        &self,
        session: &Arc<Session>,
        waiting: &mut VecDeque<Push>,
        incoming: &mut mpsc::UnboundedReceiver<Push>,
    ) {
        let Some(first) = waiting.front_mut() else { return };
        let needed = first.needed;
        tokio::select! {
            () = first.reply.closed() => {}
            () = self.room(session, needed) => {}
            Some(push) = incoming.recv() => {
                // It goes ahead only if it does not wait, and then to be told at once.
                match push.waits {
                    true => waiting.push_back(push),
                    false => waiting.push_front(push),
                }
            }
        }
    }

    /// Waits until there is room for so many items, or the session ends.
    async fn room(&self, session: &Arc<Session>, needed: u64) {
        loop {
            let watched = read_and_watch(session, self.path()).await;
            let Ok(Some((data, stat, watch))) = watched else { return };
            let mut watch: NodeWatch = watch;
            let level = Level::parse(&data, stat.version);
            if level
                .and_then(|level| level.bound)
                .is_none_or(|bound| bound.room() >= needed)
            {
                return;
            }
            watch.changed().await;
            if session.end_reason().is_some() {
                return;
            }
        }
    }
}

fn refuse(batch: Vec<Push>, error: &Error) -> PushOutcome {
    batch
        .into_iter()
        .for_each(|push| push.answer(Err(error.clone().into())));
    PushOutcome::Pushed
}

/// The longest idempotency key, in bytes.
const KEY_LIMIT: usize = 512;

/// The largest item, in bytes: what fits into a node and into every transaction that moves it.
pub(super) const ITEM_LIMIT: usize = 1_000_000;

/// Refuses what cannot be pushed, before anything is sent.
pub(super) fn check_items(path: &str, items: &[NewItem]) -> Result<(), PushError> {
    for item in items {
        if let Some(key) = &item.options.key {
            let size = key.len();
            if !(1..=KEY_LIMIT).contains(&size) {
                let limit = KEY_LIMIT;
                return Err(PushError::InvalidKey { size, limit });
            }
        }
        let size = item.payload.len();
        if size > ITEM_LIMIT {
            let (path, limit) = (path.to_owned(), ITEM_LIMIT);
            return Err(Error::TooLarge { path, size, limit }.into());
        }
    }
    Ok(())
}
