//! Nodes that come, change places and go in one transaction: all of it happens, or nothing.

use std::sync::Arc;
use std::time::Instant;

use futures::future;
use tracing::debug;
use zookeeper_client as zk;

use super::super::name::NewName;
use super::super::parents;
use super::cleanup::CleanupGuard;
use super::{Ephemeral, Interrupted, NewChild, check_size, recover};
use crate::error::Error;
use crate::session::{End, LossReason, Lost, NodeLocation, ReplyStatus, Session, classify};

/// What an operation of a transaction takes beside its path and data, with room for a long ACL.
pub(in crate::znode) const OPERATION_SIZE: usize = 256;

/// A node that was created together with others, and the children of its parent right behind that.
pub(crate) type Created = (Ephemeral, Option<Vec<String>>);

impl Ephemeral {
    /// Creates all nodes, and lists their parents in the same round trip. What ends one of them ends all.
    pub(crate) async fn create_all(session: &Arc<Session>, all: &[NewChild<'_>]) -> Result<Vec<Created>, Interrupted> {
        check_total(all)?;
        loop {
            let (names, guards) = register_all(session, all);
            let client = session.client()?;
            let connection = session.connection();
            let sent = Instant::now();
            let options = zk::CreateMode::EphemeralSequential.with_acls(session.acls());
            let mut multi = client.new_multi_writer();
            for (new, name) in all.iter().zip(&names) {
                let added = multi.add_create(&new.parent.child(&name.prefix), new.data, &options);
                added.map_err(|error| Error::from_answer(new.parent.as_str(), error))?;
            }
            let commit = multi.commit();
            let lists = future::join_all(all.iter().map(|new| client.list_children(new.parent.as_str())));
            let committed = tokio::select! {
                committed = commit => committed,
                lost = session.ended() => return Err(lost.into()),
            };
            match committed {
                Ok(results) => {
                    let nodes = adopt_created(guards, results, connection).await?;
                    session.proved(sent);
                    let lists = tokio::select! {
                        lists = lists => lists,
                        lost = session.ended() => return Err(lost.into()),
                    };
                    return Ok(nodes.into_iter().zip(lists.into_iter().map(Result::ok)).collect());
                }
                Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                    guards.into_iter().for_each(CleanupGuard::disarm);
                    match all.get(index) {
                        Some(new) if source != zk::Error::NoNode => {
                            retry_or_fail(session, new.parent.as_str(), source).await?;
                        }
                        _ => {
                            for new in all {
                                parents::ensure(session, new.parent, new.parents).await?;
                            }
                        }
                    }
                }
                Err(zk::MultiWriteError::RequestFailed { source }) if classify(&source) != ReplyStatus::Unknown => {
                    guards.into_iter().for_each(CleanupGuard::disarm);
                    retry_or_fail(session, all.first().map_or("/", |new| new.parent.as_str()), source).await?;
                }
                Err(zk::MultiWriteError::RequestFailed { source }) => {
                    debug!(error = %source, "reply of a transaction lost; looking for its nodes");
                    if let Some(found) = recover_all(session, all, &names, guards, connection).await? {
                        return Ok(found.into_iter().map(|node| (node, None)).collect());
                    }
                }
            }
        }
    }

