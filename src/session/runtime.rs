//! The runtime on which coordinators live: a thread of their own, whatever the user does with theirs.
//!
//! A user's runtime can be blocked, and then it neither sends heartbeats nor tells holds of their loss. So the client,
//! the supervisor and the reaper of every coordinator run on one thread that all coordinators of the process share. It
//! is started by the first `connect` and never shut down: dropping a runtime inside async code panics, and signals that
//! outlive it would wait for a timer that is gone.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::options::ConnectError;

static SHARED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The runtime that all coordinators share.
pub(super) fn shared() -> Result<Handle, ConnectError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*shared {
        return Ok(runtime.handle().clone());
    }
    let started = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("zookeeper-recipes")
        .enable_time()
        .build();
    let runtime = started.map_err(|error| ConnectError::Runtime {
        reason: error.to_string(),
    })?;
    Ok(shared.insert(runtime).handle().clone())
}

/// Runs `work` on the runtime; dropping the future drops the work. An error says why it has no output.
pub(super) async fn run<F>(runtime: &Handle, work: F) -> Result<F::Output, String>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// Aborts the task when its caller is gone.
    struct Task<T>(JoinHandle<T>);

    impl<T> Drop for Task<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let mut task = Task(runtime.spawn(work));
    (&mut task.0).await.map_err(|error| match error.is_panic() {
        true => "a task panicked on it; a runtime of yours needs `enable_time`".to_owned(),
        false => "it was shut down".to_owned(),
    })
}
