//! The line: contenders for one place, first come, first served.
//!
//! A contender is an ephemeral sequential node in the line's directory. It waits for the nearest contender ahead
//! whose mode conflicts with its own (`blocker`) and watches that one alone, so that a release wakes one waiter. This
//! is the queue under the lock, the read-write lock and the election; its shape is that of the lock in the ZooKeeper
//! paper (Hunt et al. 2010, section 2.4).
//!
//! * `contender` – one place in the line, from enrolling to being granted
//! * `blocker` – who is waited for, pure
//! * `listing` – all contenders with their identities
//! * `head` – the first of them, and whoever comes to be

mod blocker;
mod contender;
mod head;
mod listing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time;
use tracing::{Instrument, debug, info_span, warn};

use self::contender::Enrolled;
use crate::error::Error;
use crate::session::{Coordinator, Removal, Session, Witness};
use crate::znode::{ChildName, Hold, Interrupted, NodePath, Parents, Tag, list};

pub(crate) use self::blocker::Mode;
pub(crate) use self::head::HeadView;
pub use self::listing::Contender;

/// How much longer than its deadline a timed call may take to see its node removed.
const WITHDRAWAL_GRACE: Duration = Duration::from_millis(500);

/// How a contender of ours joins a line.
#[derive(Clone, Debug)]
pub(crate) struct Enrolment {
    pub(crate) mode: Mode,
    /// The data of its node; the coordinator's identity where there is none.
    pub(crate) data: Option<Bytes>,
}

impl Enrolment {
    pub(crate) const EXCLUSIVE: Self = Self {
        mode: Mode::Exclusive,
        data: None,
    };
}

/// Which names a line writes and which it understands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    /// The tag of an exclusive contender of ours.
    pub(crate) exclusive: Tag,
    /// The tag of a sharing contender of ours; that of an exclusive one where the line has no sharing.
    pub(crate) shared: Tag,
    /// Contenders of these tags stand in the line, whoever made them.
    pub(crate) known: &'static [(Tag, Mode)],
    pub(crate) parents: Parents,
}

impl Dialect {
    pub(crate) const CURATOR_LOCK: Self = Self {
        exclusive: Tag::Lock,
        shared: Tag::Lock,
        known: LOCK_TAGS,
        parents: Parents::Containers,
    };
    pub(crate) const CURATOR_LATCH: Self = Self {
        exclusive: Tag::Latch,
        shared: Tag::Latch,
        known: LATCH_TAGS,
        parents: Parents::Containers,
    };
    /// Curator's `LeaderSelector` stands on its `InterProcessMutex`.
    pub(crate) const CURATOR_SELECTOR: Self = Self::CURATOR_LOCK;
    pub(crate) const KAZOO_LOCK: Self = Self {
        exclusive: Tag::KazooLock,
        shared: Tag::KazooReadLock,
        known: LOCK_TAGS,
        parents: Parents::Persistent,
    };

    fn tag(&self, mode: Mode) -> Tag {
        match mode {
            Mode::Exclusive => self.exclusive,
            Mode::Shared => self.shared,
        }
    }

    fn parse<'a>(&self, name: &'a str) -> Option<(ChildName<'a>, Mode)> {
        let name = ChildName::parse(name, self.known.iter().map(|(tag, _)| *tag))?;
        let (_, mode) = self.known.iter().find(|(tag, _)| *tag == name.tag)?;
        Some((name, *mode))
    }
}

const LATCH_TAGS: &[(Tag, Mode)] = &[(Tag::Latch, Mode::Exclusive)];

const LOCK_TAGS: &[(Tag, Mode)] = &[
    (Tag::Lock, Mode::Exclusive),
    (Tag::KazooLock, Mode::Exclusive),
    (Tag::KazooReadLock, Mode::Shared),
];

