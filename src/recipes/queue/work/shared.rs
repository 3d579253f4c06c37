//! [`QueueInner`]: what all handles and tasks of one queue have in common, and how its transactions are committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, trace};
use zookeeper_client as zk;

use super::draft::{Draft, Drafted, Known, Role};
use super::layout::{BLOCK, Lane, QueuePaths, SegmentName};
use super::level::{Bound, Level};
use super::options::Settings;
use crate::error::Error;
use crate::line::{ContenderNames, Line};
use crate::session::{Coordinator, Interrupted, Operation, Retry, Session};
use crate::znode::{LedgerOutcome, Ledgers, NodePath, Parents, Receipt, Transaction, commit, ensure_path, read, stat};

/// After this time the ensemble's clock is asked for again.
const CLOCK_AGE: Duration = Duration::from_secs(60);

/// How many lanes are remembered; the others are asked for again.
const LANES: usize = 1024;

/// One queue as this process sees it.
#[derive(Debug)]
pub(super) struct QueueInner {
    pub(super) zk: Coordinator,
    pub(super) layout: QueuePaths,
    pub(super) settings: Settings,
    pub(super) line: Line,
    ledgers: Ledgers,
    seen: Mutex<SeenHeader>,
}

/// What was seen of the queue. All of it may be outdated; transactions check what they rely on.
#[derive(Debug, Default)]
struct SeenHeader {
    tails: HashMap<Lane, i32>,
    heads: HashMap<Lane, i32>,
    level: Option<Level>,
    clock: Option<(Instant, i64)>,
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Committed<T> {
    /// It was committed: what the draft made of it, and the receipt.
    Done(T, Receipt),
    /// Nothing was done, because of the step with this role.
    Refused(Role, zk::Error),
    /// The session ended before an answer came: all or nothing was done.
    Indeterminate(T),
}

impl QueueInner {
    pub(super) fn new(zk: Coordinator, path: NodePath, settings: Settings) -> Self {
        let line = Line::new(zk.clone(), path.descendant("consumers"), ContenderNames::CURATOR_LOCK);
        Self {
            zk,
            ledgers: Ledgers::new(path.descendant("ledgers")),
            layout: QueuePaths::new(path),
            settings,
            line,
            seen: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &str {
        self.layout.root().as_str()
    }

    /// Commits what `write` drafts, exactly once. It is drafted anew, maybe several times, while what it relies on
    /// turns out to be outdated.
    pub(super) async fn commit<T>(
        &self,
        session: &Arc<Session>,
        mut write: impl FnMut(&mut Draft<'_>) -> Result<T, Interrupted>,
    ) -> Result<Committed<T>, Interrupted> {
        // First of all, so that nothing is put below a node that is somebody else's.
        self.level(session).await?;
        let now = self.now(session).await?;
        loop {
            let level = self.level(session).await?;
            let drafted = {
                let seen = self.seen();
                let known = Known {
                    layout: &self.layout,
                    tails: &seen.tails,
                    level,
                    now,
                };
                let mut draft = Draft::new(known);
                let value = write(&mut draft)?;
                (draft.finish(), value)
            };
            let (steps, bound, value) = match drafted {
                (Drafted::Complete(steps, bound), value) => (steps, bound, value),
                (Drafted::Missing(lanes), _) => {
                    for lane in lanes {
                        self.find_tail(session, lane).await?;
                    }
                    continue;
                }
            };
            let size = steps.iter().map(|(operation, _)| operation.size()).sum();
            self.zk.check_transaction_size(self.path(), size)?;
            let operations: Vec<_> = steps.iter().map(|(operation, _)| operation.clone()).collect();
            let entry = self.ledgers.commit(session, self.path(), &operations);
            match entry.await? {
                LedgerOutcome::Committed(receipt) => {
                    self.committed(session, &steps, level, bound, &receipt).await;
                    return Ok(Committed::Done(value, receipt));
                }
                LedgerOutcome::Indeterminate { ledger } => {
                    debug!(
                        queue = self.path(),
                        ledger, "the session ended before a transaction was answered"
                    );
                    return Ok(Committed::Indeterminate(value));
                }
                LedgerOutcome::Refused(index, source) => {
                    let Some((operation, role)) = steps.get(index) else {
                        return Err(Error::from_answer(self.path(), source).into());
                    };
                    trace!(queue = self.path(), path = operation.path(), ?role, error = %source, "refused");
                    if !self.repair(session, operation, *role, &source).await? {
                        return Ok(Committed::Refused(*role, source));
                    }
                }
            }
        }
    }

    /// Finds out anew what a refused step relied on; false if that is for the caller to do.
    async fn repair(
        &self,
        session: &Arc<Session>,
        operation: &Operation,
        role: Role,
        source: &zk::Error,
    ) -> Result<bool, Interrupted> {
        match (role, source) {
            (Role::Tail(lane), zk::Error::NoNode | zk::Error::BadVersion) => {
                self.find_tail(session, lane).await?;
            }
            (Role::Segment(lane), zk::Error::NoNode) => {
                let tail = self.seen().tails.get(&lane).copied().unwrap_or_default();
                ensure_path(session, &self.layout.block(lane, tail), Parents::Containers).await?;
            }
            (Role::Level, zk::Error::NoNode | zk::Error::BadVersion) => {
                self.seen().level = None;
            }
            (_, zk::Error::NoNode) if matches!(operation, Operation::Create { .. }) => {
                let path = NodePath::new(operation.path())?;
                if let Some(directory) = path.parent() {
                    ensure_path(session, &directory, Parents::Containers).await?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Remembers what a committed transaction tells.
    async fn committed(
        &self,
        session: &Arc<Session>,
        steps: &[(Operation, Role)],
        before: Level,
        bound: Option<Bound>,
        receipt: &Receipt,
    ) {
        let mut full = Vec::new();
        {
            let mut seen = self.seen();
            seen.clock = Some((Instant::now(), receipt.ledger.mtime));
            if seen.tails.len() > LANES {
                seen.tails.clear();
            }
            if steps.iter().any(|(_, role)| *role == Role::Level) {
                seen.level = Some(Level {
                    bound,
                    version: before.version.wrapping_add(1),
                });
            }
            for ((_, role), result) in steps.iter().zip(&receipt.results) {
                if let (Role::Segment(lane), zk::MultiWriteResult::Create { path, .. }) = (role, result) {
                    let name = path.rsplit('/').next().and_then(SegmentName::parse);
                    if name.is_some_and(|name| name.sequence.is_at_least(BLOCK)) && !full.contains(lane) {
                        full.push(*lane);
                    }
                }
            }
        }
        for lane in full {
            if let Err(error) = self.begin_block(session, lane).await {
                debug!(queue = self.path(), ?lane, ?error, "the next block is begun later");
            }
        }
    }

    /// Begins the next block of a lane, unless somebody else did.
    async fn begin_block(&self, session: &Arc<Session>, lane: Lane) -> Result<(), Interrupted> {
        let Some(tail) = self.seen().tails.get(&lane).copied() else {
            return Ok(());
        };
        let (path, next) = (self.layout.lane(lane), tail.wrapping_add(1));
        ensure_path(session, &self.layout.block(lane, next), Parents::Containers).await?;
        let mut retry = Retry::new(session, path.as_str(), 0);
        match commit(
            &mut retry,
            session,
            &[Operation::set_data(path.as_str(), Vec::new(), tail)],
        )
        .await?
        {
            Transaction::Applied(_) => {
                self.seen().tails.insert(lane, next);
                Ok(())
            }
            _ => self.find_tail(session, lane).await,
        }
    }

    /// Looks where a lane ends, and makes it if there is none.
    async fn find_tail(&self, session: &Arc<Session>, lane: Lane) -> Result<(), Interrupted> {
        let tail = match stat(session, self.layout.lane(lane).as_str()).await? {
            Some(stat) => stat.version,
            // If somebody else makes it and goes on to another block, this turns out in the transaction.
            None => {
                ensure_path(session, &self.layout.block(lane, 0), Parents::Containers).await?;
                0
            }
        };
        self.seen().tails.insert(lane, tail);
        Ok(())
    }

    /// The ensemble's clock, in milliseconds; about a link's delay behind.
    pub(super) async fn now(&self, session: &Arc<Session>) -> Result<i64, Interrupted> {
        // Nothing is put below a node that is no queue.
        self.level(session).await?;
        loop {
            if let Some(now) = self.clock() {
                return Ok(now);
            }
            match self.ledgers.commit(session, self.path(), &[]).await? {
                LedgerOutcome::Committed(receipt) => self.seen().clock = Some((Instant::now(), receipt.ledger.mtime)),
                LedgerOutcome::Refused(_, source) => return Err(Error::from_answer(self.path(), source).into()),
                LedgerOutcome::Indeterminate { .. } => {}
            }
            if let Some(reason) = session.end_reason() {
                return Err(crate::session::Lost::because(reason).into());
            }
        }
    }

    fn clock(&self) -> Option<i64> {
        let (at, time) = self.seen().clock?;
        let age = at.elapsed();
        let passed = i64::try_from(age.as_millis()).ok()?;
        (age < CLOCK_AGE).then_some(time + passed)
    }

    /// What the queue's node says, as far as is known; it is made if there is none.
    pub(super) async fn level(&self, session: &Arc<Session>) -> Result<Level, Interrupted> {
        let known = self.seen().level;
        match known {
            Some(level) => Ok(level),
            None => self.load_level(session).await,
        }
    }

    /// Asks what the queue's node says, and makes it if there is none.
    pub(super) async fn load_level(&self, session: &Arc<Session>) -> Result<Level, Interrupted> {
        let path = self.path();
        let mut retry = Retry::new(session, path, 0);
        let first = Level::data(self.settings.capacity.map(|capacity| Bound { capacity, items: 0 }));
        loop {
            let Some((data, stat)) = read(session, path).await? else {
                self.make_root(session, &first).await?;
                continue;
            };
            let empty = data.is_empty();
            let level = match Level::parse(&data, stat.version) {
                Some(level) => level,
                None if empty => {
                    // A directory that somebody made for it.
                    let step = Operation::set_data(path, first.clone(), stat.version);
                    match commit(&mut retry, session, &[step]).await? {
                        Transaction::Refused(_, source)
                            if !matches!(source, zk::Error::BadVersion | zk::Error::NoNode) =>
                        {
                            return Err(Error::from_answer(path, source).into());
                        }
                        _ => continue,
                    }
                }
                None => {
                    let reason = "it holds something else than a work queue of this crate; choose another path";
                    let path = path.to_owned();
                    return Err(Error::Layout { path, reason }.into());
                }
            };
            level.check(path, self.settings.capacity)?;
            self.seen().level = Some(level);
            return Ok(level);
        }
    }

    async fn make_root(&self, session: &Arc<Session>, data: &[u8]) -> Result<(), Interrupted> {
        let path = self.path();
        let mut retry = Retry::new(session, path, 0);
        let mut mode = zk::CreateMode::Container;
        loop {
            match commit(&mut retry, session, &[Operation::create(path, data.to_vec(), mode)]).await? {
                Transaction::Refused(_, zk::Error::Unimplemented) if mode == zk::CreateMode::Container => {
                    mode = zk::CreateMode::Persistent;
                }
                Transaction::Refused(_, zk::Error::NoNode) if self.layout.root().parent().is_some() => {
                    if let Some(above) = self.layout.root().parent() {
                        ensure_path(session, &above, Parents::Containers).await?;
                    }
                }
                Transaction::Refused(_, source)
                    if !matches!(source, zk::Error::NodeExists | zk::Error::NoNode)
                        // Right below a chroot that does not exist any more.
                        || (source == zk::Error::NoNode && self.layout.root().parent().is_none()) =>
                {
                    return Err(Error::from_answer(path, source).into());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Which block of a lane was the first one that held something.
    pub(super) fn head(&self, lane: Lane) -> Option<i32> {
        self.seen().heads.get(&lane).copied()
    }

    /// The head of the most urgent priority of which one is known.
    pub(super) fn first_head(&self) -> Option<(Lane, i32)> {
        let seen = self.seen();
        let first = seen.heads.iter().min_by_key(|(lane, _)| **lane);
        first.map(|(lane, block)| (*lane, *block))
    }

    /// Forgets the heads of priorities that are not there any more: if they come back, they begin anew.
    pub(super) fn keep_heads(&self, priorities: &[u8]) {
        let is_there = |lane: &Lane| matches!(lane, Lane::Ready(priority) if priorities.contains(priority));
        self.seen().heads.retain(|lane, _| is_there(lane));
    }

    pub(super) fn set_head(&self, lane: Lane, block: i32) {
        self.seen().heads.insert(lane, block);
    }

    pub(super) fn forget_head(&self, lane: Lane) {
        self.seen().heads.remove(&lane);
    }

    fn seen(&self) -> MutexGuard<'_, SeenHeader> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
