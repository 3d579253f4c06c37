//! [`Claim`]: items that a consumer works on.
//!
//! A claim is two nodes with one name: an ephemeral one, which is held, and a persistent one with the items. One
//! transaction makes both, takes the items out of their segments and gives the place in the line of consumers up, if there
//! is one; so an item is always in one place. When the ephemeral one is gone and the other is not, the consumer is lost, and
//! whoever looks for items next gives its items back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future;
use tracing::{debug, info, warn};
use uuid::Uuid;
use zookeeper_client as zk;

use super::draft::{Draft, Role};
use super::front::{Front, Segment, Unreadable, complete};
use super::item::{Item, ItemId, Origin};
use super::layout::Lane;
use super::segment::{decode, encode};
use super::settle::{Failure, fail};
use super::shared::{Committed, QueueInner};
use crate::error::Error;
use crate::session::{Interrupted, LossReason, Lost, Session};
use crate::znode::{Ephemeral, Hold, NodePath, NodeWatch, PendingNode, list, list_and_watch, read, stat};

/// What stands behind the name of a claim that has no deadline.
const NO_DEADLINE: &str = "none";

/// Items of one claim. It ends with its session, or when somebody takes the claim away.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) hold: Hold,
    /// The node with the items.
    pub(super) claimed: String,
    open: Mutex<Open>,
}

/// What is left of a claim, and the version of the node that says so.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) items: BTreeMap<ItemId, Item>,
    pub(super) version: i32,
}

impl Claim {
    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A claim as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimName {
    name: String,
    /// When it may be taken away, in milliseconds of the ensemble's clock.
    deadline: Option<i64>,
}

impl ClaimName {
    fn new(deadline: Option<i64>) -> Self {
        let deadline_text = deadline.map_or_else(|| NO_DEADLINE.to_owned(), |deadline| deadline.to_string());
        Self {
            name: format!("{}-{deadline_text}", Uuid::new_v4().simple()),
            deadline,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (guid, deadline) = name.split_once('-')?;
        let deadline = match deadline {
            NO_DEADLINE => None,
            deadline => Some(deadline.parse().ok()?),
        };
        let name = name.to_owned();
        (guid.len() == 32).then_some(Self { name, deadline })
    }
}

/// What a look at the claims brought.
#[derive(Debug)]
pub(super) struct Recovered {
    /// Items went back, so that what waits has to be looked at again.
    pub(super) gave_back: bool,
    /// When the next claim is due to be taken away.
    pub(super) next_claim: Option<i64>,
    /// A watch on the claims, if it was asked for.
    pub(super) watch: Option<NodeWatch>,
}

impl QueueInner {
    /// Takes the items, in exchange for the place in line if there is one; `None` if they are gone already, and then
    /// nothing was done.
    pub(super) async fn claim(
        &self,
        session: &Arc<Session>,
        place: Option<&Ephemeral>,
        now: i64,
        front: Front,
    ) -> Result<Option<Arc<Claim>>, Interrupted> {
        let timeout = self.settings.claim_timeout;
        let deadline =
            timeout.map(|timeout| now.saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)));
        let name = ClaimName::new(deadline).name;
        let announced = PendingNode::new(session, self.layout.claim(&name))?;
        let claimed = self.layout.claimed(&name);
        let items: Vec<Item> = front
            .takes
            .iter()
            .flat_map(|take| &take.taken)
            .map(claimed_once)
            .collect();
        let data = encode(&items);
        let expect_end = |expected| place.inspect(|place| place.mark_end_deliberate(expected));
        expect_end(true);
        let committed = self.commit(session, |draft| {
            if let Some(place) = place {
                draft.delete(place.path().to_owned(), None, Role::Place);
            }
            let (path, data) = (announced.path().to_owned(), data.clone());
            draft.create(
                path,
                session.identity().to_vec().into(),
                zk::CreateMode::Ephemeral,
                Role::Other,
            );
            draft.create(claimed.clone(), data, zk::CreateMode::Persistent, Role::Other);
            for (position, take) in front.takes.iter().enumerate() {
                shrink(draft, position, &take.segment, &take.left);
            }
            Ok(())
        });
        let receipt = match committed.await? {
            Committed::Done((), receipt) => receipt,
            Committed::Indeterminate(()) => return Err(ended(session)),
            Committed::Refused(Role::Place, zk::Error::NoNode) => {
                place.inspect(|place| place.deleted());
                announced.refused();
                let reason = LossReason::NodeRemoved;
                return Err(Lost { reason }.into());
            }
            Committed::Refused(role, source) => {
                debug!(queue = self.path(), ?role, error = %source, "not claimed");
                announced.refused();
                expect_end(false);
                return match (role, source) {
                    // What was to be claimed is gone.
                    (Role::Source(_), zk::Error::NoNode) => Ok(None),
                    (role, source) => {
                        let path = match role {
                            Role::Source(position) => front.takes.get(position).map(|take| take.segment.path()),
                            _ => None,
                        };
                        Err(Error::from_answer(path.as_deref().unwrap_or(self.path()), source).into())
                    }
                };
            }
        };
        place.inspect(|place| place.deleted());
        let mut node = announced.created(&receipt)?;
        node.recheck_after_reconnect().await?;
        session.prove(node.end()).await?;
        node.watch_soon();
        let hold = Hold::new(node, self.zk.clone());
        info!(queue = self.path(), claim = hold.path(), token = %hold.token(), items = items.len(), "claimed");
        let items = items.into_iter().map(|item| (item.id.clone(), item)).collect();
        let open = Mutex::new(Open { items, version: 0 });
        Ok(Some(Arc::new(Claim { hold, claimed, open })))
    }

