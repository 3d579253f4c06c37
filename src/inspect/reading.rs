//! [`Reader`]: requests of one inspector, so many at a time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use zookeeper_client as zk;

use crate::error::Error;
use crate::session::{Coordinator, Interrupted, Session};
use crate::znode::{children_at, read, retry_across_sessions, sync};

/// The names of a node's children, and its state.
pub(super) type ListedChildren = (Vec<String>, zk::Stat);

/// A node that was read.
#[derive(Clone, Debug)]
pub(super) struct ReadNode {
    pub(super) path: String,
    pub(super) data: Vec<u8>,
    pub(super) stat: zk::Stat,
}

/// Sends reads, and never more than so many at a time.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) zk: Coordinator,
    gate: Arc<Gate>,
    /// Nodes that are not read a second time.
    kept: Option<Arc<Mutex<HashMap<String, ReadNode>>>>,
}

#[derive(Debug)]
struct Gate {
    limit: usize,
    permits: Semaphore,
    requests: AtomicU64,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Reader {
    pub(super) fn new(zk: &Coordinator, limit: usize) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        let gate = Gate {
            limit,
            permits: Semaphore::new(limit),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
        };
        Self {
            zk: zk.clone(),
            gate: Arc::new(gate),
            kept: None,
        }
    }

    /// One that reads each node once: its owner says when a node has changed.
    pub(super) fn keeping(&self) -> Self {
        Self {
            kept: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// Keeps a node that was read in another way.
    pub(super) fn keep(&self, node: ReadNode) {
        self.with_kept(|kept| {
            kept.insert(node.path.clone(), node);
        });
    }

    /// Forgets the kept nodes that are not wanted.
    pub(super) fn retain(&self, mut is_wanted: impl FnMut(&str) -> bool) {
        self.with_kept(|kept| kept.retain(|path, _| is_wanted(path)));
    }

    fn kept(&self, path: &str) -> Option<ReadNode> {
        let kept = self.kept.as_ref()?;
        kept.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn with_kept(&self, change: impl FnOnce(&mut HashMap<String, ReadNode>)) {
        if let Some(kept) = &self.kept {
            change(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.gate.limit
    }

    pub(super) fn requests(&self) -> u64 {
        self.gate.requests.load(Ordering::Relaxed)
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.gate.most_in_flight.load(Ordering::Relaxed)
    }

    /// The children of the node at `path`, and its state, if it exists.
    pub(super) async fn children(&self, path: &str) -> Result<Option<ListedChildren>, Error> {
        self.ask(|session| async move { children_at(&session, path).await })
            .await
    }

    /// Data and state of the node at `path`, if it exists.
    pub(super) async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>, Error> {
        self.ask(|session| async move { read(&session, path).await }).await
    }

    /// Makes sure that what is read next is not older than this call.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.ask(|session| async move { sync(&session, path).await }).await
    }

    /// Reads nodes, those that are gone left out, in no order. A node that may not be read is left out as well.
    pub(super) async fn read_all(&self, paths: Vec<String>) -> Result<Vec<ReadNode>, Error> {
        let read = |path: String| {
            let reader = self.clone();
            async move {
                let answer = match reader.kept(&path) {
                    Some(node) => Ok(Some((node.data, node.stat))),
                    None => reader.read(&path).await,
                };
                (path, answer)
            }
        };
        let (mut paths, mut reads, mut nodes) = (paths.into_iter(), FuturesUnordered::new(), Vec::new());
        reads.extend(paths.by_ref().take(self.limit()).map(read));
        while let Some((path, answer)) = reads.next().await {
            reads.extend(paths.next().map(read));
            match answer {
                Ok(Some((data, stat))) => {
                    let node = ReadNode { path, data, stat };
                    if self.kept.is_some() {
                        self.keep(node.clone());
                    }
                    nodes.push(node);
                }
                Ok(None) | Err(Error::Denied { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(nodes)
    }

    async fn ask<T, F: Future<Output = Result<T, Interrupted>>>(
        &self,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Error> {
        // The gate is never closed.
        let _permit = self.gate.permits.acquire().await;
        self.gate.requests.fetch_add(1, Ordering::Relaxed);
        let now = self.gate.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.gate.most_in_flight.fetch_max(now, Ordering::Relaxed);
        let _in_flight = InFlight(&self.gate.in_flight);
        retry_across_sessions(&self.zk, request).await
    }
}

/// Counts a request that is on its way, until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
