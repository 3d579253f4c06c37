//! The director: starts the workers, kills one while the bank has its call, and puts another in its place.

use futures::future;
use tokio::select;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use zookeeper_recipes::CountDownLatch;

use crate::bank::{Bank, Book};
use crate::{PHASES, WORKERS, worker};
use demos::BoxError;
use demos::log::Log;
use demos::print::say;
use demos::processes::{self, Processes};
use demos::session;

/// Returns the bank's book when all is done, and how many workers were killed.
pub(crate) async fn run(cluster: &str) -> Result<(Book, usize), BoxError> {
    let (tell, trapped) = mpsc::unbounded_channel();
    let bank = Bank::open(tell)?;
    let zk = session::connect("reporter", cluster).await?;
    let done = (0..PHASES.len())
        .map(|phase| worker::done(&zk, phase))
        .collect::<Result<Vec<_>, _>>()?;

    let ((), killed) = future::try_join(report(&done), supervise(cluster, &bank, trapped)).await?;
    // A latch stays until a process that knows that it is over removes it.
    for latch in &done {
        latch.remove().await?;
    }
    zk.close().await;
    Ok((bank.book(), killed))
}

/// Waits until all shares of the last phase are done.
async fn report(done: &[CountDownLatch]) -> Result<(), BoxError> {
    done.last().ok_or("no phases")?.wait().await?;
    say!("reporter: the last share is done");
    Ok(())
}

/// Supervises all, and returns when all workers have ended: how many were killed.
async fn supervise(cluster: &str, bank: &Bank, mut trapped: UnboundedReceiver<usize>) -> Result<usize, BoxError> {
    let log = Log::start();
    let mut processes = Processes::new(log);
    for number in 0..WORKERS {
        start(&mut processes, number, cluster, bank)?;
    }
    let mut killed = 0;
    loop {
        select! {
            Some(number) = trapped.recv() => {
                let name = worker::name(number);
                log.note(&name, "is killed (SIGKILL), and the bank has its call");
                processes.kill(&name).await?;
                killed += 1;
                log.note("another", "takes its place");
                start(&mut processes, number, cluster, bank)?;
            }
            said = processes.next() => match said? {
                Some((_, line)) => say!("{line}"),
                None => return Ok(killed),
            },
        }
    }
}

fn start(processes: &mut Processes, number: usize, cluster: &str, bank: &Bank) -> Result<(), BoxError> {
    let arguments = ["--worker", &number.to_string(), cluster, &bank.addr().to_string()];
    processes.start(&worker::name(number), processes::myself()?.args(arguments))
}
