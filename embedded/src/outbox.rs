//! What waits to be written to a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

/// Reading from a connection stops while so much waits to be written to it.
const BACKPRESSURE: usize = 4 << 20;
/// A connection that lets so much pile up is closed.
const OVERFLOW: usize = 64 << 20;

/// A first-in, first-out queue of frames: this order is what makes an event arrive before the reply of a later read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Notify,
    drained: Notify,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    closed: bool,
}

/// Bytes, and when they may go out at the earliest.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) not_before: Option<Instant>,
}

impl Outbox {
    /// Adds a frame, unless the outbox is closed.
    pub(crate) fn push(&self, bytes: Bytes, not_before: Option<Instant>) {
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        queue.bytes += bytes.len();
        queue.frames.push_back(Frame { bytes, not_before });
        if queue.bytes > OVERFLOW {
            queue.frames.clear();
            queue.bytes = 0;
            queue.closed = true;
        }
        let overflows = queue.closed;
        drop(queue);
        self.shared.filled.notify_one();
        if overflows {
            self.shared.ended.notify_one();
        }
    }

    /// Lets what may go out now go out, then closes the connection.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let now = Instant::now();
        if let Some(held_back) = queue
            .frames
            .iter()
            .position(|frame| frame.not_before.is_some_and(|at| at > now))
        {
            queue.frames.truncate(held_back);
            queue.bytes = queue.frames.iter().map(|frame| frame.bytes.len()).sum();
        }
        drop(queue);
        self.shared.filled.notify_one();
        self.shared.ended.notify_one();
    }

    /// Waits until it is closed. Only one may wait at a time.
    pub(crate) async fn closed(&self) {
        while !self.queue().closed {
            self.shared.ended.notified().await;
        }
    }

    /// How many frames wait.
    pub(crate) fn len(&self) -> usize {
        self.queue().frames.len()
    }

    /// The next frame; `None` once all is written and the outbox is closed.
    pub(crate) async fn next(&self) -> Option<Frame> {
        loop {
            {
                let mut queue = self.queue();
                if let Some(frame) = queue.frames.pop_front() {
                    queue.bytes -= frame.bytes.len();
                    let has_room = queue.bytes < BACKPRESSURE;
                    drop(queue);
                    if has_room {
                        self.shared.drained.notify_one();
                    }
                    return Some(frame);
                }
                if queue.closed {
                    return None;
                }
            }
            self.shared.filled.notified().await;
        }
    }

    /// The next frame, if it may go out without waiting.
    pub(crate) fn try_next(&self) -> Option<Frame> {
        let mut queue = self.queue();
        if queue.frames.front().is_none_or(|frame| frame.not_before.is_some()) {
            return None;
        }
        let frame = queue.frames.pop_front()?;
        queue.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// Waits while a peer that does not read lets too much pile up.
    pub(crate) async fn room(&self) {
        while self.queue().bytes >= BACKPRESSURE {
            self.shared.drained.notified().await;
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
