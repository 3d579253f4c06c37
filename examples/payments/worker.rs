//! A worker: takes a request, takes the lock of its account, settles it; until none is left.

use std::path::Path;
use std::time::Duration;

use tokio::runtime;
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock, ReleaseError};

use crate::Failure;
use crate::input::{Inbox, Request};
use crate::ledger::{Ledger, Settlement};
use crate::report::Report;
use crate::stall::Stall;

/// How long a crashed holder blocks the others. Short, to be seen in a demo; 10 s is the default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

/// What the workers have in common.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) inbox: Inbox,
    stall: Stall,
    report: Report,
}

impl Job {
    pub(crate) fn new(requests: Vec<Request>) -> Result<Self, Failure> {
        Ok(Self {
            stall: Stall::plan(&requests)
                .ok_or("the input has no account that two payments in its second half go to")?,
            report: Report::new(requests.len()),
            inbox: Inbox::new(requests),
        })
    }
}

/// Works on this thread until no request is left.
pub(crate) fn run(name: &str, job: &Job, cluster: &str, ledger: &Path) -> Result<(), Failure> {
    let work = async {
        let zk = ConnectOptions::new()
            .session_timeout(SESSION_TIMEOUT)
            .identity(name.to_owned())
            .connect(cluster)
            .await?;
        let mut worker = Worker {
            name,
            zk,
            ledger: Ledger::open(ledger)?,
            job,
        };
        while let Some(request) = job.inbox.take() {
            worker.settle(request).await?;
        }
        worker.zk.close().await;
        Ok(())
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(work)
        .map_err(|failure: Failure| format!("{name}: {failure}").into())
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
    async fn settle(&mut self, request: &Request) -> Result<(), Failure> {
        let Job { report, .. } = self.job;
        let mut again = false;
        while !self.attempt(request).await? {
            again = true;
        }
        if again {
            let Request { payment, account, .. } = request;
            report.say(format_args!(
                "{} acquired {account} again and brought {payment} to its end",
                self.name
            ));
        }
        report.done();
        Ok(())
    }

    /// Whether the request is done. If not, the lock was lost on the way and nothing was written: once more, from the
    /// start, with what the account's balance is by then.
    async fn attempt(&mut self, request: &Request) -> Result<bool, Failure> {
        let Job { stall, report, .. } = self.job;
        let Request {
            payment,
            account,
            cents,
        } = request;

        // The lock is for order and efficiency: one worker at a time on an account, first come, first served, so that
        // nobody's work is thrown away. As long as nothing stops a worker, that alone would keep the books right.
        let lock = FairLock::new(&self.zk, &format!("/payments/accounts/{account}"))?;
        let guard = lock.acquire().await?;
        let token = guard.token();

        let Some(balance) = self.ledger.balance(account, token)? else {
            return Ok(false);
        };
        let balance = balance + cents;

        // Costs nothing, and saves a write that would be refused. It cannot prevent one: whatever stops a process can
        // stop it right after the look, and `true` is then old news.
        if !guard.is_held() {
            return Ok(false);
        }
        stall.before_write(self.name, request, token, report);

        // The token is for correctness: by it the ledger tells a former holder from the present one, and refuses it.
        let settlement = self.ledger.settle(request, balance, token)?;
        match settlement {
            Settlement::Settled => stall.after_write(self.name, request, token, report),
            Settlement::Duplicate => {}
            Settlement::Refused { newest } => report.say(format_args!(
                "REFUSED by the ledger: {} wrote {payment} with token {token}, but {account} has seen {newest}",
                self.name
            )),
        }
        match guard.release().await {
            Ok(()) => {}
            // It does no harm any more: the ledger has decided. The next attempt, if any, is made in a new session.
            Err(error @ ReleaseError::Lost(_)) => report.say(format_args!("{}: {error}", self.name)),
            Err(error) => return Err(error.into()),
        }
        Ok(!matches!(settlement, Settlement::Refused { .. }))
    }
}
