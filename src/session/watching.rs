//! [`WatchingSession`]: a session that owns nothing, and watches what the sessions of a coordinator may not.
//!
//! After a reconnect `zookeeper-client` sets its watches again, in requests that share one id. With more than 131,072 bytes
//! of paths there is more than one request, and the session never comes back. So a session that owns nodes watches
//! [`WATCHED_BYTES`] itself. All further watches of holds, waiters and observed nodes are set in this one, which is replaced
//! whenever it loses its server: that costs nothing but looking again.
//!
//! **What this session sees is a hint.** Its server may lag behind that of the owner of a node, or be cut off from the
//! leader. So holds are granted by what the owner reads, behind a `sync` after each hint. While anything relies on this
//! session, it asks the leader for a `sync` each [`PROBES`]th of the coordinator's session timeout, and is replaced if no
//! answer comes.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{self, Instant};
use tracing::{debug, warn};
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::core::Session;
use super::eye::{Eye, EyeEnd, EyeRuntime, EyeWatch};
use super::interrupted::Interrupted;
use super::options::ConnectOptions;
use super::request::classify;
use super::retry::{Backoff, refused};
use super::stats::{SessionKind, SessionStats};
use super::supervisor;
use super::watch_budget::WatchShare;
use crate::error::Error;

/// How many bytes of paths a session that owns nodes watches for the recipes. A quarter of what a reconnect can restore
/// is left for observers, and for users of the session's client.
pub(super) const WATCHED_BYTES: usize = 98_304;

/// It owns nothing, and a client that is given up goes on for as long: a part of the coordinator's session timeout is
/// asked for, but no less than this.
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How often within the coordinator's session timeout the leader is asked.
pub(super) const PROBES: u32 = 5;

/// How many nodes are looked at at a time for each [`WatchedFor`], so that the leader's answer is not kept waiting.
const LOOKS_IN_FLIGHT: usize = 256;

/// What needs a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchedFor {
    /// A contender that waits.
    Wait,
    /// A hold or a place in line: the node is our own.
    Hold,
    /// A view of others' nodes.
    View,
}

/// Opens a session when the first watch needs it, and another one when that is lost.
#[derive(Debug)]
pub(crate) struct WatchingSession {
    options: ConnectOptions,
    cluster: Cluster,
    runtime: Handle,
    stage: watch::Sender<WatchStage>,
    closed: watch::Sender<bool>,
    /// For each [`WatchedFor`], so that none waits for another kind.
    looks: [Semaphore; 3],
}

#[derive(Clone, Debug)]
enum WatchStage {
    Idle,
    Opening,
    Open(Arc<Eye>),
    Over(Error),
}

impl WatchingSession {
    pub(super) fn new(options: &ConnectOptions, cluster: &Cluster, runtime: &Handle) -> Arc<Self> {
        Arc::new(Self {
            options: options.clone(),
            cluster: cluster.clone(),
            runtime: runtime.clone(),
            stage: watch::Sender::new(WatchStage::Idle),
            closed: watch::Sender::new(false),
            looks: [(); 3].map(|()| Semaphore::new(LOOKS_IN_FLIGHT)),
        })
    }

