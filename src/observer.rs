//! [`Observer`]: a view of the latest value of something that a background task keeps up to date.

use futures::Stream;
use futures::stream;
use tokio::sync::watch;

/// The latest value of something that changes: a session's state, a leader, the members of a group.
///
/// An observer never misses the *latest* value; values in between may be skipped when they follow each other
/// faster than they are read. Observing costs no requests. Clones observe independently of each other.
#[derive(Clone, Debug)]
pub struct Observer<T> {
    values: watch::Receiver<T>,
}

impl<T: Clone> Observer<T> {
    pub(crate) fn new(values: watch::Receiver<T>) -> Self {
        Self { values }
    }

    /// The latest value. It counts as seen: [`changed`](Self::changed) waits for a newer one.
    pub fn current(&mut self) -> T {
        self.values.borrow_and_update().clone()
    }

    /// Waits for a value that this observer has not seen yet; `None` once no further value can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the value stays unseen.
    pub async fn changed(&mut self) -> Option<T> {
        self.values.changed().await.ok()?;
        Some(self.current())
    }

    /// Waits until a value satisfies `predicate`, the current one included; `None` once no further value can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&mut self, predicate: impl FnMut(&T) -> bool) -> Option<T> {
        let value = self.values.wait_for(predicate).await.ok()?;
        Some(value.clone())
    }

    /// The values as a stream, beginning with the current one; it ends when no further value can come.
    pub fn into_stream(self) -> impl Stream<Item = T> + Send + Unpin + use<T>
    where
        T: Send + Sync + 'static,
    {
        Box::pin(stream::unfold((self, true), |(mut observer, first)| async move {
            let value = if first {
                Some(observer.current())
            } else {
                observer.changed().await
            };
            value.map(|value| (value, (observer, false)))
        }))
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
}
