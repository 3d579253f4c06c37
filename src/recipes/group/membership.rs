//! [`Membership`]: one member's place in a group, kept through all sessions.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::JoinError;
use crate::error::Error;
use crate::observer::Observer;
use crate::session::{CleanupToken, CleanupWait, Coordinator, End, Interrupted, lock};
use crate::znode::{NamedEphemeral, NodePath};

/// Pause after a refused create, which only a change of ACLs or of the tree can cause.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// A place in a group, kept while this guard lives.
///
/// Dropping it leaves the group in the background; [`leave`](Self::leave) waits until the others see it.
///
/// # When the session is lost
/// The member is registered again in the next session, with its latest data; so it is if an operator deletes its
/// node. If another member has taken the id by then, it waits until that one leaves: see [`Presence`].
///
/// # Examples
/// ```no_run
/// # async fn example(workers: zookeeper_recipes::Group) -> Result<(), Box<dyn std::error::Error>> {
/// let membership = workers.join("worker-7", "10.0.0.7:8080").await?;
/// membership.update("10.0.0.7:9090").await?;
/// if !membership.is_present() {
///     println!("{} is between two sessions", membership.id());
/// }
/// membership.leave().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "the group is left as soon as the membership is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct Membership {
    zk: Coordinator,
    id: String,
    path: NodePath,
    _leaving: Leaving,
    /// Dropping it tells the keeper to leave.
    wanted: watch::Sender<Wanted>,
    presence: watch::Receiver<Presence>,
    written: watch::Receiver<Written>,
    removal: CleanupWait,
}

/// Whether a member is there, for all to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Presence {
    /// It is registered.
    Present,
    /// Its session or its node is gone; it is being registered again.
    Absent,
    /// As `Absent`, and another member has taken the id in the meantime. It is registered again once that one leaves.
    Displaced,
}

/// What joining does where another session has the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfTaken {
    Fail,
    Wait,
}

/// Marks the node of the member as one that is about to go, at once when the membership is dropped: joining again with
/// the same id then waits for that.
#[derive(Debug, Default)]
struct Leaving {
    node: Arc<Mutex<CurrentNode>>,
}

/// The end of the node of a member, and whether the member is about to leave.
#[derive(Debug, Default)]
struct CurrentNode {
    end: Option<Arc<End>>,
    is_leaving: bool,
}

impl CurrentNode {
    fn set(&mut self, end: &Arc<End>) {
        end.mark_deliberate(self.is_leaving);
        self.end = Some(Arc::clone(end));
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut node = lock(&self.node);
        node.is_leaving = true;
        if let Some(end) = &node.end {
            end.mark_deliberate(true);
        }
    }
}

/// The data that the member should have, and which in order it is.
#[derive(Clone, Debug)]
struct Wanted {
    number: u64,
    data: Bytes,
}

/// Up to which number the data was seen to, and how that went.
type Written = (u64, Result<(), Error>);

impl Membership {
    /// Registers the member and keeps it registered.
    pub(super) async fn begin(
        zk: &Coordinator,
        id: &str,
        path: NodePath,
        data: Bytes,
        if_taken: IfTaken,
    ) -> Result<Self, JoinError> {
        zk.check_size(path.as_str(), data.len())?;
        let (cleanup, removal) = CleanupWait::new();
        let (node, runtime) = loop {
            let room = zk.place(path.as_str(), 1).await?;
            let session = room.session();
            match NamedEphemeral::create(session, &path, &data, Some(&cleanup)).await {
                Ok(Ok(node)) => break (node, session.runtime().clone()),
                Ok(Err(mut taken)) if if_taken == IfTaken::Wait && taken.owner != 0 => {
                    drop(room);
                    info!(
                        %path,
                        session = format_args!("{:#x}", taken.owner),
                        "the id is in use; waiting until that node goes. A former session of this process ends one session \
                         timeout after its last sign of life"
                    );
                    taken.watch.changed().await;
                }
                Ok(Err(taken)) => {
                    return Err(JoinError::Taken {
                        id: id.to_owned(),
                        session_id: taken.owner,
                    });
                }
                Err(Interrupted::Lost(lost)) => debug!(%path, reason = %lost.reason, "joining again"),
                Err(Interrupted::Failed(error)) => return Err(zk.ended().unwrap_or(error).into()),
            }
        };
        info!(%path, "joined");
        let (wanted, wanted_receiver) = watch::channel(Wanted { number: 0, data });
        let (presence, presence_receiver) = watch::channel(Presence::Present);
        let (written, written_receiver) = watch::channel((0, Ok(())));
        let leaving = Leaving::default();
        let keeper = Keeper {
            zk: zk.clone(),
            path: path.clone(),
            cleanup,
            wanted: wanted_receiver,
            presence,
            written,
            current: Arc::clone(&leaving.node),
        };
        lock(&keeper.current).set(node.end());
        runtime.spawn(keeper.run(node));
        Ok(Self {
            zk: zk.clone(),
            id: id.to_owned(),
            path,
            _leaving: leaving,
            wanted,
            presence: presence_receiver,
            written: written_receiver,
            removal,
        })
    }

