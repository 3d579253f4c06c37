//! A worker: a worker loop of the queue, whose handler applies one item at a time; until it is told to end.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use zookeeper_recipes::queue::{Job, Order, WorkQueue};
use zookeeper_recipes::{Coordinator, Error};

use crate::ledger::Ledger;
use demos::commands::Commands;
use demos::payment::Payment;
use demos::print::say;
use demos::{BoxError, session};

/// Deliveries of an item before it is a dead letter.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
/// Items that a worker works on at once: of different accounts, since each account is a group.
const CONCURRENCY: usize = 16;
/// What an item takes beside the ledger.
const EFFORT: Duration = Duration::from_millis(5);

/// What a worker is told.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) ledger: &'a Path,
    /// The item from which on it applies and acknowledges nothing, if any, for the director to kill it.
    pub(crate) last_item: Option<usize>,
}

pub(crate) fn queue(zk: &Coordinator) -> Result<WorkQueue, Error> {
    WorkQueue::builder(zk, "/recharges")
        .max_attempts(MAX_ATTEMPTS)
        .order(Order::Window(64))
        .build()
}

/// Works from the first command until it is told to end.
pub(crate) async fn run(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let mut commands = Commands::listen();
    let zk = tokio::select! {
        zk = session::connect(assignment.name, assignment.cluster) => zk?,
        () = commands.end() => return Err("the director is gone".into()),
    };
    say!("is ready");
    // All begin together, so that none is done before another is there.
    commands.next().await?;
    let handler = Handler {
        ledger: Arc::new(Mutex::new(Ledger::open(assignment.ledger)?)),
        begun: Arc::default(),
        last_item: assignment.last_item,
    };
    let worker = queue(&zk)?
        .worker()
        .concurrency(CONCURRENCY)
        .shutdown(async move { commands.end().await });
    let summary = worker.run(|recharge| handler.clone().recharge(recharge)).await?;
    say!("has applied {} items, {} attempts failed", summary.done, summary.failed);
    zk.close().await;
    Ok(())
}

/// Applies items to the ledger.
#[derive(Clone, Debug)]
struct Handler {
    ledger: Arc<Mutex<Ledger>>,
    begun: Arc<AtomicUsize>,
    last_item: Option<usize>,
}

impl Handler {
    /// Applies an item; the worker acknowledges it then. If the acknowledgement does not get there, the item comes again,
    /// to some worker: the ledger knows it by its id. An error gives the item back.
    async fn recharge(self, item: Job) -> Result<(), String> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let line = String::from_utf8_lossy(item.payload()).into_owned();
        let recharge = Payment::parse(&line).map_err(|problem| {
            say!("attempt {}/{MAX_ATTEMPTS}: {problem}", item.attempt());
            problem
        })?;
        let applied = {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.apply([(item.id().as_str(), &recharge)])
        };
        applied.map_err(|error| error.to_string())?;
        if let Some(last) = self.last_item.filter(|last| number >= *last) {
            if number == last {
                say!("stands still: its items are applied, and not acknowledged");
            }
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(EFFORT).await;
        Ok(())
    }
}