/// A line of contenders at one path.
#[derive(Debug)]
pub(crate) struct Line {
    coordinator: Coordinator,
    path: NodePath,
    dialect: Dialect,
    warned: AtomicBool,
}

impl Clone for Line {
    fn clone(&self) -> Self {
        Self::new(self.coordinator.clone(), self.path.clone(), self.dialect)
    }
}

impl Line {
    pub(crate) fn new(coordinator: Coordinator, path: NodePath, dialect: Dialect) -> Self {
        Self {
            coordinator,
            path,
            dialect,
            warned: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &NodePath {
        &self.path
    }

    pub(crate) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    /// The same line written with other names.
    pub(crate) fn with_dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Waits for the place, through as many sessions as it takes.
    pub(crate) async fn acquire(&self, enrolment: &Enrolment) -> Result<Hold, Error> {
        self.acquire_witnessed(enrolment, None).await
    }

    /// Waits for the place for at most `limit`; then `None`, and no node is left unless the link is dead, in which
    /// case the reaper has it.
    pub(crate) async fn acquire_timeout(&self, enrolment: &Enrolment, limit: Duration) -> Result<Option<Hold>, Error> {
        let (witness, mut removal) = Removal::new();
        if let Ok(acquired) = time::timeout(limit, self.acquire_witnessed(enrolment, Some(&witness))).await {
            return acquired.map(Some);
        }
        drop(witness);
        if time::timeout(WITHDRAWAL_GRACE, removal.finished()).await.is_err() {
            debug!(path = %self.path, "timed out; the contender is left to the reaper");
        }
        Ok(None)
    }

    /// Takes the place if it is free: looks first, so that a place that is taken costs one read and no write.
    pub(crate) async fn try_acquire(&self, enrolment: &Enrolment) -> Result<Option<Hold>, Error> {
        loop {
            let session = self.coordinator.session().await?;
            match self.try_in(&session, enrolment).await {
                Ok(hold) => return Ok(hold),
                Err(Interrupted::Failed(error)) => return Err(self.cause(error)),
                Err(Interrupted::Lost(lost)) => debug!(path = %self.path, reason = %lost.reason, "trying again"),
            }
        }
    }

    async fn try_in(&self, session: &Arc<Session>, enrolment: &Enrolment) -> Result<Option<Hold>, Interrupted> {
        let children = list(session, &self.path).await?;
        if self
            .contenders_in(&children)
            .any(|(_, mode)| mode.conflicts_with(enrolment.mode))
        {
            return Ok(None);
        }
        let enrolled = Enrolled::enrol(self, session, enrolment, None).await?;
        enrolled.grant_or_withdraw().await
    }

    async fn acquire_witnessed(&self, enrolment: &Enrolment, witness: Option<&Witness>) -> Result<Hold, Error> {
        let span = info_span!("acquire", path = %self.path);
        async {
            loop {
                let session = self.coordinator.session().await?;
                let attempt = async {
                    Enrolled::enrol(self, &session, enrolment, witness)
                        .await?
                        .granted()
                        .await
                };
                match attempt.await {
                    Ok(hold) => return Ok(hold),
                    Err(Interrupted::Failed(error)) => return Err(self.cause(error)),
                    Err(Interrupted::Lost(lost)) => {
                        debug!(reason = %lost.reason, "lost the place in line; joining again at the tail");
                    }
                }
            }
        }
        .instrument(span)
        .await
    }

    /// A failure that stems from the end of the coordinator is reported as that.
    fn cause(&self, error: Error) -> Error {
        self.coordinator.ended().unwrap_or(error)
    }

    fn contenders_in<'a>(&'a self, children: &'a [String]) -> impl Iterator<Item = (ChildName<'a>, Mode)> {
        children.iter().filter_map(|name| {
            let parsed = self.dialect.parse(name);
            if parsed.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
                warn!(path = %self.path, name, "a child that is no contender is ignored, as all like it will be");
            }
            parsed
        })
    }
}