    /// Closes it for good.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        self.stage.send_modify(|stage| {
            if let WatchStage::Idle = stage {
                *stage = WatchStage::Over(Error::Closed);
            }
        });
    }

    pub(super) fn stats(&self) -> Option<SessionStats> {
        let stage = self.stage.borrow();
        let WatchStage::Open(eye) = &*stage else { return None };
        Some(SessionStats {
            id: eye.id,
            kind: SessionKind::Watching,
            is_connected: !*eye.lost.borrow(),
            holds: 0,
            nodes: 0,
            bytes: 0,
            bytes_limit: 0,
            watched: eye.watched.used(),
        })
    }

    fn looks(&self, reason: WatchedFor) -> &Semaphore {
        let [waits, holds, views] = &self.looks;
        match reason {
            WatchedFor::Wait => waits,
            WatchedFor::Hold => holds,
            WatchedFor::View => views,
        }
    }

    /// The session that watches now. It is opened if there is none.
    async fn open(self: &Arc<Self>) -> Result<Arc<Eye>, Error> {
        let mut stages = self.stage.subscribe();
        loop {
            let stage = stages.borrow_and_update().clone();
            match stage {
                WatchStage::Open(eye) => return Ok(eye),
                WatchStage::Over(error) => return Err(error),
                WatchStage::Opening => {}
                WatchStage::Idle => {
                    let begin = |stage: &mut WatchStage| {
                        let is_idle = matches!(stage, WatchStage::Idle);
                        if is_idle {
                            *stage = WatchStage::Opening;
                        }
                        is_idle
                    };
                    if self.stage.send_if_modified(begin) {
                        self.runtime.spawn(Self::serve(Arc::downgrade(self)));
                    }
                    continue;
                }
            }
            // The sender is ours.
            let _ = stages.changed().await;
        }
    }

    /// Opens one session after the other, until none is needed.
    async fn serve(this: Weak<Self>) {
        loop {
            let Some(watching) = this.upgrade() else { return };
            let timeout = watching.options.session_timeout;
            let mut closed = watching.closed.subscribe();
            // An error means that the coordinator is gone.
            let over = async { drop(closed.wait_for(|closed| *closed).await) };
            tokio::pin!(over);
            let (runtime, opening) = watching.begin_opening();
            drop(watching);
            let opened = tokio::select! {
                opened = opening => opened,
                () = over.as_mut() => None,
            };
            let tell = |stage| {
                if let Some(watching) = this.upgrade() {
                    watching.stage.send_replace(stage);
                }
            };
            let client = match opened {
                Some(Ok(client)) => client,
                None => return tell(WatchStage::Over(Error::Closed)),
                Some(Err(error)) => {
                    warn!(%error, "no watching session can be opened; it is tried again after a session timeout");
                    tell(WatchStage::Over(Error::AuthFailed));
                    tokio::select! {
                        () = time::sleep(timeout) => return tell(WatchStage::Idle),
                        () = over => return tell(WatchStage::Over(Error::Closed)),
                    }
                }
            };
            let (began, states, mut ending) = (Instant::now(), client.state_watcher(), client.state_watcher());
            let eye = Arc::new(Eye::new(client));
            debug!(session = format_args!("{:#x}", eye.id), "a watching session was opened");
            tell(WatchStage::Open(Arc::clone(&eye)));
            let end = tokio::select! {
                () = over => EyeEnd::Over,
                end = eye.supervise(states, timeout) => end,
            };
            eye.lose();
            match end {
                EyeEnd::Lost => tell(WatchStage::Opening),
                EyeEnd::Unused => tell(WatchStage::Idle),
                EyeEnd::Over => tell(WatchStage::Over(Error::Closed)),
            }
            if end != EyeEnd::Lost {
                let ended = async { while !ending.changed().await.is_terminated() {} };
                let _ = time::timeout(timeout / PROBES, ended).await;
                return;
            }
            // What is lost as soon as it is opened is not to be opened again at once.
            drop(runtime);
            time::sleep((timeout / PROBES).saturating_sub(began.elapsed())).await;
        }
    }

    /// Opens a session on a runtime of its own: a client that is given up sets its watches again, in vain, until its
    /// session timeout is over, or its runtime is shut down.
    fn begin_opening(
        &self,
    ) -> (
        EyeRuntime,
        impl Future<Output = Option<Result<zk::Client, zk::Error>>> + use<>,
    ) {
        let timeout = self.options.session_timeout;
        let mut options = self.options.clone();
        options.session_timeout = (timeout / PROBES).max(SHORTEST_TIMEOUT.min(timeout));
        let cluster = self.cluster.clone();
        let runtime = EyeRuntime::start();
        let handle = runtime.0.as_ref().map_or(&self.runtime, Runtime::handle);
        let opening = handle.spawn(async move { supervisor::open(&options, &cluster, None).await });
        // An error means that the runtime is gone.
        let opened = async { opening.await.ok().map(|opened| opened.map(|(client, _)| client)) };
        (runtime, opened)
    }
}