    /// The id of the member.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Path of the node that stands for the member, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Whether the member is registered, as far as is known. Costs no request.
    pub fn is_present(&self) -> bool {
        *self.presence.borrow() == Presence::Present && self.presence.has_changed().is_ok()
    }

    /// Follows whether the member is registered; it ends with the coordinator. Costs no request.
    pub fn presence(&self) -> Observer<Presence> {
        Observer::new(self.presence.clone())
    }

    /// Replaces the data. Returns when the ensemble has it, which may be after the member was registered again.
    ///
    /// # Errors
    /// [`Error::TooLarge`], in which case the data stays as it is, and what else retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the data back: it is written in the background.
    pub async fn update(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        self.zk.check_size(self.path.as_str(), data.len())?;
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            number = wanted.number + 1;
            *wanted = Wanted { number, data };
        });
        let mut written = self.written.clone();
        match written.wait_for(|(up_to, _)| *up_to >= number).await {
            Ok(written) => written.1.clone(),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Leaves the group, and returns when the node is gone, or its session is.
    ///
    /// # Cancel safety
    /// Dropping the future leaves in the background.
    pub async fn leave(self) {
        let Self {
            wanted, mut removal, ..
        } = self;
        drop(wanted);
        removal.finished().await;
    }
}

/// The task that keeps a member registered, until its [`Membership`] is dropped.
struct Keeper {
    zk: Coordinator,
    path: NodePath,
    cleanup: CleanupToken,
    wanted: watch::Receiver<Wanted>,
    presence: watch::Sender<Presence>,
    written: watch::Sender<Written>,
    /// The end of the node, for [`Leaving`].
    current: Arc<Mutex<CurrentNode>>,
}

/// The membership is not wanted any more, or none can be had.
struct Over;

impl Keeper {
    async fn run(mut self, mut node: NamedEphemeral) {
        // The end of this task drops the node, which the reaper removes then.
        while self.keep(node).await.is_ok() {
            self.presence.send_replace(Presence::Absent);
            node = match self.register().await {
                Ok(node) => node,
                Err(Over) => return,
            };
            info!(path = %self.path, "registered again");
            lock(&self.current).set(node.end());
            self.presence.send_replace(Presence::Present);
        }
    }

    /// Sees to the data of the node, until that is lost.
    async fn keep(&mut self, node: NamedEphemeral) -> Result<(), Over> {
        loop {
            tokio::select! {
                biased;
                reason = node.end().reached() => {
                    info!(path = %self.path, %reason, "not a member for now");
                    return Ok(());
                }
                wanted = self.wanted.changed() => wanted.map_err(|_| Over)?,
            }
            let Wanted { number, data } = self.wanted.borrow_and_update().clone();
            let result = match node.set_data(&data).await {
                Ok(()) => Ok(()),
                Err(Interrupted::Failed(error)) => Err(error),
                Err(Interrupted::Lost(_)) => {
                    // It is written when the member is registered again.
                    self.wanted.mark_changed();
                    return Ok(());
                }
            };
            self.written.send_modify(|written| *written = (number, result));
        }
    }

    /// Registers the member again, with the data that is wanted by then.
    async fn register(&mut self) -> Result<NamedEphemeral, Over> {
        loop {
            let Wanted { number, data } = self.wanted.borrow_and_update().clone();
            let mut wanted = self.wanted.clone();
            tokio::select! {
                registered = self.register_with(&data) => {
                    let registered = registered?;
                    self.written.send_modify(|written| *written = (number, Ok(())));
                    return Ok(registered);
                }
                changed = wanted.changed() => changed.map_err(|_| Over)?,
            }
        }
    }

    async fn register_with(&self, data: &[u8]) -> Result<NamedEphemeral, Over> {
        loop {
            let room = match self.zk.place(self.path.as_str(), 1).await {
                Ok(room) => room,
                Err(error @ Error::SessionsFull { .. }) => {
                    self.tell_refused(&error);
                    tokio::time::sleep(REFUSED_PAUSE).await;
                    continue;
                }
                Err(_) => return Err(Over),
            };
            let session = room.session();
            match NamedEphemeral::create(session, &self.path, data, Some(&self.cleanup)).await {
                Ok(Ok(node)) => return Ok(node),
                Ok(Err(mut taken)) => {
                    drop(room);
                    warn!(path = %self.path, session = format_args!("{:#x}", taken.owner), "another member has the id");
                    self.presence.send_replace(Presence::Displaced);
                    taken.watch.changed().await;
                }
                Err(Interrupted::Lost(_)) => {}
                Err(Interrupted::Failed(error)) => {
                    self.tell_refused(&error);
                    // The end of the session is no reason to hurry.
                    let _ = session.sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }

    fn tell_refused(&self, error: &Error) {
        warn!(path = %self.path, error = error as &dyn std::error::Error, "cannot register for now; trying again");
    }
}
