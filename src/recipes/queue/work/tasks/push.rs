//! Pushing: whatever is pushed while a transaction is under way goes into the next one.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, trace};
use zookeeper_client as zk;

use super::super::errors::PushError;
use super::super::store::{Committed, ItemId, Level, NewEntry, OVERHEAD, Role, Store};
use super::keys::Batch;
use super::room::ProducerLine;
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::sync;

/// How many items are pushed in one transaction, and how many bytes it carries, about; more if one push has more.
const PUSHED_ITEMS: usize = 1024;
const PUSHED_BYTES: usize = 256 * 1024;

/// Items that belong into one transaction.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) entries: Vec<NewEntry>,
    /// Whether it waits while the queue is full.
    pub(crate) waits: bool,
    /// The ids that the items have if an earlier transaction was committed, of which that is not known.
    pub(crate) doubtful: Option<Vec<ItemId>>,
    /// For how many items it needs room; fewer than it has if some were pushed before.
    pub(crate) needed: u64,
    pub(crate) reply: oneshot::Sender<Result<Vec<ItemId>, PushError>>,
}

impl Push {
    fn size(&self) -> usize {
        let size =
            |entry: &NewEntry| OVERHEAD + entry.payload.len() + entry.key.as_ref().map_or(0, |key| key.len() + 400);
        self.entries.iter().map(size).sum()
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
enum Pushed {
    Answered,
    /// The queue is full: they wait, but for those that do not.
    Full(Vec<Push>),
    Again(Vec<Push>),
}

/// Pushes what comes, in the order in which it comes, until nothing more can come.
pub(crate) async fn push_all(store: Arc<Store>, mut incoming: mpsc::UnboundedReceiver<Push>) {
    let mut waiting = VecDeque::new();
    let (mut room, mut full) = (ProducerLine::new(&store), false);
    loop {
        if waiting.is_empty() {
            room.leave();
            match incoming.recv().await {
                Some(push) => waiting.push_back(push),
                None => return,
            }
        }
        while let Ok(push) = incoming.try_recv() {
            waiting.push_back(push);
        }
        if std::mem::take(&mut full) {
            // A push that does not wait is told at once.
            waiting.make_contiguous().sort_by_key(|push: &Push| push.waits);
        }
        // A caller that has gone in the meantime does not push.
        waiting.retain(|push: &Push| !push.reply.is_closed());
        let batch = next_batch(&mut waiting);
        if batch.is_empty() {
            continue;
        }
        let session = match store.zk.session().await {
            Ok(session) => session,
            Err(error) => {
                batch
                    .into_iter()
                    .for_each(|push| push.answer(Err(error.clone().into())));
                continue;
            }
        };
        match push_in(&store, &session, batch).await {
            // The next in line has its turn.
            Pushed::Answered => room.leave(),
            Pushed::Again(batch) => batch.into_iter().rev().for_each(|push| waiting.push_front(push)),
            Pushed::Full(batch) => {
                batch.into_iter().rev().for_each(|push| waiting.push_front(push));
                full = true;
                until_room(&mut room, &session, &mut waiting, &mut incoming).await;
            }
        }
    }
}

fn next_batch(waiting: &mut VecDeque<Push>) -> Vec<Push> {
    let mut batch = Vec::new();
    let (mut items, mut size) = (0, 0);
    while let Some(push) = waiting.pop_front() {
        items += push.entries.len();
        size += push.size();
        if !batch.is_empty() && (items > PUSHED_ITEMS || size > PUSHED_BYTES) {
            waiting.push_front(push);
            break;
        }
        batch.push(push);
    }
    batch
}

async fn push_in(store: &Store, session: &Arc<Session>, batch: Vec<Push>) -> Pushed {
    let mut entries = Batch::new(batch.iter().flat_map(|push| &push.entries));
    let mut looked_up = false;
    loop {
        let mut full = None;
        let committed = store.commit(session, |draft| {
            let new: Vec<_> = entries.new_entries().collect();
            let needed = u64::try_from(new.len()).unwrap_or(u64::MAX);
            full = draft
                .known
                .level
                .map(|(level, _)| level)
                .filter(|level| level.room() < needed);
            match full {
                Some(_) => Vec::new(),
                None => draft.push(new),
            }
        });
        let committed = committed.await;
        if let Some(level) = full {
            // What was pushed before needs no room.
            if !looked_up && entries.has_new_keys() {
                looked_up = true;
                let looked = async {
                    sync(session, store.path()).await?;
                    entries.look_up(store, session).await
                };
                match looked.await {
                    Ok(()) => continue,
                    Err(error) => return interrupted(store, session, batch, error).await,
                }
            }
            let needed = u64::try_from(entries.new_entries().count()).unwrap_or(u64::MAX);
            return make_room(store, session, batch, level, needed).await;
        }
        match committed {
            Ok(Committed::Done(ids, _)) => {
                let ids = entries.with_new(ids);
                trace!(queue = store.path(), items = ids.len(), pushes = batch.len(), "pushed");
                let mut ids = ids.into_iter();
                for push in batch {
                    let ids = ids.by_ref().take(push.entries.len()).collect();
                    push.answer(Ok(ids));
                }
                return Pushed::Answered;
            }
            Ok(Committed::Refused(Role::Key, zk::Error::NodeExists)) => {
                if let Err(error) = entries.look_up(store, session).await {
                    return interrupted(store, session, batch, error).await;
                }
            }
            Ok(Committed::Refused(_, error)) => {
                let error = Error::from_answer(store.path(), error);
                return push_each_or_refuse(store, session, batch, &error).await;
            }
            Ok(Committed::Paused) => return Pushed::Again(batch),
            Ok(Committed::Indeterminate(ids)) => {
                debug!(queue = store.path(), "not known what was pushed");
                return in_doubt(batch, entries.with_new(ids));
            }
            Err(error) => return interrupted(store, session, batch, error).await,
        }
    }
}

/// What has keys is pushed again, since these tell in the next session whether it was.
fn in_doubt(batch: Vec<Push>, ids: Vec<ItemId>) -> Pushed {
    let mut ids = ids.into_iter();
    let mut again = Vec::new();
    for mut push in batch {
        let ids: Vec<_> = ids.by_ref().take(push.entries.len()).collect();
        if push.entries.iter().all(|entry| entry.key.is_some()) {
            push.doubtful = Some(ids);
            again.push(push);
        } else {
            push.answer(Err(PushError::Indeterminate { ids }));
        }
    }
    Pushed::Again(again)
}

async fn interrupted(store: &Store, session: &Arc<Session>, batch: Vec<Push>, error: Interrupted) -> Pushed {
    match error {
        Interrupted::Lost(_) => Pushed::Again(batch),
        Interrupted::Failed(error) => {
            let error = store.zk.ended().unwrap_or(error);
            push_each_or_refuse(store, session, batch, &error).await
        }
    }
}

/// What cannot be pushed together may be pushed alone, and what cannot be pushed takes nothing else with it.
async fn push_each_or_refuse(store: &Store, session: &Arc<Session>, batch: Vec<Push>, error: &Error) -> Pushed {
    if batch.len() == 1 {
        return refuse(batch, error);
    }
    debug!(queue = store.path(), %error, "pushing one by one");
    push_each(store, session, batch).await
}

/// Pushes one by one, in order: a push does not overtake one that waits.
async fn push_each(store: &Store, session: &Arc<Session>, batch: Vec<Push>) -> Pushed {
    let (mut left, mut all_full) = (Vec::new(), true);
    for push in batch {
        if !left.is_empty() && push.waits {
            left.push(push);
            continue;
        }
        match Box::pin(push_in(store, session, vec![push])).await {
            Pushed::Answered => {}
            Pushed::Full(pushes) => left.extend(pushes),
            Pushed::Again(pushes) => {
                all_full = false;
                left.extend(pushes);
            }
        }
    }
    match (left.is_empty(), all_full) {
        (true, _) => Pushed::Answered,
        (false, true) => Pushed::Full(left),
        // Those that do not wait are not left with those that do.
        (false, false) => Pushed::Again(left),
    }
}

/// There is not enough room for all: those that do not wait are told, unless there is room for them alone.
async fn make_room(store: &Store, session: &Arc<Session>, batch: Vec<Push>, seen: Level, needed: u64) -> Pushed {
    // What is known may be outdated.
    match store.load_level(session).await {
        Ok(level) if level.map(|(level, _)| level) != Some(seen) => return Pushed::Again(batch),
        Ok(_) => {}
        Err(Interrupted::Lost(_)) => return Pushed::Again(batch),
        Err(Interrupted::Failed(error)) => return refuse(batch, &error),
    }
    if batch.len() > 1 {
        return push_each(store, session, batch).await;
    }
    let mut waiting = Vec::new();
    for mut push in batch {
        let path = store.path().to_owned();
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
        Pushed::Answered
    } else {
        Pushed::Full(waiting)
    }
}

/// Waits until the first of those that wait finds room, or has gone, or until one comes that does not wait. The first is
/// told if this process may not stand in line.
async fn until_room(
    room: &mut ProducerLine,
    session: &Arc<Session>,
    waiting: &mut VecDeque<Push>,
    incoming: &mut mpsc::UnboundedReceiver<Push>,
) {
    let Some(first) = waiting.front_mut() else { return };
    let needed = first.needed;
    let refused = tokio::select! {
        () = first.reply.closed() => None,
        waited = room.wait(session, needed) => waited.err(),
        Some(push) = incoming.recv() => {
            // It goes ahead only if it does not wait, and then to be told at once.
            match push.waits {
                true => waiting.push_back(push),
                false => waiting.push_front(push),
            }
            None
        }
    };
    if let (Some(error), Some(push)) = (&refused, refused.as_ref().and_then(|_| waiting.pop_front())) {
        // An error means that the caller is gone.
        let _ = push.reply.send(Err(error.clone().into()));
    }
}

fn refuse(batch: Vec<Push>, error: &Error) -> Pushed {
    batch
        .into_iter()
        .for_each(|push| push.answer(Err(error.clone().into())));
    Pushed::Answered
}

/// The longest idempotency key and the longest key of a group, in bytes.
const KEY_LIMIT: usize = 512;

/// The largest item, in bytes: what fits into a node and into every transaction that moves it.
pub(crate) const ITEM_LIMIT: usize = 1_000_000;

/// Refuses what cannot be pushed, before anything is sent.
pub(crate) fn check_entries(path: &str, entries: &[NewEntry]) -> Result<(), PushError> {
    for entry in entries {
        for key in entry.key.iter().chain(&entry.group) {
            let size = key.len();
            if !(1..=KEY_LIMIT).contains(&size) {
                return Err(PushError::InvalidKey { size, limit: KEY_LIMIT });
            }
        }
        if entry.group.is_some() && !entry.delay.is_zero() {
            return Err(PushError::DelayedGroup);
        }
        let size = entry.payload.len();
        if size > ITEM_LIMIT {
            let (path, limit) = (path.to_owned(), ITEM_LIMIT);
            return Err(Error::TooLarge { path, size, limit }.into());
        }
    }
    Ok(())
}