impl Session {
    /// Counts a watch that this session has to set itself, beyond its limit too.
    pub(crate) fn charge_watch(&self, path: &str) -> WatchShare {
        self.watched().charge(self.chroot_len() + path.len())
    }

    /// A share in what this session watches itself; `None` if that is all taken.
    pub(crate) fn watch_share(&self, path: &str) -> Option<WatchShare> {
        self.watched().share(self.chroot_len() + path.len())
    }

    /// The state of the node at `path` and a watch on it, through the watching session, if it is there: at nothing older
    /// than this call if it is not.
    pub(crate) async fn watch_elsewhere(
        self: &Arc<Self>,
        path: &str,
        reason: WatchedFor,
    ) -> Result<Option<(zk::Stat, EyeWatch)>, Interrupted> {
        let look = |eye| self.look_through(eye, path);
        self.through_another(path, reason, look).await
    }

    /// Data and state of the node at `path` and a watch on it, through the watching session, if it is there: at nothing
    /// older than this call.
    pub(crate) async fn read_elsewhere(
        self: &Arc<Self>,
        path: &str,
    ) -> Result<Option<(Vec<u8>, zk::Stat, EyeWatch)>, Interrupted> {
        let read = |eye| self.read_through(eye, path);
        self.through_another(path, WatchedFor::View, read).await
    }

    /// Asks through the watching session, and again through the next one.
    async fn through_another<T, F: Future<Output = Result<Option<T>, zk::Error>>>(
        self: &Arc<Self>,
        path: &str,
        reason: WatchedFor,
        ask: impl Fn(Arc<Eye>) -> F,
    ) -> Result<Option<T>, Interrupted> {
        let mut backoff = Backoff::default();
        loop {
            let eye = self.while_alive(self.watching().open()).await??;
            let asked = async {
                // The semaphores are never closed.
                let _paced = self.watching().looks(reason).acquire().await;
                ask(Arc::clone(&eye)).await
            };
            match self.while_alive(eye.while_seeing(asked)).await? {
                Some(Ok(found)) => return Ok(found),
                Some(Err(zk::Error::NoNode)) => return Ok(None),
                Some(Err(error)) if classify(&error).is_none() => return Err(refused(path, error)),
                Some(Err(error)) => debug!(%error, path, "the watching session gave no answer"),
                None => {}
            }
            self.sleep(backoff.next()).await?;
        }
    }

    async fn look_through(&self, eye: Arc<Eye>, path: &str) -> Result<Option<(zk::Stat, EyeWatch)>, zk::Error> {
        let client = eye.client()?;
        // A server that lags behind is asked again.
        for is_behind_sync in [false, true] {
            if is_behind_sync {
                self.count_request();
                client.sync(path).await?;
            }
            let share = eye.watched.share(self.chroot_len() + path.len());
            self.count_request();
            let (stat, watcher) = client.check_and_watch_stat(path).await?;
            if let (Some(stat), Some(_share)) = (stat, share) {
                return Ok(Some((stat, EyeWatch { eye, watcher, _share })));
            }
        }
        Ok(None)
    }

    async fn read_through(
        &self,
        eye: Arc<Eye>,
        path: &str,
    ) -> Result<Option<(Vec<u8>, zk::Stat, EyeWatch)>, zk::Error> {
        let client = eye.client()?;
        let Some(_share) = eye.watched.share(self.chroot_len() + path.len()) else {
            return Ok(None);
        };
        self.count_request();
        self.count_request();
        // In this order on one connection: the answer is not older than the sync.
        let (synced, read) = future::join(client.sync(path), client.get_and_watch_data(path)).await;
        synced?;
        let (data, stat, watcher) = read?;
        Ok(Some((data, stat, EyeWatch { eye, watcher, _share })))
    }
}
