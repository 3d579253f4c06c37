//! A runtime of our own, so that servers, proxies and inspecting clients outlive the runtime of a single test and are
//! untouched by paused clocks, blocked threads and runtimes that are shut down under test.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Handle of the runtime, which starts at the first use and lives as long as the process.
pub fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("testkit")
                .enable_all()
                .build()
                .expect("the testkit needs two threads of its own")
        })
        .handle()
}

/// Runs `work` on the background runtime. A panic in it is passed on.
pub async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    unwrap_panic(handle().spawn(work).await)
}

/// Runs `work`, which blocks, on a thread of the background runtime. A panic in it is passed on.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    unwrap_panic(handle().spawn_blocking(work).await)
}

/// Sleeps by the real clock, also where the test has paused the clock of its own runtime.
pub async fn sleep(duration: Duration) {
    run(async move { tokio::time::sleep(duration).await }).await;
}

fn unwrap_panic<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    match joined {
        Ok(value) => value,
        Err(err) if err.is_panic() => std::panic::resume_unwind(err.into_panic()),
        Err(err) => panic!("the background runtime of the testkit is gone: {err}"),
    }
}
