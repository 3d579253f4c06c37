//! The line: contenders for one place, first come, first served.
//!
//! A contender is an ephemeral sequential node in the line's directory. It waits for the nearest contender ahead
//! whose mode conflicts with its own (its *blocker*) and watches that one alone, so that a release wakes one waiter. This
//! is the queue under the lock, the read-write lock and the election; its shape is that of the lock in the ZooKeeper
//! paper (Hunt et al. 2010, section 2.4).
//!
//! * `contender` – one place in the line, from enrolling to being granted; `waking` – what is asked as soon as a watch tells
//! * `head_mark` – a hand-off without a list, pure; `marking` – its requests
//! * `line_state` – what our contenders in one line share; `places` – one list
//! * `turnstile` – a place that is passed on for something else
//! * `line_set` – a place in each of several lines, all or nothing
//! * `position` – the contender that is waited for, pure; `order` – the order once the sequence numbers are used up
//! * `ghost` – a contender of a former session of this process
//! * `listing` – all contenders with their identities; `ahead` – the one that is waited for
//! * `head` – the first of them, as it changes
//! * `names` and `errors` – what users choose and what they are told

mod ahead;
mod contender;
mod errors;
mod ghost;
mod head;
mod head_mark;
#[cfg(test)]
mod head_mark_model;
mod line_set;
mod line_state;
mod listing;
mod marking;
mod names;
mod order;
mod places;
mod position;
mod turnstile;
mod waking;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tracing::{Instrument, info_span, warn};

use self::ahead::acquire_within;
use self::contender::Enrolled;
use self::line_state::LineState;
use crate::error::Error;
use crate::metrics::AcquireTimer;
use crate::session::{CleanupToken, Coordinator, Interrupted, Session};
use crate::znode::{
    ChildName, Hold, NodePath, Parents, Tag, count_asked, place_across_sessions, request_revocation,
    retry_across_sessions, with_reason,
};

pub(crate) use self::ahead::Ahead;
pub use self::errors::{AcquireTimeoutError, RunError, TryAcquireError};
pub(crate) use self::head::HeadView;
pub(crate) use self::line_set::LineSet;
pub use self::listing::Contender;
pub(crate) use self::listing::{ReadContender, contenders_of};
pub use self::names::{ContenderLayout, InvalidLayout, Layout};
pub(crate) use self::order::in_order;
pub use self::position::Mode;
#[cfg(feature = "_model")]
pub(crate) use self::position::Position;
pub(crate) use self::turnstile::HeadOfLine;

/// How a contender of ours joins a line.
#[derive(Clone, Debug)]
pub(crate) struct Enrolment {
    pub(crate) mode: Mode,
    /// The data of its node; the coordinator's identity where there is none.
    pub(crate) data: Option<Bytes>,
    /// Where it notes behind whom it waits.
    pub(crate) ahead: Option<Ahead>,
}

impl Enrolment {
    pub(crate) const EXCLUSIVE: Self = Self::of(Mode::Exclusive);
    pub(crate) const SHARED: Self = Self::of(Mode::Shared);

    const fn of(mode: Mode) -> Self {
        Self {
            mode,
            data: None,
            ahead: None,
        }
    }

    /// The same, of a contender that says why it wants the place.
    pub(crate) fn because(&self, zk: &Coordinator, reason: &str) -> Self {
        let data = Some(with_reason(zk.identity(), reason));
        Self { data, ..self.clone() }
    }

    pub(crate) fn noting(&self, ahead: &Ahead) -> Self {
        let ahead = Some(ahead.clone());
        Self { ahead, ..self.clone() }
    }
}

/// Which names a line writes and which it understands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContenderNames {
    /// The tag of an exclusive contender of ours.
    pub(crate) exclusive: Tag,
    /// The tag of a sharing contender of ours; that of an exclusive one where the line has no sharing.
    pub(crate) shared: Tag,
    /// Contenders of these tags stand in the line, of whatever library.
    pub(crate) known: &'static [(Tag, Mode)],
    pub(crate) parents: Parents,
    /// Whether holders leave the mark of the head. Never where a holder may go on as a reader.
    pub(crate) marks: bool,
}

impl ContenderNames {
    pub(crate) const CURATOR_LOCK: Self = Self::curator(Tag::Lock, Tag::Lock, LOCK_TAGS);
    pub(crate) const CURATOR_LATCH: Self = Self::curator(Tag::Latch, Tag::Latch, LATCH_TAGS);
    /// Curator's `LeaderSelector` stands on its `InterProcessMutex`.
    pub(crate) const CURATOR_SELECTOR: Self = Self::CURATOR_LOCK;
    pub(crate) const CURATOR_RW: Self = Self::curator(Tag::Write, Tag::Read, RW_TAGS).without_marks();
    pub(crate) const KAZOO_LOCK: Self = Self::kazoo(LOCK_TAGS);
    pub(crate) const KAZOO_RW: Self = Self::kazoo(RW_TAGS).without_marks();

