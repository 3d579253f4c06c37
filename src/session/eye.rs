//! [`Eye`]: one session that watches, and the runtime that serves it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tracing::info;
use zookeeper_client as zk;

use super::race::race;
use super::state::lock;
use super::watch_budget::{WatchBudget, WatchShare};
use super::watching::PROBES;

/// One session that watches.
#[derive(Debug)]
pub(super) struct Eye {
    client: Mutex<Option<zk::Client>>,
    pub(super) id: i64,
    pub(super) lost: watch::Sender<bool>,
    pub(super) watched: WatchBudget,
}

/// Why one session that watches has ended.
#[derive(PartialEq, Eq)]
pub(super) enum EyeEnd {
    Lost,
    Unused,
    Over,
}

/// A watch that was set through the watching session.
#[derive(Debug)]
pub(crate) struct EyeWatch {
    pub(super) eye: Arc<Eye>,
    pub(super) watcher: zk::OneshotWatcher,
    pub(super) _share: WatchShare,
}

impl EyeWatch {
    /// Waits for the event; `None` if the session was lost, and nothing is known.
    pub(crate) fn event(self) -> impl Future<Output = Option<zk::EventType>> {
        let Self {
            eye,
            watcher,
            _share: share,
        } = self;
        eye.while_seeing(watcher.changed()).map(move |event| {
            drop(share);
            event.map(|event| event.event_type)
        })
    }
}

/// What serves one client; `None` where no thread is to be had.
pub(super) struct EyeRuntime(pub(super) Option<Runtime>);

impl EyeRuntime {
    pub(super) fn start() -> Self {
        let builder = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("zk-watching")
            .build();
        Self(builder.ok())
    }
}

impl Drop for EyeRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Eye {
    pub(super) fn new(client: zk::Client) -> Self {
        Self {
            id: client.session_id().0,
            client: Mutex::new(Some(client)),
            lost: watch::Sender::new(false),
            watched: WatchBudget::new(usize::MAX),
        }
    }

    /// Returns when the session is of no more use.
    pub(super) async fn supervise(&self, mut states: zk::StateWatcher, timeout: Duration) -> EyeEnd {
        let pause = timeout / PROBES;
        let mut used = Instant::now();
        loop {
            tokio::select! {
                state = states.changed() => {
                    if state != zk::SessionState::SyncConnected {
                        info!(?state, watched = self.watched.used(), "the watching session is replaced");
                        return EyeEnd::Lost;
                    }
                }
                () = time::sleep(pause) => {}
            }
            if self.watched.used() > 0 {
                used = Instant::now();
            } else if used.elapsed() > timeout {
                return EyeEnd::Unused;
            }
            let Ok(client) = self.client() else { return EyeEnd::Lost };
            if !matches!(time::timeout(pause, client.sync("/")).await, Ok(Ok(()))) {
                info!(
                    watched = self.watched.used(),
                    "the watching session has no answer of the leader, and is replaced"
                );
                return EyeEnd::Lost;
            }
        }
    }

    pub(super) fn client(&self) -> Result<zk::Client, zk::Error> {
        lock(&self.client).clone().ok_or(zk::Error::ClientClosed)
    }

    /// Ends it: all its watches tell that nothing is known.
    pub(super) fn lose(&self) {
        drop(lock(&self.client).take());
        self.lost.send_replace(true);
    }

    /// Waits for `work`; `None` if the session is lost first.
    pub(super) fn while_seeing<F: Future>(&self, work: F) -> impl Future<Output = Option<F::Output>> + use<F> {
        let mut lost = self.lost.subscribe();
        // An error means that the session is gone, which is no different.
        let until_lost = async move { drop(lost.wait_for(|lost| *lost).await) };
        // Polled first: the answer of a lost session is worth nothing.
        race(until_lost, work).map(Result::err)
    }
}
