//! Futures that are polled so many times, and dropped.

use std::future::{self, Future};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use zookeeper_recipes::Coordinator;

/// How long a future must be silent to be taken for one that waits.
const SILENCE: Duration = Duration::from_millis(200);

/// Polls `future` this often, each time when it was woken, and no more. `None` if it was not done by then.
pub(crate) async fn poll_times<F: Future + ?Sized>(mut future: Pin<&mut F>, polls: usize) -> Option<F::Output> {
    let mut done = 0;
    future::poll_fn(|cx| {
        if done < polls {
            done += 1;
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
        }
        if done < polls { Poll::Pending } else { Poll::Ready(None) }
    })
    .await
}

/// Polls `attempt` as [`poll_times`] does, for a moment at most, and drops it. Returns once everything that was on its way
/// has arrived; says whether more polls would come to nothing more: it was done, or waited for something.
pub(crate) async fn drop_after<F>(polls: usize, mut attempt: Pin<Box<F>>, zk: &Coordinator) -> bool
where
    F: Future<Output = ()> + ?Sized,
{
    let polled = tokio::time::timeout(SILENCE, poll_times(attempt.as_mut(), polls)).await;
    drop(attempt);
    zk.client().await.unwrap().sync("/").await.unwrap();
    !matches!(polled, Ok(None))
}

#[tokio::test]
async fn polling_is_counted_exactly() {
    let polled = std::cell::Cell::new(0);
    let mut three = pin!(async {
        for _ in 0..2 {
            polled.set(polled.get() + 1);
            tokio::task::yield_now().await;
        }
        7
    });
    for (polls, total) in [(0, 0), (1, 1), (1, 2)] {
        assert_eq!(poll_times(three.as_mut(), polls).await, None);
        assert_eq!(polled.get(), total);
    }
    assert_eq!(poll_times(three.as_mut(), 5).await, Some(7));
}
