//! [`Race`]: the first of two futures, as small as the two together. An `async fn` that selects among its arguments takes
//! up twice their room, and a hundred thousand guardians wait in one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// Polls `first` first, then `second`.
    pub(super) struct Race<A, B> {
        #[pin]
        first: A,
        #[pin]
        second: B,
    }
}

/// Waits for the one that is ready first: `Ok` of the first, `Err` of the second. In each poll the first one comes first.
pub(super) fn race<A: Future, B: Future>(first: A, second: B) -> Race<A, B> {
    Race { first, second }
}

impl<A: Future, B: Future> Future for Race<A, B> {
    type Output = Result<A::Output, B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.first.poll(context) {
            return Poll::Ready(Ok(done));
        }
        this.second.poll(context).map(Err)
    }
}
