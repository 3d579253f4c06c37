//! A coordinator for the time of one piece of work.

use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::mpsc;
use std::time::Duration;

use futures::FutureExt;

use super::coordinator::Coordinator;
use super::options::{ConnectError, ConnectOptions};

/// How long a dropped scope keeps its thread for the ensemble's confirmation.
const DROP_BOUND: Duration = Duration::from_millis(500);

impl Coordinator {
    /// Connects with default options, does `work`, and closes: see [`ConnectOptions::scope`].
    ///
    /// ```no_run
    /// # async fn serve(_: &zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> { Ok(()) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::Coordinator;
    ///
    /// Coordinator::scope("zk1:2181,zk2:2181/payments", |zk| async move {
    ///     tokio::select! {
    ///         done = serve(&zk) => done,
    ///         // Drops the work, so that guards are given back; then the scope closes.
    ///         _ = tokio::signal::ctrl_c() => Ok(()),
    ///     }
    /// })
    /// .await?
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]: the work was not begun.
    ///
    /// # Cancel safety
    /// As [`ConnectOptions::scope`].
    pub async fn scope<F, Fut>(cluster: &str, work: F) -> Result<Fut::Output, ConnectError>
    where
        F: FnOnce(Self) -> Fut,
        Fut: Future,
    {
        ConnectOptions::new().scope(cluster, work).await
    }
}

impl ConnectOptions {
    /// Connects, does `work` with the coordinator, and closes it **on every way out**, so that the next contender is
    /// granted at once and not when the session expires:
    ///
    /// * `work` returns, with `?` or otherwise: this returns its output when the coordinator is [closed](Coordinator::close);
    /// * `work` panics: the panic goes on when the coordinator is closed;
    /// * this future is dropped, by a `select!` or with its runtime: see *Cancel safety*.
    ///
    /// Clones of the coordinator that outlive the scope are closed, too. Closing takes a third of the session timeout at
    /// most, and milliseconds where a server answers.
    ///
    /// **Not possible** is to close when the process ends without running the program to its end:
    /// [`std::process::exit`], SIGKILL, a signal such as SIGTERM that is not handled, a panic with `panic = "abort"`. Wait
    /// for signals inside of `work`, as the example does. Otherwise others wait until the session expires.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::{ConnectOptions, FairLock};
    ///
    /// let options = ConnectOptions::new().identity("nightly");
    /// options
    ///     .scope("zk1:2181,zk2:2181/jobs", |zk| async move {
    ///         let guard = FairLock::new(&zk, "/nightly")?.acquire().await?;
    ///         settle()?;
    ///         guard.release().await?;
    ///         Ok::<_, Box<dyn std::error::Error>>(())
    ///     })
    ///     .await??;
    /// # fn settle() -> std::io::Result<()> { Ok(()) }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]: the work was not begun.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work, and closes. The process may be about to end, so **the drop blocks its thread**
    /// until the ensemble has confirmed it, for half a second at most. With a
    /// [runtime of yours](ConnectOptions::runtime) it does not block, and the close goes on there.
    pub async fn scope<F, Fut>(self, cluster: &str, work: F) -> Result<Fut::Output, ConnectError>
    where
        F: FnOnce(Coordinator) -> Fut,
        Fut: Future,
    {
        let is_ours = self.runtime.is_none();
        let zk = self.connect(cluster).await?;
        // Declared before the work, which is thus dropped first.
        let mut closing = CloseOnDrop {
            zk: Some(zk.clone()),
            blocks: is_ours,
        };
        let done = AssertUnwindSafe(async move { work(zk).await }).catch_unwind().await;
        if let Some(zk) = &closing.zk {
            zk.clone().close().await;
        }
        closing.zk = None;
        match done {
            Ok(output) => Ok(output),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Closes the coordinator when a scope is dropped.
struct CloseOnDrop {
    zk: Option<Coordinator>,
    /// Whether the coordinator goes on while this thread is blocked.
    blocks: bool,
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let Some(zk) = self.zk.take() else { return };
        let (done, closed) = mpsc::channel();
        let runtime = zk.runtime().clone();
        runtime.spawn(async move {
            zk.close().await;
            // The scope may have stopped waiting.
            let _ = done.send(());
        });
        if self.blocks {
            let _ = closed.recv_timeout(DROP_BOUND);
        }
    }
}
