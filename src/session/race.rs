//! [`Race`]: the first of two futures, as small as the two together. An `async fn` that selects among its arguments takes
//! up twice their room, and a hundred thousand guardians wait in one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// Polls `work` first, then `end`.
    pub(super) struct Race<W, E> {
        #[pin]
        work: W,
        #[pin]
        end: E,
    }
}

/// What `work` brings, unless `end` comes first. A request goes out with the first poll, in the order in which callers
/// begin: so `work` is polled first.
pub(super) fn race<W: Future, E: Future>(work: W, end: E) -> Race<W, E> {
    Race { work, end }
}

impl<W: Future, E: Future> Future for Race<W, E> {
    type Output = Result<W::Output, E::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(context) {
            return Poll::Ready(Ok(done));
        }
        this.end.poll(context).map(Err)
    }
}
