//! [`Scanner`]: reads a tree again and again, within a budget of requests.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use zookeeper_recipes::inspect::doctor::{Doctor, Severity};
use zookeeper_recipes::inspect::{Detail, Inspector, PlaceInfo, PlaceKind};
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{Coordinator, Error};

use super::board::{Board, Depth, Order};
use crate::failure::Failure;

/// The longest lines, which each look reads.
const HOT: usize = 50;

/// Of so many queues each look asks for the numbers.
const QUEUES: usize = 20;

/// Reads the places of a tree.
#[derive(Debug)]
pub(super) struct Scanner {
    zk: Coordinator,
    tree: String,
    budget: u64,
    walked: Option<Walk>,
    examined: Option<Walk>,
}

/// A doctor looks not more often than that.
const EXAMINED: Duration = Duration::from_secs(10);

/// The last time that the whole tree was read.
#[derive(Debug)]
struct Walk {
    cost: u64,
    at: Instant,
}

impl Scanner {
    pub(super) fn new(zk: &Coordinator, tree: &str, budget: u64) -> Self {
        Self {
            zk: zk.clone(),
            tree: tree.to_owned(),
            budget,
            walked: None,
            examined: None,
        }
    }

    /// Lets a doctor look, unless that would take more than a quarter of the budget, at two seconds a look.
    pub(super) async fn examine(&mut self, board: &RefCell<Board>, now: bool) -> Result<(), Failure> {
        let is_due = self.examined.as_ref().is_none_or(|last| {
            let looks = u32::try_from(last.cost * 4 / self.budget).unwrap_or(u32::MAX);
            last.at.elapsed() >= Duration::from_secs(2).saturating_mul(looks).max(EXAMINED)
        });
        if !is_due && !now {
            return Ok(());
        }
        // One that fails is not tried again at once.
        let last = self.examined.take().map_or(self.budget, |last| last.cost);
        self.examined = Some(Walk {
            cost: last,
            at: Instant::now(),
        });
        let mut found = Doctor::new(&Inspector::new(&self.zk)).diagnose(&self.tree).await?;
        self.examined = Some(Walk {
            cost: found.requests,
            at: Instant::now(),
        });
        found.findings.retain(|one| one.severity > Severity::Info);
        board.borrow_mut().findings = Some(found.findings);
        Ok(())
    }

    /// Times one small request.
    async fn time(&self, board: &RefCell<Board>) -> Result<(), Failure> {
        let client = self.zk.client().await?;
        let sent = Instant::now();
        // What is answered does not matter, nor whether there is such a node.
        if client.check_stat(&self.tree).await.is_ok() {
            board.borrow_mut().timed(sent.elapsed());
        }
        Ok(())
    }

    /// Looks once more. The board is borrowed between requests alone.
    pub(super) async fn look(&mut self, board: &RefCell<Board>) -> Result<(), Failure> {
        let inspector = Inspector::new(&self.zk);
        match self.is_due() {
            true => self.walk(&inspector, board).await?,
            false => self.look_at_hot(&inspector, board).await?,
        }
        self.count_queues(board).await?;
        self.time(board).await?;
        board.borrow_mut().looked(inspector.requests());
        Ok(())
    }

    /// A tree that fits into the budget is walked each time. Another one so rarely that half of the budget is left, at two
    /// seconds a look.
    fn is_due(&self) -> bool {
        let Some(walked) = &self.walked else { return true };
        let looks = u32::try_from(walked.cost * 2 / self.budget).unwrap_or(u32::MAX);
        walked.cost <= self.budget || walked.at.elapsed() >= Duration::from_secs(2).saturating_mul(looks)
    }

    async fn walk(&mut self, inspector: &Inspector, board: &RefCell<Board>) -> Result<(), Failure> {
        let mut there = BTreeSet::new();
        let keep = |place: PlaceInfo| {
            if is_shown(&place) {
                there.insert(place.path.clone());
                put(board, place);
            }
        };
        inspector.for_each(&self.tree, Detail::Contenders, keep).await?;
        board.borrow_mut().retain(&there);
        self.walked = Some(Walk {
            cost: inspector.requests(),
            at: Instant::now(),
        });
        Ok(())
    }

    /// The longest lines, and those whose holders have held for longest, as far as the budget goes.
    async fn look_at_hot(&self, inspector: &Inspector, board: &RefCell<Board>) -> Result<(), Failure> {
        let paths = hot(&board.borrow());
        for path in paths {
            if inspector.requests() >= self.budget {
                break;
            }
            match inspector.place(&path).await? {
                Some(place) if is_shown(&place) => put(board, place),
                _ => board.borrow_mut().remove(&path),
            }
        }
        Ok(())
    }

    async fn count_queues(&self, board: &RefCell<Board>) -> Result<(), Failure> {
        let queues: Vec<PlaceInfo> = board
            .borrow()
            .places()
            .filter(|place| matches!(place.kind, PlaceKind::WorkQueue(_)))
            .take(QUEUES)
            .cloned()
            .collect();
        for place in queues {
            let stats = match WorkQueue::new(&self.zk, &place.path)?.stats().await {
                Ok(stats) => stats,
                // Gone, of another format, or hidden by its ACL.
                Err(Error::Layout { .. } | Error::Denied { .. } | Error::OptionMismatch { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let depth = Depth {
                ready: stats.ready,
                claimed: stats.claimed,
                dead: stats.dead,
                oldest: stats.oldest,
            };
            board.borrow_mut().put(place, Some(depth));
        }
        Ok(())
    }
}

/// The paths that each look reads.
fn hot(board: &Board) -> Vec<String> {
    let (lines, holds) = (board.lines(Order::Waiters, ""), board.holds(""));
    let hot = lines.iter().take(HOT).chain(holds.iter().take(HOT).map(|(row, _)| row));
    let mut seen = BTreeSet::new();
    hot.map(|row| row.place.path.clone())
        .filter(|path| seen.insert(path.clone()))
        .collect()
}

fn put(board: &RefCell<Board>, place: PlaceInfo) {
    let mut board = board.borrow_mut();
    let depth = depth_of(&place, &board);
    board.put(place, depth);
}

fn is_shown(place: &PlaceInfo) -> bool {
    place.kind.is_queue() || (place.kind.is_line() && place.count > 0)
}

/// As the nodes tell; the numbers of a work queue are asked for, and are those of the last look until then.
fn depth_of(place: &PlaceInfo, board: &Board) -> Option<Depth> {
    match place.kind {
        PlaceKind::WorkQueue(_) => Some(board.row(&place.path).and_then(|row| row.depth).unwrap_or_default()),
        kind if kind.is_queue() => Some(Depth {
            ready: place.count,
            ..Depth::default()
        }),
        _ => None,
    }
}