    /// Puts an ephemeral node at `path` in the place of this one, so that at every moment one of the two is there.
    /// `path` carries a guid that nobody else has. The new node inherits the czxid, with the place in line.
    pub(crate) async fn replace(self, path: String, data: &[u8]) -> Result<Self, Interrupted> {
        check_size(&path, data)?;
        let session = Arc::clone(self.session());
        let guard = CleanupGuard::register(&session, NodeLocation::Path(path.clone()), None);
        if !self.end().set(LossReason::Released) {
            let reason = self.end().reason().unwrap_or(LossReason::Released);
            guard.disarm();
            return Err(Lost { reason }.into());
        }
        loop {
            let client = session.client()?;
            let connection = session.connection();
            let sent = Instant::now();
            let options = zk::CreateMode::Ephemeral.with_acls(session.acls());
            let mut multi = client.new_multi_writer();
            let added = multi
                .add_create(&path, data, &options)
                .and_then(|()| multi.add_delete(self.path(), None));
            added.map_err(|error| Error::from_answer(&path, error))?;
            let committed = tokio::select! {
                committed = multi.commit() => committed,
                lost = session.ended() => return Err(lost.into()),
            };
            match committed {
                Ok(results) => {
                    let czxid = self.czxid();
                    self.forget();
                    let owner = results.into_iter().find_map(|result| match result {
                        zk::MultiWriteResult::Create { stat, .. } if !stat.is_invalid() => Some(stat.ephemeral_owner),
                        _ => None,
                    });
                    if let Some(owner) = owner {
                        session.verify(connection, owner)?;
                    }
                    session.proved(sent);
                    return Ok(Self::new(guard, path, czxid, connection));
                }
                // The same transaction, sent before, whose reply was lost: nobody else makes a node of this name.
                Err(zk::MultiWriteError::OperationFailed {
                    index: 0,
                    source: zk::Error::NodeExists,
                }) => {
                    let replacement = Self::new(guard, path, self.czxid(), connection);
                    self.forget();
                    replacement.recheck().await?;
                    return Ok(replacement);
                }
                Err(zk::MultiWriteError::OperationFailed {
                    index: 1,
                    source: zk::Error::NoNode,
                }) => {
                    guard.disarm();
                    self.forget();
                    return Err(Lost {
                        reason: LossReason::NodeRemoved,
                    }
                    .into());
                }
                Err(zk::MultiWriteError::OperationFailed { source, .. }) => {
                    retry_or_fail(&session, &path, source).await?;
                }
                Err(zk::MultiWriteError::RequestFailed { source }) if classify(&source) == ReplyStatus::Refused => {
                    return Err(Error::from_answer(&path, source).into());
                }
                Err(zk::MultiWriteError::RequestFailed { source }) => {
                    debug!(error = %source, path, "replacing a node is tried again");
                    session.pause_before_retry().await;
                }
            }
        }
    }

    /// Deletes all nodes, which share one end, and waits until they are gone. Dropping the future hands them to the
    /// reaper.
    pub(crate) async fn remove_all(all: Vec<Self>) -> Result<(), Interrupted> {
        let Some(first) = all.first() else { return Ok(()) };
        let session = Arc::clone(first.session());
        if !first.end().set(LossReason::Released) {
            let reason = first.end().reason().unwrap_or(LossReason::Released);
            return Err(Lost { reason }.into());
        }
        let mut sent_before = false;
        loop {
            let client = session.client()?;
            let sent = Instant::now();
            let mut multi = client.new_multi_writer();
            for node in &all {
                let added = multi.add_delete(node.path(), None);
                added.map_err(|error| Error::from_answer(node.path(), error))?;
            }
            let committed = tokio::select! {
                committed = multi.commit() => committed,
                lost = session.ended() => return Err(lost.into()),
            };
            match committed {
                Ok(_) => {
                    session.proved(sent);
                    all.into_iter().for_each(Self::forget);
                    return Ok(());
                }
                // The same transaction, sent before, whose reply was lost. The reaper makes sure.
                Err(zk::MultiWriteError::OperationFailed {
                    index: 0,
                    source: zk::Error::NoNode,
                }) if sent_before => {
                    return Ok(());
                }
                // Somebody has removed one of them. The reaper takes the others.
                Err(zk::MultiWriteError::OperationFailed {
                    source: zk::Error::NoNode,
                    ..
                }) => {
                    return Err(Lost {
                        reason: LossReason::NodeRemoved,
                    }
                    .into());
                }
                Err(zk::MultiWriteError::OperationFailed { index, source }) => {
                    let path = all.get(index).map_or("/", Self::path);
                    retry_or_fail(&session, path, source).await?;
                }
                Err(zk::MultiWriteError::RequestFailed { source }) => {
                    if classify(&source) == ReplyStatus::Refused {
                        return Err(Error::from_answer(all.first().map_or("/", Self::path), source).into());
                    }
                    sent_before = true;
                    session.pause_before_retry().await;
                }
            }
        }
    }
}

