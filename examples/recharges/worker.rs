//! A worker: takes a batch of items, applies them in one transaction, acknowledges them; until it is told to end.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use zookeeper_recipes::queue::{Delivery, WorkQueue};
use zookeeper_recipes::{Coordinator, Error};

use crate::common::commands::Commands;
use crate::common::payment::Payment;
use crate::common::print::say;
use crate::common::{BoxError, session};
use crate::ledger::Ledger;

/// Deliveries of an item before it is dead.
pub(crate) const MAX_ATTEMPTS: u32 = 3;
const BATCH: usize = 25;
/// What a batch takes beside the ledger.
const EFFORT: Duration = Duration::from_millis(20);

/// What a worker is told.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) ledger: &'a Path,
    /// The batch during which it stands still, if any, for the director to kill it.
    pub(crate) last_batch: Option<usize>,
}

pub(crate) fn queue(zk: &Coordinator) -> Result<WorkQueue, Error> {
    Ok(WorkQueue::new(zk, "/recharges")?.max_attempts(MAX_ATTEMPTS))
}

/// Works from the first command until it is told to end.
pub(crate) async fn run(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let mut commands = Commands::new();
    let zk = tokio::select! {
        zk = session::connect(assignment.name, assignment.cluster) => zk?,
        () = commands.end() => return Err("the director is gone".into()),
    };
    say!("is ready");
    // All begin together, so that none is done before another is there.
    commands.next().await?;
    tokio::select! {
        worked = work(&zk, assignment) => worked?,
        // What was on its way goes to another.
        () = commands.end() => {}
    }
    zk.close().await;
    Ok(())
}

async fn work(zk: &Coordinator, assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let queue = queue(zk)?;
    let mut ledger = Ledger::open(assignment.ledger)?;
    for number in 1.. {
        let batch = queue.pop_batch(BATCH).await?;
        if assignment.last_batch == Some(number) {
            die(batch, &mut ledger).await?;
        } else {
            settle(batch, &mut ledger).await?;
        }
    }
    Ok(())
}

/// Applies a batch, then acknowledges it. If the acknowledgement does not get there, the items come again, to whomever:
/// the ledger knows them by their ids.
async fn settle(batch: Vec<Delivery>, ledger: &mut Ledger) -> Result<(), BoxError> {
    let (readable, unreadable) = read(batch);
    apply(&readable, ledger)?;
    tokio::time::sleep(EFFORT).await;
    let acks = readable.into_iter().map(|(delivery, _)| delivery.ack());
    for lost in join_all(acks).await.into_iter().filter_map(Result::err) {
        say!("cannot acknowledge: {lost}");
    }
    for (delivery, problem) in unreadable {
        say!("attempt {} of {MAX_ATTEMPTS}: {problem}", delivery.attempt());
        if let Err(lost) = delivery.nack().await {
            say!("cannot give back: {lost}");
        }
    }
    Ok(())
}

/// Applies one half of a batch, acknowledges none of it, and waits to be killed.
async fn die(batch: Vec<Delivery>, ledger: &mut Ledger) -> Result<(), BoxError> {
    let (readable, _unreadable) = read(batch);
    let applied = &readable[..readable.len().div_ceil(2)];
    apply(applied, ledger)?;
    say!(
        "stands still: {} of its {} items are applied, none is acknowledged",
        applied.len(),
        readable.len()
    );
    std::future::pending().await
}

type Read<T> = Vec<(Delivery, T)>;

fn read(batch: Vec<Delivery>) -> (Read<Payment>, Read<String>) {
    let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
    for delivery in batch {
        match Payment::parse(&String::from_utf8_lossy(delivery.payload())) {
            Ok(recharge) => readable.push((delivery, recharge)),
            Err(problem) => unreadable.push((delivery, problem)),
        }
    }
    (readable, unreadable)
}

fn apply(readable: &[(Delivery, Payment)], ledger: &mut Ledger) -> Result<(), BoxError> {
    let items: Vec<(String, &Payment)> = readable
        .iter()
        .map(|(delivery, recharge)| (delivery.id().to_string(), recharge))
        .collect();
    Ok(ledger.apply(items.iter().map(|(item, recharge)| (item.as_str(), *recharge)))?)
}
