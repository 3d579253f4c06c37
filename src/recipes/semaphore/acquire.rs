//! The way to permits.
//!
//! Only the one at the head of the turnstile counts and takes permits, so no other takes any in between. What it
//! counts is not too small even if its server lags: the server knows that the one before has left the turnstile, and
//! that one's permits were there by then. The permits are created in the transaction that deletes the place in the
//! turnstile. So only the contender at its head takes them, all of them or none, and only as long as the number of
//! permits is the one that was read.

use std::sync::Arc;

use futures::future;
use tracing::{Instrument, debug, info_span};

use super::limit::{Limit, PermitDecision};
use super::{Permit, PermitError, Semaphore};
use crate::line::Enrolment;
use crate::metrics::AcquireTimer;
use crate::session::{CleanupToken, Interrupted, LossReason, Lost, Session};
use crate::znode::{
    ChildName, Ephemeral, Hold, NewChild, NodeWatch, Parents, Tag, list, list_and_watch, place_across_sessions,
    read_and_watch,
};

/// What the one at the head of the turnstile has to know.
#[derive(Clone, Copy, Debug)]
struct Count {
    limit: Limit,
    /// The version of the data that says so.
    version: i32,
    taken: usize,
}

impl Semaphore {
    pub(super) async fn acquire_tracked(
        &self,
        permits: u32,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Permit, PermitError> {
        // A call with a limit is measured where the limit is known.
        let timer = cleanup
            .is_none()
            .then(|| AcquireTimer::start("semaphore", self.zk.metrics_name()));
        let acquired = place_across_sessions(&self.zk, self.need(permits), |session| async move {
            self.acquire_in(&session, permits, cleanup).await
        })
        .instrument(info_span!(
            "acquire_permits",
            otel.kind = "client",
            path = self.path(),
            permits
        ))
        .await;
        if let Some(timer) = timer {
            timer.ended(if acquired.is_ok() { "granted" } else { "error" });
        }
        acquired
    }

    async fn acquire_in(
        &self,
        session: &Arc<Session>,
        permits: u32,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Permit, Interrupted<PermitError>> {
        // The request that cannot be met is refused at once, while its place in line is on the way.
        let refusal = async { self.judge(self.agreement.read(session).await?.0, 0, permits) };
        let place = async {
            Ok(self
                .turnstile
                .enter_turnstile_as(session, &self.enrolment(), cleanup)
                .await?
                .node)
        };
        let (_, mut place) = future::try_join(refusal, place).await?;
        loop {
            let count = match self.count(session).await? {
                count if self.judge(count.limit, count.taken, permits)? == PermitDecision::Grant => count,
                _ => self.enough(session, &mut place, permits).await?,
            };
            match self.take(session, place, permits, count, cleanup).await? {
                Ok(permit) => return Ok(permit),
                Err(refused) => place = refused,
            }
        }
    }

    /// Where and how many nodes an acquire comes to own: its place in the turnstile, and its leases.
    pub(super) fn need(&self, permits: u32) -> (&str, usize) {
        let leases = usize::try_from(permits).unwrap_or(usize::MAX);
        (self.path(), leases.saturating_add(1))
    }

    pub(super) async fn try_in(
        &self,
        session: &Arc<Session>,
        permits: u32,
    ) -> Result<Option<Permit>, Interrupted<PermitError>> {
        let occupied = async { Ok(self.turnstile.is_occupied(session).await?) };
        let (occupied, count) = future::try_join(occupied, self.count(session)).await?;
        let verdict = self.judge(count.limit, count.taken, permits)?;
        if occupied || verdict != PermitDecision::Grant {
            return Ok(None);
        }
        let Some(mut place) = self.turnstile.try_turnstile(session, &self.enrolment()).await? else {
            return Ok(None);
        };
        loop {
            let count = self.count(session).await?;
            if self.judge(count.limit, count.taken, permits)? != PermitDecision::Grant {
                place.remove().await?;
                return Ok(None);
            }
            match self.take(session, place, permits, count, None).await? {
                Ok(permit) => return Ok(Some(permit)),
                Err(refused) => place = refused,
            }
        }
    }

    pub(super) async fn free_in(&self, session: &Arc<Session>) -> Result<u32, Interrupted<PermitError>> {
        let count = self.count(session).await?;
        let taken = u32::try_from(count.taken).unwrap_or(u32::MAX);
        Ok(count.limit.in_force.saturating_sub(taken))
    }

    fn enrolment(&self) -> Enrolment {
        Enrolment {
            data: self.data.clone(),
            ..Enrolment::EXCLUSIVE
        }
    }

    fn judge(&self, limit: Limit, taken: usize, wanted: u32) -> Result<PermitDecision, Interrupted<PermitError>> {
        match limit.judge(taken, wanted) {
            PermitDecision::Unsatisfiable => Err(PermitError::Unsatisfiable {
                requested: wanted,
                permits: limit.in_force,
            })?,
            verdict => Ok(verdict),
        }
    }

    async fn count(&self, session: &Arc<Session>) -> Result<Count, Interrupted<PermitError>> {
        let taken = async { Ok(taken(&list(session, &self.leases).await?)) };
        let (taken, (limit, version)) = future::try_join(taken, self.agreement.read(session)).await?;
        Ok(Count { limit, version, taken })
    }

    /// Waits until enough permits are free: watches them, their number and its own place.
    async fn enough(
        &self,
        session: &Arc<Session>,
        place: &mut Ephemeral,
        permits: u32,
    ) -> Result<Count, Interrupted<PermitError>> {
        place.watch();
        let (mut leases, mut limit) = (None, None);
        loop {
            let (taken, leases_watch) = match leases.take() {
                Some(known) => known,
                None => self.watch_leases(session).await?,
            };
            let (limit_now, version, limit_watch) = match limit.take() {
                Some(known) => known,
                None => self.watch_limit(session).await?,
            };
            let (mut leases_watch, mut limit_watch): (Option<NodeWatch>, NodeWatch) = (leases_watch, limit_watch);
            if self.judge(limit_now, taken, permits)? == PermitDecision::Grant {
                return Ok(Count {
                    limit: limit_now,
                    version,
                    taken,
                });
            }
            debug!(place = place.path(), taken, "waiting for permits");
            tokio::select! {
                () = changed(&mut leases_watch) => limit = Some((limit_now, version, limit_watch)),
                () = limit_watch.changed() => leases = Some((taken, leases_watch)),
                reason = place.end().reached() => return Err(Lost { reason }.into()),
            }
        }
    }

    /// How many permits are out. Without a directory there are none, and no watch.
    async fn watch_leases(
        &self,
        session: &Arc<Session>,
    ) -> Result<(usize, Option<NodeWatch>), Interrupted<PermitError>> {
        let listed = list_and_watch(session, &self.leases).await?;
        Ok(listed.map_or((0, None), |(children, watch)| (taken(&children), Some(watch))))
    }

    async fn watch_limit(&self, session: &Arc<Session>) -> Result<(Limit, i32, NodeWatch), Interrupted<PermitError>> {
        loop {
            if let Some((data, stat, watch)) = read_and_watch(session, self.path()).await? {
                if let Some(limit) = self.agreement.check(&data)? {
                    return Ok((limit, stat.version, watch));
                }
            }
            // The node was removed: the number is agreed on again.
            self.agreement.read(session).await?;
        }
    }

    /// Takes the permits in exchange for the place in the turnstile, which comes back if their number has changed.
    async fn take(
        &self,
        session: &Arc<Session>,
        place: Ephemeral,
        permits: u32,
        count: Count,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Result<Permit, Ephemeral>, Interrupted> {
        let lease = || NewChild {
            parent: &self.leases,
            tag: Tag::Lease,
            data: self.data.as_deref().unwrap_or(session.identity()),
            parents: Parents::Containers,
            cleanup,
            is_listed: true,
        };
        let leases: Vec<_> = (0..permits).map(|_| lease()).collect();
        let mut nodes = match place.replace_with(&leases, (self.path(), count.version)).await? {
            Ok(nodes) => nodes.into_iter(),
            Err(place) => return Ok(Err(place)),
        };
        let Some(mut first) = nodes.next() else {
            let reason = LossReason::NodeRemoved;
            return Err(Lost { reason }.into());
        };
        let mut others: Vec<_> = nodes.collect();
        first.recheck_after_reconnect().await?;
        session.prove(first.end()).await?;
        first.watch();
        others.iter_mut().for_each(Ephemeral::watch);
        if let Some(reason) = first.end().reason() {
            return Err(Lost { reason }.into());
        }
        let hold = Hold::of_all(first, others, self.zk.clone());
        debug!(node = hold.path(), token = %hold.token(), permits, "granted");
        Ok(Ok(Permit::new(hold, permits)))
    }
}

fn taken(children: &[String]) -> usize {
    let leases = children
        .iter()
        .filter(|name| ChildName::parse(name, [Tag::Lease]).is_some());
    leases.count()
}

/// Waits for the event; without a watch there is no need to.
async fn changed(watch: &mut Option<NodeWatch>) {
    if let Some(watch) = watch {
        watch.changed().await;
    }
}
