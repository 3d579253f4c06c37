//! [`Pool`]: the sessions in which a coordinator owns nodes.
//!
//! What one session may own is bounded, so a coordinator with very many places has several. An operation is
//! placed in the first one that has room, with all its nodes; if none has, a further session is opened. Each of them is
//! looked after by a supervisor and a reaper of its own, as the first one is: what holds in one does not depend on
//! another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time;
use tracing::info;
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::config::SessionConfig;
use super::core::{Lineage, Session};
use super::current::{CurrentSession, Slot};
use super::moment::Moment;
use super::options::ConnectOptions;
use super::reaper;
use super::registry::{EPHEMERAL_BYTES, node_bytes, reservable};
use super::state::{SessionState, States, lock};
use super::supervisor::{self, Supervisor};

use crate::error::Error;

/// Asks a supervisor to close its session.
type Closer = mpsc::UnboundedSender<oneshot::Sender<bool>>;

#[derive(Debug)]
pub(super) struct Pool {
    options: ConnectOptions,
    cluster: Cluster,
    config: Arc<SessionConfig>,
    states: Arc<States>,
    first: PoolSession,
    further: Mutex<Vec<PoolSession>>,
    /// Held while a session is opened; the number of the next one.
    opening: Arc<tokio::sync::Mutex<usize>>,
}

/// One session after the other, of which one is current.
#[derive(Debug)]
struct PoolSession {
    current: CurrentSession,
    /// Dropping it tells the supervisor that the last handle is gone.
    close: Closer,
}

/// A session in which there is room for an operation, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Room {
    session: Arc<Session>,
    bytes: usize,
}

impl Room {
    /// Reserves room in the session, if there is some.
    fn reserve(session: Arc<Session>, bytes: usize) -> Option<Self> {
        // Made only then: dropping one gives its bytes back.
        match session.registry().reserve(bytes) {
            true => Some(Self { session, bytes }),
            false => None,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.session.registry().give_back(self.bytes);
    }
}

/// What one look at the sessions brought.
enum Look {
    Room(Room),
    /// None has room, but this one is being replaced.
    Opening(CurrentSession),
    Full,
}

impl Pool {
    /// The pool that begins with the session of this client, or with one that is opened in the background.
    pub(super) fn new(
        options: ConnectOptions,
        cluster: Cluster,
        config: Arc<SessionConfig>,
        opened: Option<(zk::Client, Moment)>,
    ) -> (Arc<Self>, watch::Receiver<SessionState>) {
        let (states, receiver) = States::new();
        let states = Arc::new(states);
        let begin = Begin {
            options: &options,
            cluster: &cluster,
            config: &config,
            states: &states,
        };
        let first = begin.member(0, None, opened);
        let pool = Self {
            options,
            cluster,
            config,
            states,
            first,
            further: Mutex::default(),
            opening: Arc::new(tokio::sync::Mutex::new(1)),
        };
        (Arc::new(pool), receiver)
    }

    /// The first session, which stands for the coordinator.
    pub(super) fn first(&self) -> &CurrentSession {
        &self.first.current
    }

    /// What closes each session.
    pub(super) fn closers(&self) -> Vec<Closer> {
        let further = lock(&self.further);
        let members = std::iter::once(&self.first).chain(further.iter());
        members.map(|member| member.close.clone()).collect()
    }

    /// Room for an operation that owns so many nodes at or below `path`, in the first session that has it. A further
    /// session is opened if none has.
    ///
    /// # Errors
    /// [`Error::SessionsFull`] if there may be no further one, or none can be opened; [`Error::Closed`] and
    /// [`Error::AuthFailed`].
    pub(super) async fn place(self: &Arc<Self>, path: &str, nodes: usize) -> Result<Room, Error> {
        let bytes = nodes.saturating_mul(node_bytes(self.config.chroot_len, path));
        if bytes > self.reservable() {
            // More than any session has room for. Where it belongs it is refused, and says why.
            let session = self.first().clone().current().await?;
            return Ok(Room { session, bytes: 0 });
        }
        loop {
            match self.look(bytes)? {
                Look::Room(room) => return Ok(room),
                Look::Opening(mut current) => {
                    // Its end is seen at the next look.
                    let _ = current.current().await;
                }
                Look::Full => self.grow(path, bytes).await?,
            }
        }
    }