/// Names all nodes and registers them with one end, before the transaction is sent that creates them.
pub(in crate::znode) fn register_all(
    session: &Arc<Session>,
    all: &[NewChild<'_>],
) -> (Vec<NewName>, Vec<CleanupGuard>) {
    let end = Arc::new(End::new());
    let names: Vec<_> = all.iter().map(|new| new.tag.new_name()).collect();
    let register = |(new, name): (&NewChild<'_>, &NewName)| {
        let location = NodeLocation::ByGuid {
            parent: new.parent.as_str().to_owned(),
            guid: name.guid.clone(),
        };
        CleanupGuard::register_with(session, location, new.cleanup.cloned(), Arc::clone(&end))
    };
    let guards = all.iter().zip(&names).map(register).collect();
    (names, guards)
}

/// Finds out whether a transaction whose reply was lost has been applied.
pub(in crate::znode) async fn recover_all(
    session: &Arc<Session>,
    all: &[NewChild<'_>],
    names: &[NewName],
    guards: Vec<CleanupGuard>,
    connection: u64,
) -> Result<Option<Vec<Ephemeral>>, Interrupted> {
    let mut found = Vec::with_capacity(all.len());
    for ((new, name), guard) in all.iter().zip(names).zip(guards) {
        found.extend(recover(session, new.parent, &name.guid, guard, connection).await?);
    }
    if found.is_empty() {
        return Ok(None);
    }
    if found.len() == all.len() {
        return Ok(Some(found));
    }
    // They were all there: somebody has removed the others in the meantime.
    Err(Lost {
        reason: LossReason::NodeRemoved,
    }
    .into())
}

/// Makes nodes of ours of what a transaction has created.
pub(in crate::znode) async fn adopt_created(
    guards: Vec<CleanupGuard>,
    results: Vec<zk::MultiWriteResult>,
    connection: u64,
) -> Result<Vec<Ephemeral>, Interrupted> {
    let count = guards.len();
    let mut nodes = Vec::with_capacity(count);
    let mut stats = Vec::with_capacity(count);
    for (guard, result) in guards.into_iter().zip(results) {
        if let zk::MultiWriteResult::Create { path, stat } = result {
            guard.found(&path);
            nodes.push(Ephemeral::new(guard, path, stat.czxid, connection));
            stats.extend((!stat.is_invalid()).then_some(stat));
        }
    }
    let Some(first) = nodes.first().filter(|_| nodes.len() == count) else {
        let source = zk::Error::UnexpectedError("the reply of a transaction lacks results".to_owned());
        let path = nodes.first().map_or("/", Ephemeral::path).to_owned();
        return Err(Error::Client { path, source }.into());
    };
    for stat in &stats {
        first.session().verify(connection, stat.ephemeral_owner)?;
    }
    if stats.len() < count {
        // Many servers send no Stat in the reply of a transaction (ZOOKEEPER-4026, ZOOKEEPER-4667). What was created
        // together has one czxid.
        let stat = first.look().await?;
        first.session().verify(connection, stat.ephemeral_owner)?;
        nodes.iter_mut().for_each(|node| node.set_czxid(stat.czxid));
    }
    Ok(nodes)
}

/// Waits before a transaction that was refused is sent again, or says that there is no use in that.
pub(in crate::znode) async fn retry_or_fail(
    session: &Session,
    path: &str,
    source: zk::Error,
) -> Result<(), Interrupted> {
    if classify(&source) == ReplyStatus::Refused {
        return Err(Error::from_answer(path, source).into());
    }
    session.pause_before_retry().await;
    Ok(())
}

/// Refuses `size` bytes for a node at or below `path` that go into a transaction with one or two small operations.
pub(crate) fn check_transaction_size(path: &str, size: usize) -> Result<(), Error> {
    let others = 2 * (path.len() + OPERATION_SIZE);
    let whole = super::check_length(path, size.saturating_add(others));
    whole.map_err(|error| match error {
        Error::TooLarge { path, limit, .. } => {
            let limit = limit.saturating_sub(others);
            Error::TooLarge { path, size, limit }
        }
        error => error,
    })
}

/// Refuses a transaction that would make the server cut the connection, again and again.
pub(in crate::znode) fn check_total(all: &[NewChild<'_>]) -> Result<(), Error> {
    let sizes = all
        .iter()
        .map(|new| new.parent.as_str().len() + new.data.len() + OPERATION_SIZE);
    let size = sizes.sum();
    let path = all.first().map_or("/", |new| new.parent.as_str());
    super::check_length(path, size)
}
