//! Several nodes that come and go in one transaction: all of it happens, or nothing.

use std::sync::Arc;

use futures::future;
use zookeeper_client as zk;

use super::super::parents;
use super::super::request::{Transaction, commit};
use super::cleanup::CleanupGuard;
use super::{Creation, Ephemeral, NewChild, after};
use crate::error::Error;
use crate::session::{Applied, Commit, End, Interrupted, LossReason, Lost, Operation, Reply, Retry, Session, refused};

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
            let new = NewNodes::register(session, all)?;
            let lists = future::join_all(all.iter().map(|new| {
                let parent = new.parent.as_str();
                session.read(move |client| async move { client.list_children(parent).await })
            }));
            let (committed, lists) = future::join(session.commit(&new.steps), lists).await;
            let is_listed = matches!(committed, Ok(Commit::Applied(_)));
            match new.settle(&mut retry, connection, committed).await? {
                Creation::Done(nodes) => {
                    let listed = |list: Result<Reply<_>, _>| list.ok().and_then(Reply::answer).filter(|_| is_listed);
                    return Ok(nodes.into_iter().zip(lists.into_iter().map(listed)).collect());
                }
                Creation::Refused(_, zk::Error::NoNode) => ensure_parents(session, all).await?,
                Creation::Refused(index, source) => {
                    return Err(refused(all.get(index).map_or(path, |new| new.parent.as_str()), source));
                }
                Creation::Unapplied => {}
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
            match commit(&mut retry, &session, &steps).await? {
                Transaction::Applied(_) => {
                    all.into_iter().for_each(Self::forget);
                    return Ok(());
                }
                Transaction::Unknown => sent_before = true,
                // The same transaction, sent before, whose reply was lost. The reaper makes sure.
                Transaction::Refused(0, zk::Error::NoNode) if sent_before => return Ok(()),
                // One of them was removed by an operator. The reaper takes the others.
                Transaction::Refused(_, zk::Error::NoNode) => return Err(Lost::because(LossReason::NodeRemoved).into()),
                Transaction::Refused(index, source) => {
                    return Err(refused(all.get(index).map_or("/", Self::path), source));
                }
            }
        }
    }
}

/// Nodes that a transaction is about to create, which share one end.
pub(super) struct NewNodes {
    guards: Vec<CleanupGuard>,
    pub(super) steps: Vec<Operation>,
}

impl NewNodes {
    /// Names all nodes and registers them, before the transaction is sent that creates them.
    pub(super) fn register(session: &Arc<Session>, all: &[NewChild<'_>]) -> Result<Self, Error> {
        let (end, mode) = (Arc::new(End::new()), zk::CreateMode::EphemeralSequential);
        let (mut guards, mut steps) = (Vec::new(), Vec::new());
        for new in all {
            let name = new.tag.new_name(session.guid_prefix());
            steps.push(Operation::create(
                new.parent.child(&name.prefix),
                new.data.to_vec(),
                mode,
            ));
            let (location, cleanup, end) = (new.location(name), new.cleanup.cloned(), Arc::clone(&end));
            match CleanupGuard::register_with(session, location, cleanup, end) {
                Ok(guard) => guards.push(guard),
                Err(refused) => {
                    guards.into_iter().for_each(CleanupGuard::disarm);
                    return Err(refused);
                }
            }
        }
        Ok(Self { guards, steps })
    }

    /// What came of the transaction, sent on `connection` or a later one; known after a pause if it was not answered.
    pub(super) async fn settle(
        self,
        retry: &mut Retry<'_>,
        connection: u64,
        committed: Result<Commit, Interrupted>,
    ) -> Result<Creation<Vec<Ephemeral>>, Interrupted> {
        match committed {
            Ok(Commit::Applied(applied)) => Ok(Creation::Done(self.adopt(applied).await?)),
            Ok(Commit::Refused(index, source)) => {
                self.disarm();
                Ok(Creation::Refused(index, source))
            }
            Ok(Commit::Unanswered(unanswered)) => {
                let count = self.guards.len();
                let found = after(retry, unanswered, self.guards, connection).await?;
                match found.len() {
                    0 => Ok(Creation::Unapplied),
                    len if len == count => Ok(Creation::Done(found)),
                    // They were all there: an operator has removed the others in the meantime.
                    _ => Err(Lost::because(LossReason::NodeRemoved).into()),
                }
            }
            Err(Interrupted::Lost(lost)) => Err(lost.into()),
            Err(not_sent) => {
                self.disarm();
                Err(not_sent)
            }
        }
    }

    fn disarm(self) {
        self.guards.into_iter().for_each(CleanupGuard::disarm);
    }

    /// Makes nodes of ours of what the transaction has created, whose results begin with theirs.
    async fn adopt(self, applied: Applied) -> Result<Vec<Ephemeral>, Interrupted> {
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
            nodes.iter_mut().for_each(|node| node.czxid = stat.czxid);
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
