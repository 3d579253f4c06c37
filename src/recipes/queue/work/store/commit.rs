//! Sending transactions, exactly once each, and finding out what they relied on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, trace};
use zookeeper_client as zk;

use super::draft::{Draft, Drafted, Knowledge, Role};
use super::paths::{BLOCK, Lane};
use super::records::Level;
use super::turnover::{ItemCounts, TurnoverRecord};
use super::{Header, LANES, Store};
use crate::error::Error;
use crate::metrics;
use crate::session::{Interrupted, Operation, Retry, Session};
use crate::znode::{LedgerOutcome, NodePath, Parents, Receipt, Sequence, Transaction, ensure_path, list};

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Committed<T> {
    /// It was committed: what the draft made of it, and the receipt.
    Done(T, Receipt),
    /// Nothing was done, because of the step with this role.
    Refused(Role, zk::Error),
    /// Nothing was done, because the queue is paused.
    Paused,
    /// The session ended before an answer came: all or nothing was done.
    Indeterminate(T),
}

impl Store {
    /// Commits what `write` drafts, exactly once. It is drafted again while what it relies on turns out to be outdated.
    pub(crate) async fn commit<T>(
        &self,
        session: &Arc<Session>,
        mut write: impl FnMut(&mut Draft<'_>) -> T,
    ) -> Result<Committed<T>, Interrupted> {
        // First of all, so that nothing is put below a node that is no queue.
        let mut header = self.header(session).await?;
        let now = self.now(session).await?;
        let mut retry = Retry::new(session, self.path(), 0);
        loop {
            let (drafted, value) = self.draft(&header, now, &mut write);
            let (steps, level, counts) = match drafted {
                Drafted::Complete { steps, level, counts } => (steps, level, counts),
                Drafted::Paused => return Ok(Committed::Paused),
                Drafted::Missing(lanes) => {
                    for lane in lanes {
                        self.find_tail(session, lane).await?;
                    }
                    continue;
                }
            };
            let sent = Instant::now();
            match self.send(session, &steps, counts).await? {
                LedgerOutcome::Committed(receipt) => {
                    self.turned_over(counts);
                    self.count_dead_letters(&steps);
                    self.committed(session, &steps, level, &receipt, sent).await;
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
                    if !self.repair(session, &steps, index, &source).await? {
                        return Ok(Committed::Refused(*role, source));
                    }
                    if source == zk::Error::BadVersion && *role == Role::Level {
                        retry.raced().await?;
                    }
                    header = self.header(session).await?;
                }
            }
        }
    }

    fn draft<T>(&self, header: &Header, now: i64, write: &mut impl FnMut(&mut Draft<'_>) -> T) -> (Drafted, T) {
        let seen = self.seen();
        let known = Knowledge {
            layout: &self.layout,
            tails: &seen.tails,
            header,
            level: seen.level,
            now,
        };
        let mut draft = Draft::new(known);
        let value = write(&mut draft);
        (draft.finish(), value)
    }

    /// Sends a transaction that pushes and ends so many items.
    async fn send(
        &self,
        session: &Arc<Session>,
        steps: &[(Operation, Role)],
        counts: ItemCounts,
    ) -> Result<LedgerOutcome, Interrupted> {
        let steps: Vec<Operation> = steps.iter().map(|(step, _)| step.clone()).collect();
        let data = self.turnover(counts).encode();
        self.ledgers.commit_with(session, self.path(), data, &steps).await
    }

    /// What this handle has pushed and ended, with so many items more.
    fn turnover(&self, counts: ItemCounts) -> TurnoverRecord {
        let now = self.clock();
        let seen = self.seen();
        now.map_or(seen.turnover, |now| seen.turnover.with(now, counts))
    }

    fn turned_over(&self, counts: ItemCounts) {
        let now = self.clock();
        let mut seen = self.seen();
        if let Some(now) = now {
            seen.turnover = seen.turnover.with(now, counts);
        }
    }

    /// Counts the dead letters of a transaction.
    fn count_dead_letters(&self, steps: &[(Operation, Role)]) {
        let dead = self.layout.directory("dead");
        let is_letter = |operation: &Operation| match operation {
            Operation::Create(path, ..) => path.starts_with(dead.as_str()),
            _ => false,
        };
        let letters = steps.iter().filter(|(operation, _)| is_letter(operation)).count();
        if letters > 0 {
            let by = u64::try_from(letters).unwrap_or(u64::MAX);
            metrics::count(metrics::QUEUE_DEAD_LETTERS, Some(self.zk.metrics_name()), &[], by);
        }
    }

    /// Asks for the ensemble's clock.
    pub(crate) async fn tick(&self, session: &Arc<Session>) -> Result<(), Interrupted> {
        let sent = Instant::now();
        match self.send(session, &[], ItemCounts::default()).await? {
            LedgerOutcome::Committed(receipt) => {
                self.set_clock(receipt.ledger.mtime, sent);
                Ok(())
            }
            LedgerOutcome::Refused(_, source) => Err(Error::from_answer(self.path(), source).into()),
            LedgerOutcome::Indeterminate { .. } => Ok(()),
        }
    }

    /// Finds out again what a refused step relied on; false if that is for the caller to do.
    async fn repair(
        &self,
        session: &Arc<Session>,
        steps: &[(Operation, Role)],
        index: usize,
        source: &zk::Error,
    ) -> Result<bool, Interrupted> {
        let Some((operation, role)) = steps.get(index) else {
            return Ok(false);
        };
        let is_gone = *source == zk::Error::NoNode;
        let is_changed = is_gone || *source == zk::Error::BadVersion;
        match role {
            Role::Header if is_changed => {
                self.load_header(session).await?;
            }
            Role::Tail(lane @ Lane::Ready(_)) if is_changed => self.find_tail(session, *lane).await?,
            Role::Tail(lane) if is_gone => self.forget_tail(*lane),
            Role::Tail(lane) if is_changed => self.find_tail(session, *lane).await?,
            Role::NewLane(lane) if *source == zk::Error::NodeExists => self.find_tail(session, *lane).await?,
            Role::NewLane(lane) if is_gone => {
                self.load_header(session).await?;
                if let Some(above) = self.layout.lane(*lane).parent() {
                    ensure_path(session, &above, Parents::Persistent).await?;
                }
            }
            Role::Into(lane) if is_gone => {
                self.load_header(session).await?;
                let block = NodePath::new(operation.path())?.parent();
                self.find_tail(session, *lane).await?;
                let is_there = self.seen().tails.contains_key(lane);
                if let Some(block) = block.filter(|_| is_there) {
                    ensure_path(session, &block, Parents::Persistent).await?;
                }
            }
            Role::Bell if is_gone => {
                self.load_header(session).await?;
                ensure_path(session, &NodePath::new(&self.layout.bell())?, Parents::Persistent).await?;
            }
            Role::Level if is_changed => {
                self.load_level(session).await?;
            }
            Role::Key | Role::Other if is_gone && matches!(operation, Operation::Create(..)) => {
                self.load_header(session).await?;
                self.make_directories(session, steps).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes the directories that the nodes of a transaction lack: one list and one transaction for each of their parents.
    async fn make_directories(&self, session: &Arc<Session>, steps: &[(Operation, Role)]) -> Result<(), Interrupted> {
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (operation, role) in steps {
            if let (Operation::Create(path, ..), Role::Key | Role::Other) = (operation, role) {
                let mut parts = path.rsplitn(3, '/').skip(1);
                if let (Some(name), Some(above)) = (parts.next(), parts.next()) {
                    let names = wanted.entry(above.to_owned()).or_default();
                    if !names.iter().any(|known| known == name) {
                        names.push(name.to_owned());
                    }
                }
            }
        }
        for (above, names) in wanted {
            let above = NodePath::new(&above)?;
            let there = list(session, &above).await?;
            if there.is_empty() {
                ensure_path(session, &above, Parents::Persistent).await?;
            }
            let create =
                |name: &String| Operation::Create(above.child(name), bytes::Bytes::new(), zk::CreateMode::Persistent);
            let steps: Vec<Operation> = names.iter().filter(|name| !there.contains(name)).map(create).collect();
            // A refusal means that another makes one of them: then each is made alone.
            if !steps.is_empty() && matches!(self.transact(session, &steps).await?, Transaction::Refused(..)) {
                for step in steps {
                    ensure_path(session, &NodePath::new(step.path())?, Parents::Persistent).await?;
                }
            }
        }
        Ok(())
    }

    /// Remembers what a committed transaction tells.
    async fn committed(
        &self,
        session: &Arc<Session>,
        steps: &[(Operation, Role)],
        level: Option<(Level, i32)>,
        receipt: &Receipt,
        sent: Instant,
    ) {
        // A reply that was lost tells an old time.
        if !receipt.results.is_empty() {
            self.set_clock(receipt.ledger.mtime, sent);
        }
        let mut full = Vec::new();
        {
            let mut seen = self.seen();
            if seen.tails.len() > LANES {
                seen.tails.clear();
            }
            if let Some(written) = level {
                seen.wrote_level(written);
            }
            for (_, role) in steps {
                if let Role::NewLane(lane) = role {
                    seen.tails.insert(*lane, 0);
                }
            }
            for ((_, role), result) in steps.iter().zip(&receipt.results) {
                if let (Role::Into(lane), zk::MultiWriteResult::Create { path, .. }) = (role, result) {
                    let name = path.rsplit('/').next().unwrap_or_default();
                    if is_last(name) && !full.contains(lane) {
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

    /// Begins the next block of a lane, unless another did.
    async fn begin_block(&self, session: &Arc<Session>, lane: Lane) -> Result<(), Interrupted> {
        let Some(tail) = self.seen().tails.get(&lane).copied() else {
            return Ok(());
        };
        let (path, next) = (self.layout.lane(lane), tail.wrapping_add(1));
        let (data, mode) = (bytes::Bytes::new(), zk::CreateMode::Persistent);
        let set = Operation::SetData(path.as_str().to_owned(), data.clone(), Some(tail));
        let create = Operation::Create(path.child(&next.to_string()), data, mode);
        match self.transact(session, &[set, create]).await? {
            Transaction::Applied(_) => {
                self.seen().tails.insert(lane, next);
                Ok(())
            }
            _ => self.find_tail(session, lane).await,
        }
    }
}

/// Whether the node with this name is so far behind in its block that the next one is due.
fn is_last(name: &str) -> bool {
    let sequence = name.rsplit('-').next().and_then(Sequence::parse);
    sequence.is_some_and(|sequence| sequence.is_at_least(BLOCK))
}
