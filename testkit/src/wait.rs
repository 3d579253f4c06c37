//! Waiting on conditions: no test sleeps for a fixed time and hopes.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::background;

const INTERVAL: Duration = Duration::from_millis(10);

/// Awaits `future`. Panics after `deadline` with `what` had not happened, and the place of the call.
#[track_caller]
pub fn within<T>(deadline: Duration, what: impl Display, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        tokio::select! {
            biased;
            value = future => value,
            () = background::sleep(deadline) => panic!("not within {deadline:?}: {what} (waited for at {caller})"),
        }
    }
}

/// Waits until `check` says true. Panics after `deadline` with `what` did not become true, and the place of the call.
#[track_caller]
pub fn eventually<F, Fut>(deadline: Duration, what: impl Display, mut check: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    eventually_some(deadline, what, move || {
        let checked = check();
        async move { checked.await.then_some(()) }
    })
}

/// Waits until `check` gives a value and returns it. Panics after `deadline` like [`eventually`].
#[track_caller]
pub fn eventually_some<T, F, Fut>(deadline: Duration, what: impl Display, mut check: F) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(value) = check().await {
                return value;
            }
            assert!(
                started.elapsed() < deadline,
                "not within {deadline:?}: {what} (waited for at {caller})"
            );
            background::sleep(INTERVAL).await;
        }
    }
}