    /// Gives back what consumers held that are gone, or that took too long, and watches the claims if `watched`.
    pub(super) async fn recover(
        &self,
        session: &Arc<Session>,
        now: i64,
        watched: bool,
    ) -> Result<Recovered, Interrupted> {
        let claims = self.layout.directory("claims");
        // In this order: who is seen in the first list and not in the second is gone, not new.
        let claimed = self.layout.directory("claimed");
        let held = list(session, &claimed);
        let (held, (alive, watch)) = future::try_join(held, self.alive(session, &claims, watched)).await?;
        let mut recovered = Recovered {
            gave_back: false,
            next_claim: None,
            watch,
        };
        for name in held {
            let Some(claim) = ClaimName::parse(&name) else {
                warn!(queue = self.path(), name, "a child that is no claim is left alone");
                continue;
            };
            let lives = alive.contains(&name);
            match claim.deadline {
                Some(deadline) if lives && deadline <= now => {
                    warn!(
                        queue = self.path(),
                        claim = name,
                        "a consumer took longer than the claim timeout; its items go back"
                    );
                    self.give_back(session, &claim, true).await?;
                    recovered.gave_back = true;
                }
                Some(deadline) if lives => {
                    let next = recovered.next_claim.unwrap_or(deadline);
                    recovered.next_claim = Some(next.min(deadline));
                }
                None if lives => {}
                // Where a cut made the first list come after the second, it is asked for once more.
                _ if stat(session, &self.layout.claim(&name)).await?.is_some() => {}
                _ => {
                    info!(
                        queue = self.path(),
                        claim = name,
                        "a consumer is gone; its items go back"
                    );
                    self.give_back(session, &claim, false).await?;
                    recovered.gave_back = true;
                }
            }
        }
        Ok(recovered)
    }

    async fn alive(
        &self,
        session: &Arc<Session>,
        claims: &NodePath,
        watched: bool,
    ) -> Result<(Vec<String>, Option<NodeWatch>), Interrupted> {
        if !watched {
            return Ok((list(session, claims).await?, None));
        }
        loop {
            if let Some((alive, watch)) = list_and_watch(session, claims).await? {
                return Ok((alive, Some(watch)));
            }
            crate::znode::ensure_path(session, claims, crate::znode::Parents::Containers).await?;
        }
    }

