//! A worker: the same three phases for all, each with its own shares.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::select;
use zookeeper_recipes::{Coordinator, CountDownLatch, DoubleBarrier, Error, Semaphore};

use crate::shares::Shares;
use crate::{LINES, PHASES, SHARES, WORKERS};
use demos::commands::Commands;
use demos::print::say;
use demos::{BoxError, session};

/// What a worker is told.
#[derive(Debug)]
pub(crate) struct Assignment<'a> {
    pub(crate) number: usize,
    pub(crate) cluster: &'a str,
    pub(crate) bank: SocketAddr,
    pub(crate) shares: Shares,
}

pub(crate) fn name(number: usize) -> String {
    format!("worker {number}")
}

/// Counts the shares of a phase that are done.
pub(crate) fn done(zk: &Coordinator, phase: usize) -> Result<CountDownLatch, Error> {
    CountDownLatch::new(zk, &format!("/{}/done", PHASES[phase]), SHARES as u32)
}

/// Works until all phases are done.
pub(crate) async fn run(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let mut commands = Commands::listen();
    select! {
        worked = work(assignment) => worked,
        () = commands.end() => Err("the director is gone".into()),
    }
}

async fn work(assignment: &Assignment<'_>) -> Result<(), BoxError> {
    let name = name(assignment.number);
    let zk = session::connect(&name, assignment.cluster).await?;
    let lines = Semaphore::new(&zk, "/lines", LINES)?;
    for (phase, title) in PHASES.iter().enumerate() {
        let barrier = DoubleBarrier::new(&zk, &format!("/{title}/workers"), WORKERS)?;
        let done = done(&zk, phase)?;
        // A phase that is done was done without us: we are in the place of a worker that died after it.
        while done.count().await? > 0 {
            let inside = barrier.enter().await?;
            say!("{name} is in phase {title}");
            let work = async {
                for share in (0..SHARES).filter(|share| share % WORKERS == assignment.number) {
                    settle(assignment, &lines, phase, share).await?;
                    done.count_down_as(&format!("share-{share}")).await?;
                }
                // Inside, so that the process that takes a dead worker's place finds the phase open.
                Ok::<_, BoxError>(done.wait().await?)
            };
            match inside.run_until_lost(work).await {
                Ok(worked) => {
                    worked?;
                    inside.leave().await?;
                }
                Err(lost) => say!("{name}: {lost}; entering again"),
            }
        }
    }
    zk.close().await;
    Ok(())
}

/// Has the bank book a share. It may have done so before, on a call whose answer was lost.
async fn settle(assignment: &Assignment<'_>, lines: &Semaphore, phase: usize, share: usize) -> Result<(), BoxError> {
    loop {
        let line = lines.acquire().await?;
        match line.run_until_lost(call(assignment, phase, share)).await {
            Ok(answer) => {
                let answer = answer?;
                if let Err(error) = line.release().await {
                    say!("worker {}: {error}", assignment.number);
                }
                return match answer.as_str() {
                    "booked" => Ok(()),
                    "booked before" => {
                        say!(
                            "worker {}: the bank has share {share} of phase {} already",
                            assignment.number,
                            PHASES[phase]
                        );
                        Ok(())
                    }
                    answer => Err(format!("share {share}: the bank says {answer:?}").into()),
                };
            }
            Err(lost) => say!("worker {}: {lost}; calling again", assignment.number),
        }
    }
}

async fn call(assignment: &Assignment<'_>, phase: usize, share: usize) -> Result<String, BoxError> {
    let mut bank = BufReader::new(TcpStream::connect(assignment.bank).await?);
    let cents = assignment.shares.cents(share);
    let call = format!("{} {phase} {share} {cents}\n", assignment.number);
    bank.write_all(call.as_bytes()).await?;
    let mut answer = String::new();
    bank.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}
