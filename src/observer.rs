//! [`Observer`]: a view of the latest value of something that a background task keeps up to date.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{FutureExt, Stream};
use tokio::sync::watch;

/// The latest value of something that changes: a session's state, a leader, the members of a group.
///
/// An observer never misses the *latest* value. It may skip values that follow each other faster than they are read.
/// Observing costs no requests. Clones observe independently of each other.
///
/// # Seen and unseen
/// [`changed`](Self::changed) and the stream yield a value that this observer has not seen yet, and mark it as seen.
/// The value at the time of the observer's creation counts as seen. [`current`](Self::current) and
/// [`borrow`](Self::borrow) read the value and mark nothing.
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) {
/// use futures::StreamExt;
///
/// let mut states = zk.states();
/// println!("the session is {}", *states.borrow());
/// while let Some(state) = states.next().await {
///     println!("the session is {state} now");
/// }
/// # }
/// ```
pub struct Observer<T> {
    values: watch::Receiver<T>,
    /// Of the stream: resolves when `values` may have changed.
    wakeup: Option<Wakeup>,
}

type Wakeup = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl<T> Observer<T> {
    pub(crate) fn new(values: watch::Receiver<T>) -> Self {
        Self { values, wakeup: None }
    }

    /// Reads the latest value without a clone, and does not mark it as seen.
    ///
    /// Newer values wait until the reference is dropped: do not keep it.
    pub fn borrow(&self) -> impl Deref<Target = T> + '_ {
        self.values.borrow()
    }
}

impl<T: Clone> Observer<T> {
    /// Returns the latest value, and does not mark it as seen: [`changed`](Self::changed) may return it again.
    pub fn current(&self) -> T {
        self.values.borrow().clone()
    }

    /// Returns the latest value and marks it as seen: [`changed`](Self::changed) waits for a newer one.
    #[doc(alias = "borrow_and_update")]
    pub fn current_and_update(&mut self) -> T {
        self.values.borrow_and_update().clone()
    }

    /// Waits for a value that this observer has not seen yet; `None` once no further value can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the value stays unseen.
    pub async fn changed(&mut self) -> Option<T> {
        self.values.changed().await.ok()?;
        Some(self.current_and_update())
    }

    /// Waits until a value satisfies `predicate`, the current one included; `None` once no further value can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&mut self, predicate: impl FnMut(&T) -> bool) -> Option<T> {
        let value = self.values.wait_for(predicate).await.ok()?;
        Some(value.clone())
    }

    /// Returns the values as a stream that begins with the current one; it ends when no further value can come.
    ///
    /// The observer itself is a stream, too: that one begins with the first value that is not seen yet.
    pub fn into_stream(mut self) -> impl Stream<Item = T> + Send + Unpin + use<T>
    where
        T: Send + Sync + 'static,
    {
        self.values.mark_changed();
        self
    }
}

/// As [`changed`](Observer::changed), one value after the other.
impl<T: Clone + Send + Sync + 'static> Stream for Observer<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        loop {
            if let Some(next) = this.changed().now_or_never() {
                this.wakeup = None;
                return Poll::Ready(next);
            }
            // It waits on a clone, which has seen as much: nothing is missed between here and its first poll.
            let wakeup = this.wakeup.get_or_insert_with(|| {
                let mut values = this.values.clone();
                Box::pin(async move { _ = values.changed().await })
            });
            ready!(wakeup.as_mut().poll(context));
            this.wakeup = None;
        }
    }
}

impl<T> Clone for Observer<T> {
    fn clone(&self) -> Self {
        Self::new(self.values.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Observer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn an_observer_sees_the_latest_value_and_the_end() {
        let (values, receiver) = watch::channel(1);
        let mut observer = Observer::new(receiver);
        assert_eq!(observer.current(), 1);
        values.send_replace(2);
        values.send_replace(3);
        assert_eq!(observer.changed().await, Some(3));
        assert_eq!(observer.wait_for(|value| *value == 3).await, Some(3));
        let stream = observer.clone().into_stream();
        drop(values);
        assert_eq!(observer.changed().await, None);
        assert_eq!(stream.collect::<Vec<_>>().await, vec![3]);
    }

    #[tokio::test]
    async fn reading_a_value_does_not_mark_it() {
        let (values, receiver) = watch::channel(1);
        let mut observer = Observer::new(receiver);
        assert_eq!(observer.changed().now_or_never(), None);
        values.send_replace(2);
        assert_eq!((observer.current(), *observer.borrow()), (2, 2));
        assert_eq!(observer.changed().now_or_never(), Some(Some(2)));
        values.send_replace(3);
        assert_eq!(observer.current_and_update(), 3);
        assert_eq!(observer.changed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_stream_yields_what_is_unseen_and_ends() {
        let (values, receiver) = watch::channel(1);
        let mut observer = Observer::new(receiver);
        let mut task = polls(&mut observer);
        assert_eq!(task(), Poll::Pending);
        values.send_replace(2);
        assert_eq!(task(), Poll::Ready(Some(2)));
        assert_eq!(task(), Poll::Pending);
        drop(values);
        assert_eq!(task(), Poll::Ready(None));
        assert_eq!(task(), Poll::Ready(None));
    }

    #[tokio::test]
    async fn a_waiting_stream_wakes_its_task() {
        let (values, receiver) = watch::channel(0);
        let observer = Observer::new(receiver);
        let reading = tokio::spawn(observer.take_while(|value| futures::future::ready(*value < 3)).count());
        let mut sent = 0;
        while !reading.is_finished() {
            sent += 1;
            values.send_replace(sent);
            tokio::task::yield_now().await;
        }
        assert!((0..3).contains(&reading.await.unwrap()));
    }

    #[tokio::test]
    async fn a_stream_goes_on_behind_changed() {
        let (values, receiver) = watch::channel(1);
        let mut observer = Observer::new(receiver);
        assert_eq!(observer.next().now_or_never(), None);
        values.send_replace(2);
        assert_eq!(observer.changed().await, Some(2));
        assert_eq!(observer.next().now_or_never(), None);
        values.send_replace(3);
        assert_eq!(observer.next().await, Some(3));
    }

    /// Polls the stream once a call.
    fn polls<'a>(observer: &'a mut Observer<i32>) -> impl FnMut() -> Poll<Option<i32>> + 'a {
        || {
            let mut context = Context::from_waker(futures::task::noop_waker_ref());
            Pin::new(&mut *observer).poll_next(&mut context)
        }
    }
}
