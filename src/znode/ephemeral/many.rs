//! Several nodes that come and go in one transaction: all of it happens, or nothing.

use std::sync::Arc;

use futures::future;
use tracing::debug;
use zookeeper_client as zk;

use super::super::name::NewName;
use super::super::parents;
use super::cleanup::CleanupGuard;
use super::{Ephemeral, NewChild, recover};
use crate::error::Error;
use crate::session::{
    Applied, Commit, End, Interrupted, LossReason, Lost, Operation, Reply, Retry, Session, Unanswered, refused,
};

/// A node that was created together with others, and the children of its parent right behind that.
pub(crate) type Created = (Ephemeral, Option<Vec<String>>);

impl Ephemeral {
    /// Creates all nodes, and lists their parents in the same round trip. What ends one of them ends all.
    pub(crate) async fn create_all(session: &Arc<Session>, all: &[NewChild<'_>]) -> Result<Vec<Created>, Interrupted> {
        let Some(first) = all.first() else {
            return Ok(Vec::new());
        };
        let path = first.parent.as_str();
        let mut retry = Retry::new(session, path, size(all));
        loop {
            session.connected().await?;
            let connection = session.connection();
            let new = NewNodes::register(session, all);
            let lists = future::join_all(all.iter().map(|new| {
                let parent = new.parent.as_str();
                session.read(move |client| async move { client.list_children(parent).await })
            }));
            match future::join(session.commit(&new.steps), lists).await {
                (Ok(Commit::Applied(applied)), lists) => {
                    let nodes = new.adopt(applied).await?;
                    let listed = lists.into_iter().map(|list| match list {
                        Ok(Reply::Answer(children)) => Some(children),
                        _ => None,
                    });
                    return Ok(nodes.into_iter().zip(listed).collect());
                }
                (Ok(Commit::Refused(index, source)), _) => {
                    new.disarm();
                    if source != zk::Error::NoNode {
                        return Err(refused(all.get(index).map_or(path, |new| new.parent.as_str()), source));
                    }
                    ensure_parents(session, all).await?;
                }
                (Ok(Commit::Unanswered(unanswered)), _) => {
                    if let Some(nodes) = new.after(&mut retry, unanswered, connection).await? {
                        return Ok(nodes.into_iter().map(|node| (node, None)).collect());
                    }
                }
                (Err(interrupted), _) => {
                    new.disarm_if_unsent(&interrupted);
                    return Err(interrupted);
                }
            }
        }
    }

    /// Deletes all nodes, which share one end, and waits until they are gone. Dropping the future hands them to the
    /// reaper.
    pub(crate) async fn remove_all(all: Vec<Self>) -> Result<(), Interrupted> {
        let Some(first) = all.first() else { return Ok(()) };
        let session = Arc::clone(first.session());
        first.release()?;
        let steps: Vec<_> = all.iter().map(|node| Operation::delete(node.path(), None)).collect();
        let mut retry = Retry::new(&session, first.path(), 0);
        let mut sent_before = false;
        loop {
            match session.commit(&steps).await? {
                Commit::Applied(_) => {
                    all.into_iter().for_each(Self::forget);
                    return Ok(());
                }
                Commit::Refused(index, source) => {
                    return match source {
                        // The same transaction, sent before, whose reply was lost. The reaper makes sure.
                        zk::Error::NoNode if sent_before && index == 0 => Ok(()),
                        // One of them was removed by an operator. The reaper takes the others.
                        zk::Error::NoNode => Err(Lost::because(LossReason::NodeRemoved).into()),
                        source => Err(refused(all.get(index).map_or("/", Self::path), source)),
                    };
                }
                Commit::Unanswered(unanswered) => {
                    sent_before |= unanswered != Unanswered::Busy;
                    retry.after(unanswered).await?;
                }
            }
        }
    }
}

/// Nodes that a transaction is about to create, which share one end.
pub(super) struct NewNodes<'a> {
    all: &'a [NewChild<'a>],
    names: Vec<NewName>,
    guards: Vec<CleanupGuard>,
    pub(super) steps: Vec<Operation>,
}

