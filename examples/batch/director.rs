//! The director: starts the workers, kills one while the bank has its call, and puts another in its place.

use futures::future;
use tokio::select;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use zookeeper_recipes::CountDownLatch;

use crate::bank::{Bank, Book};
use crate::common::Failure;
use crate::common::cast::{self, Cast};
use crate::common::log::Log;
use crate::common::print::say;
use crate::common::session;
use crate::{PHASES, WORKERS, worker};

/// Returns the bank's book when all is done, and how many workers were killed.
pub(crate) async fn run(cluster: &str) -> Result<(Book, usize), Failure> {
    let (tell, trapped) = mpsc::unbounded_channel();
    let bank = Bank::open(tell)?;
    let zk = session::connect("reporter", cluster).await?;
    let done = (0..PHASES.len())
        .map(|phase| worker::done(&zk, phase))
        .collect::<Result<Vec<_>, _>>()?;

    let ((), killed) = future::try_join(report(&done), play(cluster, &bank, trapped)).await?;
    // A latch stays until somebody who knows that it is over removes it.
    for latch in &done {
        latch.remove().await?;
    }
    zk.close().await;
    Ok((bank.book(), killed))
}

/// Waits until all shares of the last phase are done.
async fn report(done: &[CountDownLatch]) -> Result<(), Failure> {
    done.last().ok_or("no phases")?.wait().await?;
    say!("reporter: the last share is done");
    Ok(())
}

/// Plays it all, and returns when all workers have ended: how many were killed.
async fn play(cluster: &str, bank: &Bank, mut trapped: UnboundedReceiver<usize>) -> Result<usize, Failure> {
    let log = Log::new();
    let mut cast = Cast::new(log);
    for number in 0..WORKERS {
        start(&mut cast, number, cluster, bank)?;
    }
    let mut killed = 0;
    loop {
        select! {
            Some(number) = trapped.recv() => {
                let name = worker::name(number);
                log.note(&name, "is killed (SIGKILL), and the bank has its call");
                cast.kill(&name).await?;
                killed += 1;
                log.note("another", "takes its place");
                start(&mut cast, number, cluster, bank)?;
            }
            said = cast.next() => match said? {
                Some((_, line)) => say!("{line}"),
                None => return Ok(killed),
            },
        }
    }
}

fn start(cast: &mut Cast, number: usize, cluster: &str, bank: &Bank) -> Result<(), Failure> {
    let arguments = ["--worker", &number.to_string(), cluster, &bank.addr().to_string()];
    cast.start(&worker::name(number), cast::myself()?.args(arguments))
}
