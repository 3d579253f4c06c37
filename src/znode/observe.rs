//! The loop under every observer: look, watch what was seen, look again when that has changed.
//!
//! One-shot watches, each set by the read whose result it guards, so that no change falls between the two. After a
//! reconnect and in a new session everything is read again, behind a `sync`: a watch may miss a node that was deleted
//! and created again in the meantime, and another server may lag. While nothing changes, nothing is sent.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::request::{request, stat_and_watcher, sync};
use super::watch::{NodeWatch, PlacedWatch, WatchOutcome};
use crate::error::Error;
use crate::observer::Observer;
use crate::session::{Coordinator, Interrupted, Retry, Session};

/// Pause after a refused read, which only a change of ACLs can cause.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// What an observer makes of the nodes that it watches.
pub(crate) trait Observe: Send + 'static {
    type Value: Clone + PartialEq + Send + Sync + 'static;

    /// Looks at the nodes. It is called again once a watch set through `context` has fired, and may keep what
    /// [`is_current`](Watched::is_current) still holds true of.
    fn refresh(&mut self, context: &WatchContext) -> impl Future<Output = Result<Self::Value, Interrupted>> + Send;
}

/// Begins to observe, in the background and until the last observer is dropped or the coordinator ends. Returns with
/// the first value.
pub(crate) async fn observe<V: Observe>(zk: &Coordinator, mut view: V) -> Result<Observer<V::Value>, Error> {
    let wake = Arc::new(Notify::new());
    let (context, first) = look(zk, &wake, &mut view, None).await?;
    let (values, receiver) = watch::channel(first);
    let runtime = context.session.runtime().clone();
    runtime.spawn(follow(zk.clone(), wake, view, context, values));
    Ok(Observer::new(receiver))
}

async fn follow<V: Observe>(
    zk: Coordinator,
    wake: Arc<Notify>,
    mut view: V,
    mut context: WatchContext,
    values: watch::Sender<V::Value>,
) {
    let following = async {
        loop {
            context.outdated().await;
            let value;
            (context, value) = match look(&zk, &wake, &mut view, Some(context)).await {
                Ok(seen) => seen,
                Err(_) => return,
            };
            values.send_if_modified(|current| {
                let changed = *current != value;
                *current = value;
                changed
            });
        }
    };
    tokio::select! {
        () = following => {}
        () = values.closed() => {}
    }
}