impl<'a> NewNodes<'a> {
    /// Names all nodes and registers them, before the transaction is sent that creates them.
    pub(super) fn register(session: &Arc<Session>, all: &'a [NewChild<'a>]) -> Self {
        let end = Arc::new(End::new());
        let (mut names, mut guards, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for new in all {
            let name = new.tag.new_name();
            let (location, cleanup) = (new.location(&name), new.cleanup.cloned());
            guards.push(CleanupGuard::register_with(
                session,
                location,
                cleanup,
                Arc::clone(&end),
            ));
            let path = new.parent.child(&name.prefix);
            steps.push(Operation::create(
                path,
                new.data.to_vec(),
                zk::CreateMode::EphemeralSequential,
            ));
            names.push(name);
        }
        Self {
            all,
            names,
            guards,
            steps,
        }
    }

    /// The transaction was refused.
    pub(super) fn disarm(self) {
        self.guards.into_iter().for_each(CleanupGuard::disarm);
    }

    /// A failure is one from before the transaction was sent.
    pub(super) fn disarm_if_unsent(self, interrupted: &Interrupted) {
        if let Interrupted::Failed(_) = interrupted {
            self.disarm();
        }
    }

    /// After a transaction without an answer, sent on `connection` or a later one: a pause, and the nodes if it was
    /// applied.
    pub(super) async fn after(
        self,
        retry: &mut Retry<'_>,
        unanswered: Unanswered,
        connection: u64,
    ) -> Result<Option<Vec<Ephemeral>>, Interrupted> {
        if unanswered == Unanswered::Busy {
            self.disarm();
            retry.after(unanswered).await?;
            return Ok(None);
        }
        debug!("reply of a transaction lost; looking for its nodes");
        retry.after(unanswered).await?;
        let mut found = Vec::with_capacity(self.all.len());
        for ((new, name), guard) in self.all.iter().zip(&self.names).zip(self.guards) {
            found.extend(recover(new.parent, &name.guid, guard, connection).await?);
        }
        match found.len() {
            0 => Ok(None),
            count if count == self.all.len() => Ok(Some(found)),
            // They were all there: an operator has removed the others in the meantime.
            _ => Err(Lost::because(LossReason::NodeRemoved).into()),
        }
    }

    /// Makes nodes of ours of what the transaction has created, whose results begin with theirs.
    pub(super) async fn adopt(self, applied: Applied) -> Result<Vec<Ephemeral>, Interrupted> {
        let (count, connection) = (self.guards.len(), applied.connection);
        let (mut nodes, mut told) = (Vec::with_capacity(count), true);
        for (guard, result) in self.guards.into_iter().zip(applied.results) {
            if let zk::MultiWriteResult::Create { path, stat } = result {
                guard.found(&path);
                told &= !stat.is_invalid();
                nodes.push(Ephemeral::new(guard, path, stat.czxid, connection));
            }
        }
        let Some(first) = nodes.first().filter(|_| nodes.len() == count) else {
            let source = zk::Error::UnexpectedError("the reply of a transaction lacks results".to_owned());
            let path = nodes.first().map_or("/", Ephemeral::path).to_owned();
            return Err(Error::Client { path, source }.into());
        };
        if !told {
            // Many servers send no Stat in the reply of a transaction (ZOOKEEPER-4026, ZOOKEEPER-4667). What was created
            // together has one czxid.
            let stat = first.look().await?;
            first.session().verify(connection, stat.ephemeral_owner)?;
            nodes.iter_mut().for_each(|node| node.set_czxid(stat.czxid));
        }
        Ok(nodes)
    }
}

pub(super) async fn ensure_parents(session: &Arc<Session>, all: &[NewChild<'_>]) -> Result<(), Interrupted> {
    for new in all {
        parents::ensure(session, new.parent, new.parents).await?;
    }
    Ok(())
}

/// What the nodes carry, in bytes.
pub(super) fn size(all: &[NewChild<'_>]) -> usize {
    all.iter().map(|new| new.data.len()).sum()
}
