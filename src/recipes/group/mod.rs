//! [`Group`]: the members that are there.
//!
//! * `membership` – [`Membership`], one member's place, kept through all sessions
//! * `members` – the members of now, and how they change

mod members;
mod membership;

use bytes::Bytes;

use crate::error::{Error, classify};
use crate::session::Coordinator;
use crate::znode::NodePath;

pub use self::members::{GroupObserver, Member, MemberChange};
use self::membership::IfTaken;
pub use self::membership::{Membership, Presence};

/// A group of members, each with an id and data, across processes and machines: Curator's `GroupMember` on the same
/// path sees ours as its own, and they it.
///
/// A member is an ephemeral node named by its id. It is seen until its process leaves, or its session expires.
///
/// # Cost
/// Joining: one create. An update: one read and one write. Asking for the members: one list, and one read for each. An
/// observer: one watch, and one for each member; nothing while no member comes, goes or changes.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::{Group, MemberChange};
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// let workers = Group::new(&zk, "/workers")?;
/// let membership = workers.join("worker-7", "10.0.0.7:9000").await?;
///
/// let mut observer = workers.observe().await?;
/// println!("{:?} are there", observer.members());
/// while let Some(changes) = observer.changed().await {
///     for change in changes {
///         match change {
///             MemberChange::Joined(member) => println!("{} is here, at {:?}", member.id, member.data),
///             MemberChange::Left(member) => println!("{} is gone", member.id),
///             MemberChange::Changed(member) => println!("{} is now at {:?}", member.id, member.data),
///             _ => {}
///         }
///     }
/// }
/// membership.leave().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "GroupMember")]
#[doc(alias = "Party")]
#[derive(Clone, Debug)]
pub struct Group {
    zk: Coordinator,
    path: NodePath,
}

impl Group {
    /// A group at `path`, below the chroot. Nothing is sent; the node at `path` is made when it is first needed.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Ok(Self {
            zk: zk.clone(),
            path: NodePath::new(path)?,
        })
    }

    /// The path of the group, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Joins under `id`, which is one part of a path, with data for the others to see. Lost connections and servers
    /// that are away are waited out, and so is a node that an expired session of this coordinator has left.
    ///
    /// # Errors
    /// * [`JoinError::Taken`]: the id belongs to another member; that may be this process before its restart, until the
    ///   session that it left behind expires.
    /// * [`JoinError::Error`]: among others [`Error::InvalidPath`] for an id that is empty or has a `/`, and
    ///   [`Error::TooLarge`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group: the node is removed in the background, within moments while the session
    /// lives.
    pub async fn join(&self, id: &str, data: impl Into<Bytes>) -> Result<Membership, JoinError> {
        let path = self.path.named_child(id)?;
        Membership::begin(&self.zk, id, path, data.into(), IfTaken::Fail).await
    }

    /// Joins under `id` as [`join`](Self::join) does, and waits while another session has the id.
    ///
    /// It is for a process with a stable id that restarts faster than its former session expires. The node of that
    /// session is never taken over and never removed: the process that looks dead may be frozen, and may work on. The log
    /// says for which session it waits. Another process that keeps the id is waited for as long as it stays.
    ///
    /// ```no_run
    /// # async fn example(workers: zookeeper_recipes::Group) -> Result<(), Box<dyn std::error::Error>> {
    /// let membership = workers.join_when_free("worker-7", "10.0.0.7:9000").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`JoinError::Taken`] where the node is not ephemeral, and thus never goes by itself; else as `join`.
    ///
    /// # Cancel safety
    /// As `join`.
    ///
    /// # Cost
    /// One create and one watch for each node that is waited for; nothing while it waits.
    pub async fn join_when_free(&self, id: &str, data: impl Into<Bytes>) -> Result<Membership, JoinError> {
        let path = self.path.named_child(id)?;
        Membership::begin(&self.zk, id, path, data.into(), IfTaken::Wait).await
    }
}

/// Why a group was not joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The id is in use.
    #[error("{id} is a member already, in session {session_id:#x}; choose another id, or wait with `join_when_free`")]
    Taken {
        /// The id.
        id: String,
        /// The session of the member; 0 if the node is not ephemeral, and thus none of a member.
        session_id: i64,
    },
    /// It cannot be joined at all.
    #[error(transparent)]
    Error(#[from] Error),
}

classify!(JoinError, Self::Error(error) => error.nature());