    const fn curator(exclusive: Tag, shared: Tag, known: &'static [(Tag, Mode)]) -> Self {
        Self {
            exclusive,
            shared,
            known,
            parents: Parents::Containers,
            marks: true,
        }
    }

    const fn without_marks(self) -> Self {
        Self { marks: false, ..self }
    }

    const fn kazoo(known: &'static [(Tag, Mode)]) -> Self {
        Self {
            parents: Parents::Persistent,
            ..Self::curator(Tag::KazooLock, Tag::KazooReadLock, known)
        }
    }

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

const RW_TAGS: &[(Tag, Mode)] = &[
    (Tag::Write, Mode::Exclusive),
    (Tag::Read, Mode::Shared),
    (Tag::KazooLock, Mode::Exclusive),
    (Tag::KazooReadLock, Mode::Shared),
];

/// Calls `told` with the position of `own` among `children`; `None` if `own` is no contender of a read-write lock.
#[cfg(feature = "_model")]
pub(crate) fn with_position_in_rw_line<T>(
    own: &str,
    children: &[String],
    told: impl FnOnce(Position<'_>) -> T,
) -> Option<T> {
    let names = ContenderNames::CURATOR_RW;
    let (own, mode) = names.parse(own)?;
    let line = children.iter().filter_map(|name| names.parse(name));
    let position = position::position_of(&own, mode, line, &order::CreationOrder::default());
    Some(told(position))
}

/// A line of contenders at one path.
#[derive(Debug)]
pub(crate) struct Line {
    zk: Coordinator,
    path: NodePath,
    names: ContenderNames,
    warned: AtomicBool,
    /// Whether the log tells already that this process waits behind itself.
    warned_of_own: AtomicBool,
}

impl Clone for Line {
    fn clone(&self) -> Self {
        Self::new(self.zk.clone(), self.path.clone(), self.names)
    }
}

impl Line {
    pub(crate) fn new(zk: Coordinator, path: NodePath, names: ContenderNames) -> Self {
        Self {
            zk,
            path,
            names,
            warned: AtomicBool::new(false),
            warned_of_own: AtomicBool::new(false),
        }
    }

    pub(crate) fn path(&self) -> &NodePath {
        &self.path
    }

    pub(crate) fn zk(&self) -> &Coordinator {
        &self.zk
    }

    /// The recipe that writes such names, for metrics.
    pub(crate) fn recipe(&self) -> &'static str {
        match self.names.exclusive {
            exclusive if exclusive != self.names.shared => "rwlock",
            exclusive => exclusive.recipe(),
        }
    }

    /// Waits for the place, through as many sessions as it takes. What is left to be removed holds a token of `cleanup`.
    pub(crate) async fn acquire(&self, enrolment: &Enrolment, cleanup: Option<&CleanupToken>) -> Result<Hold, Error> {
        let attempt = |session: Arc<Session>| async move {
            let enrolled = Enrolled::enrol(self, &session, enrolment, cleanup).await?;
            enrolled.granted().await
        };
        // A call with a limit is measured where the limit is known.
        let timer = cleanup
            .is_none()
            .then(|| AcquireTimer::start(self.recipe(), self.zk.metrics_name()));
        let span = info_span!("acquire", otel.kind = "client", recipe = self.recipe(), path = %self.path);
        let acquired = place_across_sessions(&self.zk, (self.path.as_str(), 1), attempt)
            .instrument(span)
            .await;
        if let Some(timer) = timer {
            timer.ended(if acquired.is_ok() { "granted" } else { "error" });
        }
        acquired
    }

    /// As [`acquire`](Self::acquire), until `give_up` ends, which is told the path of the contender's node: then `None`, and
    /// the contender leaves the line.
    pub(crate) async fn acquire_unless<F: Future<Output = Result<(), Interrupted>>>(
        &self,
        enrolment: &Enrolment,
        cleanup: Option<&CleanupToken>,
        give_up: impl Fn(Arc<Session>, String) -> F,
    ) -> Result<Option<Hold>, Error> {
        let give_up = &give_up;
        let attempt = |session: Arc<Session>| async move {
            let enrolled = Enrolled::enrol(self, &session, enrolment, cleanup).await?;
            let given_up = give_up(session, enrolled.path().to_owned());
            tokio::select! {
                biased;
                given_up = given_up => given_up.map(|()| None),
                hold = enrolled.granted() => hold.map(Some),
            }
        };
        let acquired = place_across_sessions(&self.zk, (self.path.as_str(), 1), attempt);
        acquired.instrument(info_span!("acquire", path = %self.path)).await
    }

    /// Whether the contender named `other` joined the line behind the one named `own`.
    pub(crate) fn is_behind(&self, own: &str, other: &str) -> bool {
        let (Some((own, _)), Some((other, _))) = (self.names.parse(own), self.names.parse(other)) else {
            return false;
        };
        let distance = order::CreationOrder::default().distance(&own, &other);
        distance.is_some_and(|distance| distance > (0, 0))
    }

    /// Waits for the place for at most `limit`; then no node is left unless the link is dead, in which case the reaper has
    /// it.
    pub(crate) async fn acquire_timeout(
        &self,
        enrolment: &Enrolment,
        limit: Duration,
    ) -> Result<Hold, AcquireTimeoutError> {
        let (lines, path) = (std::slice::from_ref(self), self.path.as_str());
        let timer = AcquireTimer::start(self.recipe(), self.zk.metrics_name());
        let acquired = acquire_within(&self.zk, lines, path, limit, |ahead, cleanup| {
            let enrolment = enrolment.noting(&ahead);
            async move { self.acquire(&enrolment, Some(&cleanup)).await }
        })
        .await;
        timer.ended(match &acquired {
            Ok(_) => "granted",
            Err(AcquireTimeoutError::Elapsed { .. }) => "timeout",
            Err(_) => "error",
        });
        acquired
    }

    /// Takes the place if it is free: looks first, so that a place that is taken costs one read and no write.
    pub(crate) async fn try_acquire(&self, enrolment: &Enrolment) -> Result<Option<Hold>, Error> {
        let attempt = |session| async move { self.try_in(&session, enrolment).await };
        let timer = AcquireTimer::start(self.recipe(), self.zk.metrics_name());
        let acquired = place_across_sessions(&self.zk, (self.path.as_str(), 1), attempt).await;
        timer.ended(match &acquired {
            Ok(Some(_)) => "granted",
            Ok(None) => "contended",
            Err(_) => "error",
        });
        acquired
    }

    /// Turns the place of an exclusive holder into a shared one, without a gap: its node is replaced by that of a sharing
    /// contender with the same number.
    pub(crate) async fn downgrade(&self, hold: Hold) -> Result<Hold, Interrupted> {
        let name = hold.path().rsplit('/').next().unwrap_or_default();
        let Some((own, _)) = self.names.parse(name) else {
            return Err(Error::layout(hold.path(), "our node has a name that it should not have").into());
        };
        if own.sequence.is_exhausted() {
            let reason =
                "its sequence numbers are used up and no longer tell the order; remove the directory when idle";
            return Err(Error::layout(self.path.as_str(), reason).into());
        }
        let shared = format!(
            "{}{}",
            self.names.shared.new_name(self.zk.guid_prefix()).prefix,
            own.sequence
        );
        hold.replace(self.path.child(&shared)).await
    }

    /// Asks the contender whose node is at `path` to give its place up; false if it has left the line already.
    pub(crate) async fn request_revocation(&self, path: &str, reason: &str) -> Result<bool, Error> {
        let attempt = |session| async move { request_revocation(&session, path, reason).await };
        let asked = retry_across_sessions(&self.zk, attempt).await?;
        count_asked(&self.zk, self.recipe(), asked);
        Ok(asked)
    }

    async fn try_in(&self, session: &Arc<Session>, enrolment: &Enrolment) -> Result<Option<Hold>, Interrupted> {
        let places = self.state().list(session, &self.path).await?;
        if self.is_taken(&places.children, enrolment.mode) {
            return Ok(None);
        }
        let enrolled = Enrolled::enrol(self, session, enrolment, None).await?;
        enrolled.grant_or_withdraw().await
    }

    /// Whether a contender is there that conflicts with a newcomer of `mode`.
    fn is_taken(&self, children: &[String], mode: Mode) -> bool {
        self.contenders_in(children)
            .any(|(_, other)| other.conflicts_with(mode))
    }

    /// What our contenders in this line share.
    fn state(&self) -> Arc<LineState> {
        self.zk.path_state(self.path.as_str())
    }

    fn contenders_in<'a>(&'a self, children: &'a [String]) -> impl Iterator<Item = (ChildName<'a>, Mode)> {
        children.iter().filter_map(|name| {
            let parsed = self.names.parse(name);
            if parsed.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
                warn!(path = %self.path, name, "a child that is no contender is ignored, as all like it will be");
            }
            parsed
        })
    }
}
