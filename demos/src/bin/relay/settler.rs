//! One of the processes: joins the relay, settles the next batch in its turn, passes on.

use tokio::{select, task};
use zookeeper_recipes::{CompleteError, Coordinator, CountDownLatch, Error, Relay, Turn};

use crate::chain::{Batches, Page};
use crate::journal::Journal;
use crate::{BATCHES, FATAL, PROCESSES};
use demos::commands::Commands;
use demos::print::say;
use demos::{BoxError, session};

/// What a process is told.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) journal: Journal,
    pub(crate) batches: Batches,
    /// Whether the process stops in the middle of batch [`FATAL`] and waits to be killed.
    pub(crate) fatal: bool,
}

pub(crate) fn chain(zk: &Coordinator) -> Result<Relay, Error> {
    Relay::new(zk, "/chain")
}

/// Opens when all processes are there.
pub(crate) fn all_here(zk: &Coordinator) -> Result<CountDownLatch, Error> {
    CountDownLatch::new(zk, "/here", PROCESSES as u32)
}

/// The page that the last turn ended with.
pub(crate) fn page(result: Option<&[u8]>) -> Result<Page, BoxError> {
    result.map_or(Ok(Page::default()), |result| std::str::from_utf8(result)?.parse())
}

/// Takes turns until all batches are settled.
pub(crate) async fn run(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let mut commands = Commands::listen();
    select! {
        settled = take_turns(assignment) => settled,
        () = commands.end() => Err("the director is gone".into()),
    }
}

async fn take_turns(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let zk = session::connect(assignment.name, assignment.cluster).await?;
    let relay = chain(&zk)?;
    // No settler begins before all are there, so that each of them has its turns.
    let here = all_here(&zk)?;
    here.count_down_as(assignment.name).await?;
    here.wait().await?;
    loop {
        let turn = relay.join().await?;
        let before = page(turn.previous().map(AsRef::as_ref))?;
        if before.number == BATCHES {
            turn.release().await?;
            break;
        }
        match turn.run_until_lost(settle(assignment, &turn, &before)).await {
            Ok(after) => match turn.complete(after?.to_string()).await {
                Ok(()) => {}
                // Another has the turn: it mends what we did, or has our result.
                Err(error @ (CompleteError::Lost(_) | CompleteError::Indeterminate)) => say!("says {error}"),
                Err(error) => return Err(error.into()),
            },
            Err(lost) => say!("says {lost}"),
        }
    }
    zk.close().await;
    Ok(())
}

/// Settles the batch after the one that ended with `before`.
async fn settle(assignment: &Assignment<'_>, turn: &Turn, before: &Page) -> Result<Page, BoxError> {
    let (batch, journal) = (before.number, &assignment.journal);
    if turn.predecessor_lost() {
        let struck = journal.strike(batch)?;
        say!("mends batch {batch}: its predecessor was lost, {struck} entries struck out");
    }
    let payments = assignment.batches.of(batch);
    for (done, payment) in payments.iter().enumerate() {
        if assignment.fatal && batch >= FATAL && done == payments.len() / 2 {
            say!("stops in batch {batch}");
            std::future::pending::<()>().await;
        }
        journal.add(batch, payment)?;
        // So that a loss of the turn is noticed here.
        task::yield_now().await;
    }
    Ok(before.next(payments.iter().map(|payment| payment.cents).sum()))
}