    fn look(&self, bytes: usize) -> Result<Look, Error> {
        let mut opening = None;
        let mut further = lock(&self.further);
        further.retain(|member| member.current.peek().is_ok());
        for (index, member) in std::iter::once(&self.first).chain(further.iter()).enumerate() {
            match member.current.peek() {
                Ok(Some(session)) if session.end_reason().is_none() => {
                    if let Some(room) = Room::reserve(session, bytes) {
                        return Ok(Look::Room(room));
                    }
                }
                Ok(_) => {
                    opening.get_or_insert_with(|| member.current.clone());
                }
                Err(error) if index == 0 => return Err(error),
                Err(_) => {}
            }
        }
        Ok(opening.map_or(Look::Full, Look::Opening))
    }

    pub(super) fn session_timeout(&self) -> Duration {
        self.options.session_timeout
    }

    /// For how long the coordinator has been in its state.
    pub(super) fn state_since(&self) -> Duration {
        self.states.since()
    }

    fn count(&self) -> usize {
        1 + lock(&self.further).len()
    }

    /// Opens a further session, unless another task just did.
    async fn grow(self: &Arc<Self>, path: &str, bytes: usize) -> Result<(), Error> {
        let seen = self.count();
        if seen >= self.config.max_sessions {
            return Err(self.full(path, bytes));
        }
        let next = Arc::clone(&self.opening).lock_owned().await;
        if self.count() != seen {
            return Ok(());
        }
        // It goes on if the caller is dropped: others may wait for it, and a session that no place needs is closed again.
        let opening = self.config.runtime.spawn(Arc::clone(self).open_further(next));
        match opening.await {
            Ok(Ok(true)) => Ok(()),
            // Without a connection a place is waited for, as everything is.
            Ok(Ok(false)) if !self.is_connected() => Ok(()),
            Ok(Ok(false)) => Err(self.full(path, bytes)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Closed),
        }
    }

    fn is_connected(&self) -> bool {
        let first = self.first.current.peek();
        first.is_ok_and(|session| session.is_some_and(|session| session.with_link(|link| link.is_up())))
    }

    /// Opens a further session; false if none could be opened in time.
    async fn open_further(self: Arc<Self>, mut next: OwnedMutexGuard<usize>) -> Result<bool, Error> {
        let bound = self.options.session_timeout;
        let opening = supervisor::open(&self.options, &self.cluster, Some(&*self.config));
        let (client, opened) = match time::timeout(bound, opening).await {
            Ok(opened) => opened.map_err(|_| Error::AuthFailed)?,
            Err(_) => return Ok(false),
        };
        let begin = Begin {
            options: &self.options,
            cluster: &self.cluster,
            config: &self.config,
            states: &self.states,
        };
        let first = Some(self.first.current.clone());
        let member = begin.member(*next, first, Some((client, opened)));
        *next += 1;
        let mut further = lock(&self.further);
        further.push(member);
        info!(
            sessions = 1 + further.len(),
            "a further session was opened, since the others have no room"
        );
        Ok(true)
    }

    fn full(&self, path: &str, bytes: usize) -> Error {
        Error::SessionsFull {
            path: path.to_owned(),
            sessions: self.count(),
            max_sessions: self.config.max_sessions,
            bytes,
            limit: self.reservable(),
        }
    }

    /// How many bytes of paths can be reserved in a session that owns nothing.
    fn reservable(&self) -> usize {
        reservable(self.config.at_most(EPHEMERAL_BYTES))
    }
}

/// What every session begins with.
struct Begin<'a> {
    options: &'a ConnectOptions,
    cluster: &'a Cluster,
    config: &'a Arc<SessionConfig>,
    states: &'a Arc<States>,
}

impl Begin<'_> {
    /// Begins to look after the session of the client, or opens one, and those that take its place. A further one ends
    /// with the first.
    fn member(&self, index: usize, first: Option<CurrentSession>, opened: Option<(zk::Client, Moment)>) -> PoolSession {
        let (orphans, orphan_receiver) = mpsc::unbounded_channel();
        let lineage = Arc::new(Lineage::new(index, orphans));
        let session =
            opened.map(|(client, opened)| Session::new(client, opened, Arc::clone(self.config), Arc::clone(&lineage)));
        let (slot, slot_receiver) = watch::channel(session.clone().map_or(Slot::Opening, Slot::Live));
        let current = CurrentSession::new(slot_receiver);
        let (close, close_receiver) = mpsc::unbounded_channel();
        let state = session
            .as_ref()
            .map_or(SessionState::Connecting, |_| SessionState::Connected);
        self.states.set(index, state);
        let runtime = &self.config.runtime;
        runtime.spawn(reaper::run(orphan_receiver, current.clone()));
        let supervisor = Supervisor {
            options: self.options.clone(),
            cluster: self.cluster.clone(),
            config: Arc::clone(self.config),
            lineage,
            slot,
            states: Arc::clone(self.states),
            first,
        };
        runtime.spawn(supervisor.run(session, close_receiver));
        PoolSession { current, close }
    }
}