    /// Gives the items of somebody else's claim back.
    async fn give_back(&self, session: &Arc<Session>, claim: &ClaimName, lives: bool) -> Result<(), Interrupted> {
        let path = self.layout.claimed(&claim.name);
        let Some((data, stat)) = read(session, &path).await? else {
            return Ok(());
        };
        let data = bytes::Bytes::from(data);
        let Some(items) = decode(&data) else {
            let unreadable = Unreadable {
                path,
                priority: 0,
                data,
                stat,
            };
            return self.bury_unreadable(session, &unreadable).await;
        };
        let committed = self.commit(session, |draft| {
            draft.delete(path.clone(), Some(stat.version), Role::Claimed(0));
            if lives {
                draft.delete(self.layout.claim(&claim.name), None, Role::Claimed(0));
            }
            fail(draft, self.settings.max_attempts, &items, &Failure::ConsumerLost);
            Ok(())
        });
        match committed.await? {
            Committed::Done(..) | Committed::Refused(Role::Claimed(_), zk::Error::NoNode | zk::Error::BadVersion) => {
                Ok(())
            }
            Committed::Refused(_, source) => Err(Error::from_answer(&path, source).into()),
            Committed::Indeterminate(()) => Err(ended(session)),
        }
    }

    /// Puts a segment aside that cannot be read, as a dead letter.
    pub(super) async fn bury_unreadable(
        &self,
        session: &Arc<Session>,
        unreadable: &Unreadable,
    ) -> Result<(), Interrupted> {
        let Unreadable {
            path,
            priority,
            data,
            stat,
        } = unreadable;
        warn!(
            queue = self.path(),
            path,
            bytes = data.len(),
            "unreadable; it is put aside as dead"
        );
        let guid = Uuid::new_v4().simple().to_string();
        let origin = Origin {
            lane: Lane::Ready(*priority),
            block: 0,
            guid: &guid,
        };
        let mut items = [Item {
            id: ItemId::new(&origin, 0),
            priority: *priority,
            due: 0,
            arrival: 0,
            attempt: 0,
            key: None,
            payload: data.clone(),
        }];
        complete(&mut items, stat);
        let committed = self.commit(session, |draft| {
            draft.delete(path.clone(), Some(stat.version), Role::Source(0));
            fail(draft, 0, &items, &Failure::Unreadable);
            Ok(())
        });
        match committed.await? {
            Committed::Indeterminate(()) => Err(ended(session)),
            Committed::Refused(Role::Source(_), zk::Error::NoNode | zk::Error::BadVersion) | Committed::Done(..) => {
                Ok(())
            }
            Committed::Refused(_, source) => Err(Error::from_answer(path, source).into()),
        }
    }
}

/// The item as one that is claimed once more.
fn claimed_once(item: &Item) -> Item {
    Item {
        attempt: item.attempt.saturating_add(1),
        ..item.clone()
    }
}

/// Takes a segment out of its lane, but for what is left in it.
pub(super) fn shrink(draft: &mut Draft<'_>, position: usize, segment: &Segment, left: &[Item]) {
    let role = Role::Source(position);
    // Without a version: a segment is never changed, only replaced by one of another name.
    draft.delete(segment.path(), None, role);
    if !left.is_empty() {
        draft.create(
            segment.shrunk(left.len()),
            encode(left),
            zk::CreateMode::Persistent,
            role,
        );
    }
}

pub(super) fn ended(session: &Session) -> Interrupted {
    let reason = session.end_reason().unwrap_or(LossReason::SessionExpired);
    Lost { reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_tells_its_deadline() {
        for deadline in [None, Some(1_700_000_000_000)] {
            let name = ClaimName::new(deadline);
            assert_eq!(ClaimName::parse(&name.name), Some(name));
        }
        for foreign in ["", "lock", "a-1"] {
            assert_eq!(ClaimName::parse(foreign), None);
        }
    }
}