/// Looks through `context`, or through a new one where that is of the past. Without one, that is, the first time, a
/// refusal is an error; later it is waited out, and only the end of the coordinator is.
async fn look<V: Observe>(
    zk: &Coordinator,
    wake: &Arc<Notify>,
    view: &mut V,
    mut context: Option<WatchContext>,
) -> Result<(WatchContext, V::Value), Error> {
    let first = context.is_none();
    loop {
        let session = zk.session().await?;
        let seen = async {
            let context = match context.take().filter(|context| context.is_of(&session)) {
                Some(context) => context,
                None => WatchContext::open(&session, wake).await?,
            };
            let value = view.refresh(&context).await?;
            Ok((context, value))
        };
        match seen.await {
            Ok(seen) => return Ok(seen),
            Err(Interrupted::Lost(lost)) => debug!(reason = %lost.reason, "looking again"),
            Err(Interrupted::Failed(error)) if first => return Err(zk.ended().unwrap_or(error)),
            Err(Interrupted::Failed(error)) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot observe for now; trying again"
                );
                // The end of the session is no reason to hurry.
                let _ = session.sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// One connection of one session, to look through.
#[derive(Debug)]
pub(crate) struct WatchContext {
    session: Arc<Session>,
    connection: u64,
    wake: Arc<Notify>,
}

/// What was read, guarded by a watch.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    pub(crate) value: T,
    session: i64,
    connection: u64,
    fired: Arc<AtomicBool>,
    _watch: NodeWatch,
}

/// Data and state of a node.
#[derive(Clone, Debug)]
pub(crate) struct NodeData {
    pub(crate) data: Bytes,
    pub(crate) stat: zk::Stat,
}

impl NodeData {
    pub(super) fn new(data: impl Into<Bytes>, stat: zk::Stat) -> Self {
        let data = data.into();
        Self { data, stat }
    }
}

impl<T> Watched<T> {
    /// Whether it has not changed since, as seen through `context`.
    pub(crate) fn is_current(&self, context: &WatchContext) -> bool {
        (self.session, self.connection) == (context.session.id(), context.connection)
            && !self.fired.load(Ordering::Acquire)
    }
}

impl WatchContext {
    /// Looks through the current connection, at nothing older than this moment.
    async fn open(session: &Arc<Session>, wake: &Arc<Notify>) -> Result<Self, Interrupted> {
        session.connected().await?;
        let connection = session.connection();
        sync(session, "/").await?;
        Ok(Self {
            session: Arc::clone(session),
            connection,
            wake: Arc::clone(wake),
        })
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    fn is_of(&self, session: &Arc<Session>) -> bool {
        Arc::ptr_eq(&self.session, session) && self.connection == session.connection()
    }

    /// Waits until a watch has fired, or there is another connection to look through.
    async fn outdated(&self) {
        let reconnected = async {
            let Ok(client) = self.session.client() else { return };
            let mut states = client.state_watcher();
            drop(client);
            while self.session.connection() == self.connection || states.peek_state() != zk::SessionState::SyncConnected
            {
                states.changed().await;
            }
        };
        let changed = async {
            tokio::select! {
                () = self.wake.notified() => {}
                () = reconnected => {}
            }
        };
        // The end of the session is noticed by the next look.
        let _ = self.session.while_alive(changed).await;
    }

    /// The data of the node at `path`, if it exists; else nothing is watched.
    pub(crate) async fn existing(&self, path: &str) -> Result<Option<Watched<NodeData>>, Interrupted> {
        let found = match self.session.watch_share(path) {
            Some(share) => {
                let answer = request(&self.session, path, |client| async move {
                    client.get_and_watch_data(path).await
                });
                let found = answer.await?;
                found.map(|(data, stat, watcher)| (data, stat, PlacedWatch::Own(watcher, share)))
            }
            None => {
                let found = self.session.read_elsewhere(path).await?;
                // What is read beside it is no older.
                sync(&self.session, path).await?;
                found.map(|(data, stat, watch)| (data, stat, PlacedWatch::Elsewhere(watch)))
            }
        };
        Ok(found.map(|(data, stat, watch)| self.placed(path, NodeData::new(data, stat), watch)))
    }

    /// The data of the node at `path`, or that there is none.
    pub(crate) async fn data(&self, path: &str) -> Result<Watched<Option<NodeData>>, Interrupted> {
        let mut retry = Retry::new(&self.session, path, 0);
        loop {
            if let Some(existing) = self.existing(path).await? {
                return Ok(existing.map(Some));
            }
            if let Some(absent) = self.absent(path).await? {
                return Ok(absent.map(|()| None));
            }
            retry.raced().await?;
        }
    }

    /// The children of `path`; none if it does not exist.
    pub(crate) async fn children(&self, path: &str) -> Result<Watched<Vec<String>>, Interrupted> {
        let listing = self.listing(path).await?;
        Ok(listing.map(|listing| listing.map(|(names, _)| names).unwrap_or_default()))
    }

    /// The children of the node at `path`, and its state, or that there is none.
    pub(crate) async fn listing(&self, path: &str) -> Result<Watched<Option<(Vec<String>, zk::Stat)>>, Interrupted> {
        let mut retry = Retry::new(&self.session, path, 0);
        loop {
            let answer = request(&self.session, path, |client| async move {
                client.get_and_watch_children(path).await
            });
            if let Some((children, stat, watcher)) = answer.await? {
                return Ok(self.watched(path, Some((children, stat)), watcher));
            }
            if let Some(absent) = self.absent(path).await? {
                return Ok(absent.map(|()| None));
            }
            retry.raced().await?;
        }
    }

    /// That there is no node at `path`, unless there is.
    async fn absent(&self, path: &str) -> Result<Option<Watched<()>>, Interrupted> {
        let (stat, watcher) = stat_and_watcher(&self.session, path).await?;
        Ok(stat.is_none().then(|| self.watched(path, (), watcher)))
    }

    fn watched<T>(&self, path: &str, value: T, watcher: zk::OneshotWatcher) -> Watched<T> {
        self.guarded(value, |tell| NodeWatch::telling(&self.session, path, watcher, tell))
    }

    fn placed<T>(&self, path: &str, value: T, watch: PlacedWatch) -> Watched<T> {
        self.guarded(value, |tell| {
            watch.telling(&self.session, path, |told| {
                tell(told);
                std::future::ready(told)
            })
        })
    }

    fn guarded<T>(
        &self,
        value: T,
        watch: impl FnOnce(Box<dyn FnOnce(WatchOutcome) + Send>) -> NodeWatch,
    ) -> Watched<T> {
        let fired = Arc::new(AtomicBool::new(false));
        let tell = {
            let (fired, wake) = (Arc::clone(&fired), Arc::clone(&self.wake));
            move |_| {
                fired.store(true, Ordering::Release);
                wake.notify_one();
            }
        };
        Watched {
            value,
            session: self.session.id(),
            connection: self.connection,
            fired,
            _watch: watch(Box::new(tell)),
        }
    }
}

impl<T> Watched<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Watched<U> {
        Watched {
            value: f(self.value),
            session: self.session,
            connection: self.connection,
            fired: self.fired,
            _watch: self._watch,
        }
    }
}
