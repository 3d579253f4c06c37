//! Rank: which candidate should lead, and how a leader of lower rank makes way.
//!
//! The order of the line stays. A leader says that it *leads*, and after the hold-down that it is *open*; a waiting
//! candidate of higher rank then *asks*, so that only one that lives does. The candidates of lower rank ahead of it step
//! back behind it, and the leader resigns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, info};

use super::LeaderElection;
use super::marks::{MarkKind, Marks, RankMark, name_of};
use crate::session::{CleanupToken, Interrupted, Session, lock};
use crate::znode::{Hold, NamedEphemeral};

/// By how much the hold-down grows at most: two to this power.
const MOST_DOUBLINGS: u32 = 6;

/// What makes a candidate preferred, and how fast it may take over.
#[derive(Clone, Copy, Debug)]
pub(super) struct RankOptions {
    pub(super) rank: Option<u32>,
    pub(super) grace: Duration,
    pub(super) hold_down: Duration,
}

/// The rank of member `id` in the election at `path`: rendezvous hashing, where the member of the highest rank leads.
pub(super) fn spread_rank(path: &str, id: &str) -> u32 {
    // FNV-1a, then the finalizer of splitmix64, since names differ in their last letters. It is written here because all
    // versions of all processes have to agree on it.
    let bytes = path.bytes().chain([0]).chain(id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((hash ^ (hash >> 31)) >> 32).unwrap_or(u32::MAX)
}

/// What a candidate has seen of leaders of higher rank, for the hold-down.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    /// The leader of higher rank that was seen last, and since when.
    leader: Option<(String, Instant)>,
    /// Whether no other leader was seen after it.
    was_last: bool,
    /// How many of them in sequence led for less than the hold-down.
    short_terms: u32,
}

impl Flaps {
    /// Notes the leader: whether it is of higher rank, and which.
    fn saw(&mut self, leader: Option<(&str, bool)>, hold_down: Duration) {
        let higher = leader.filter(|(_, is_higher)| *is_higher).map(|(name, _)| name);
        if let Some((known, since)) = &self.leader {
            if higher != Some(known.as_str()) && leader.is_some() {
                self.ended(since.elapsed(), hold_down);
            }
        }
        match (leader, higher) {
            (_, Some(name)) if self.leader.is_none() => {
                self.leader = Some((name.to_owned(), Instant::now()));
                self.was_last = true;
            }
            (Some(_), None) => self.was_last = false,
            _ => {}
        }
    }

    fn ended(&mut self, lasted: Duration, hold_down: Duration) {
        self.leader = None;
        self.short_terms = match lasted < hold_down {
            true => self.short_terms + 1,
            false => 0,
        };
    }

    /// For how long a leader that is elected now does not make way.
    fn elected(&mut self, hold_down: Duration) -> Duration {
        if let Some((_, since)) = &self.leader {
            self.ended(since.elapsed(), hold_down);
        }
        if !std::mem::take(&mut self.was_last) {
            return Duration::ZERO;
        }
        let doublings = self.short_terms.saturating_sub(1).min(MOST_DOUBLINGS);
        hold_down.saturating_mul(1 << doublings)
    }
}

impl LeaderElection {
    /// Ends when a candidate of higher rank behind us asks for the leadership; asks for it, if a leader makes way to us.
    pub(super) async fn stand_by(
        &self,
        session: Arc<Session>,
        path: String,
        rank: u32,
        cleanup: Option<&CleanupToken>,
    ) -> Result<(), Interrupted> {
        let own = name_of(&path);
        let mut ask = None;
        loop {
            let (names, mut watch) = self.marks.list_and_watch(&session).await?;
            let marks = || names.iter().filter_map(|name| RankMark::parse(name));
            // While one hands over to the other, both are there.
            let leader = marks()
                .filter(|mark| mark.kind == MarkKind::Lead)
                .max_by_key(|mark| mark.rank);
            let leader = leader.map(|mark| (mark.candidate, mark.rank > rank));
            lock(&self.flaps).saw(leader, self.options.rank.hold_down);
            let asks_behind = |mark: &RankMark<'_>| {
                mark.kind == MarkKind::Ask && mark.rank > rank && self.line.is_behind(own, mark.candidate)
            };
            if let Some(mark) = marks().find(asks_behind) {
                debug!(
                    node = path,
                    rank,
                    by = mark.candidate,
                    "stepping back behind a candidate of higher rank"
                );
                return Ok(());
            }
            if !marks().any(|mark| mark.kind == MarkKind::Open && mark.rank < rank) {
                ask = None;
            } else if ask.is_none() {
                let mark = self.marks.ranked(RankMark {
                    kind: MarkKind::Ask,
                    rank,
                    candidate: own,
                });
                ask = NamedEphemeral::create(&session, &mark, b"", cleanup).await?.ok();
            }
            watch.changed().await;
        }
    }
}

/// What a leader that has a rank does beside its work. Dropping it removes its marks.
#[derive(Debug)]
pub(super) struct Reign {
    told: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Reign {
    pub(super) fn begin(election: &LeaderElection, hold: &Hold, rank: u32) -> Self {
        let hold_down = lock(&election.flaps).elected(election.options.rank.hold_down);
        let (tell, told) = watch::channel(false);
        let leader = RankedLeader {
            session: Arc::clone(hold.session()),
            marks: election.marks.clone(),
            candidate: name_of(hold.path()).to_owned(),
            rank,
            hold_down,
            tell,
        };
        let task = hold.session().runtime().spawn(async move {
            // Its end is that of the leadership, too.
            if let Err(Interrupted::Failed(error)) = leader.run().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "this leader does not make way to candidates of higher rank"
                );
            }
        });
        Self { told, task }
    }

    /// Waits until a candidate of higher rank asks.
    pub(super) async fn outranked(&self) {
        if self.told.clone().wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Reign {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct RankedLeader {
    session: Arc<Session>,
    marks: Marks,
    candidate: String,
    rank: u32,
    hold_down: Duration,
    tell: watch::Sender<bool>,
}

impl RankedLeader {
    async fn run(&self) -> Result<(), Interrupted> {
        let _lead = self.mark(MarkKind::Lead).await?;
        if !self.hold_down.is_zero() {
            self.session.sleep(self.hold_down).await?;
        }
        let _open = self.mark(MarkKind::Open).await?;
        loop {
            let (names, mut watch) = self.marks.list_and_watch(&self.session).await?;
            let mut marks = names.iter().filter_map(|name| RankMark::parse(name));
            if let Some(asks) = marks.find(|mark| mark.kind == MarkKind::Ask && mark.rank > self.rank) {
                info!(
                    candidate = asks.candidate,
                    rank = asks.rank,
                    own = self.rank,
                    "a candidate of higher rank asks for the leadership"
                );
                self.tell.send_replace(true);
                return std::future::pending().await;
            }
            watch.changed().await;
        }
    }

    async fn mark(&self, kind: MarkKind) -> Result<Option<NamedEphemeral>, Interrupted> {
        let (rank, candidate) = (self.rank, self.candidate.as_str());
        let path = self.marks.ranked(RankMark { kind, rank, candidate });
        Ok(NamedEphemeral::create(&self.session, &path, b"", None).await?.ok())
    }
}
