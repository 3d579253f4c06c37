//! A worker: takes a request, takes the lock of its account, settles it; until none is left.

use std::path::Path;
use std::time::Duration;

use tokio::{runtime, select, time};
use zookeeper_recipes::{Coordinator, FairLock, ReleaseError};

use crate::job::Job;
use crate::ledger::{Ledger, Settlement};
use demos::payment::Payment;
use demos::{BoxError, session};

/// How long a worker that is to stop may take for the request that it has.
const GRACE: Duration = Duration::from_secs(1);

/// Works on this thread until no request is left.
pub(crate) fn run(name: &str, job: &Job, cluster: &str, ledger: &Path) -> Result<(), BoxError> {
    let work = async {
        let mut worker = Worker {
            name,
            // On this thread, like everything of this worker: when it stands still, no heartbeat leaves any more.
            zk: session::options(name)
                .runtime(runtime::Handle::current())
                .connect(cluster)
                .await?,
            ledger: Ledger::open(ledger)?,
            job,
        };
        while let Some(request) = job.take() {
            worker.settle(request).await?;
        }
        worker.zk.close().await;
        Ok(())
    };
    let late = async {
        job.stopped().await;
        time::sleep(GRACE).await;
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            select! {
                worked = work => worked,
                () = late => Err("stopped in the middle of its work".into()),
            }
        })
        .map_err(|failure: BoxError| format!("{name}: {failure}").into())
}

struct Worker<'a> {
    name: &'a str,
    zk: Coordinator,
    /// Its calls block the thread, and the session with it, for well under a millisecond. Slower ones belong into
    /// `tokio::task::spawn_blocking`.
    ledger: Ledger,
    job: &'a Job,
}

impl Worker<'_> {
    async fn settle(&mut self, request: &Payment) -> Result<(), BoxError> {
        let Job { report, .. } = self.job;
        let mut again = false;
        while !self.attempt(request).await? {
            again = true;
        }
        if again {
            let Payment { id, account, .. } = request;
            report.say(format_args!("{} acquired {account} again and settled {id}", self.name));
        }
        report.done();
        Ok(())
    }

    /// Whether the request is done. If not, the lock was lost on the way and nothing was written: once more, from the
    /// start, with what the account's balance is by then.
    async fn attempt(&mut self, request: &Payment) -> Result<bool, BoxError> {
        let Job {
            stall,
            report,
            timeline,
            ..
        } = self.job;
        let Payment { id, account, cents } = request;

        // The lock is for order and efficiency: one worker at a time on an account, first come, first served, so that
        // no worker's effort is thrown away. As long as nothing stops a worker, that alone would keep the books right.
        let lock = FairLock::new(&self.zk, &format!("/accounts/{account}"))?;
        let guard = lock.acquire().await?;
        let token = guard.token();
        timeline.granted(account, self.name, token);

        let Some(balance) = self.ledger.balance(account, token)? else {
            return Ok(false);
        };
        let balance = balance + cents;

        // Costs nothing, and saves a write that would be refused. It cannot prevent one: whatever stops a process can
        // stop it right after the look, and `true` is then old news.
        if !guard.is_held() {
            return Ok(false);
        }
        stall.before_write(self.name, request, &guard, self.job);

        // The token is for correctness: by it the ledger tells a former holder from the present one, and refuses it.
        let settlement = self.ledger.settle(request, balance, token)?;
        match settlement {
            Settlement::Settled => stall.after_write(self.name, request, token, report),
            Settlement::Duplicate => {}
            Settlement::Refused { newest } => report.say(format_args!(
                "REFUSED: {} wrote {id} with token {token}; {account} has {newest}",
                self.name
            )),
        }
        timeline.ended(token, matches!(settlement, Settlement::Refused { .. }));
        match guard.release().await {
            Ok(()) => {}
            // It does no harm any more: the ledger has decided. The next attempt, if any, is made in a new session.
            Err(error @ ReleaseError::Lost(_)) => report.say(format_args!("{}: {error}", self.name)),
            Err(error) => return Err(error.into()),
        }
        Ok(!matches!(settlement, Settlement::Refused { .. }))
    }
}
