//! Reads, watches and single writes of nodes, and transactions, repeated until a server answers.

use std::future::Future;
use std::sync::Arc;

use futures::future;
use zookeeper_client as zk;

use super::path::NodePath;
use super::watch::{NodeWatch, PlacedWatch, WatchOutcome};
use crate::session::{
    Applied, Commit, Interrupted, Operation, Reply, Retry, Session, Unanswered, WatchedFor, owned_stat, refused,
};

/// Sends `read` about `path`, and again if no answer comes; `None` if the answer is that there is no such node.
pub(crate) async fn request<T, F: Future<Output = Result<T, zk::Error>>>(
    session: &Arc<Session>,
    path: &str,
    // Not an `AsyncFn`, as in `retry_across_sessions`.
    read: impl Fn(zk::Client) -> F,
) -> Result<Option<T>, Interrupted> {
    let mut retry = Retry::new(session, path, 0);
    loop {
        match session.read(&read).await? {
            Reply::Answer(answer) => return Ok(Some(answer)),
            Reply::Refused(zk::Error::NoNode) => return Ok(None),
            Reply::Refused(source) => return Err(refused(path, source)),
            Reply::Unanswered(unanswered) => retry.after(unanswered).await?,
        }
    }
}

/// Data and state of the node at `path`, if it exists.
pub(crate) async fn read(session: &Arc<Session>, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>, Interrupted> {
    request(session, path, |client| async move { client.get_data(path).await }).await
}

/// Data and state of the node at `path`, and a watch on it, if it exists.
pub(crate) async fn read_and_watch(
    session: &Arc<Session>,
    path: &str,
) -> Result<Option<(Vec<u8>, zk::Stat, NodeWatch)>, Interrupted> {
    let ask = |client: zk::Client| async move { client.get_and_watch_data(path).await };
    let answer = request(session, path, ask).await?;
    Ok(answer.map(|(data, stat, watcher)| (data, stat, NodeWatch::new(session, path, watcher))))
}

/// The children of the node at `path`; none if it does not exist.
pub(crate) async fn list(session: &Arc<Session>, path: &NodePath) -> Result<Vec<String>, Interrupted> {
    let path = path.as_str();
    let answer = request(session, path, |client| async move { client.list_children(path).await });
    Ok(answer.await?.unwrap_or_default())
}

/// As [`list`], for what many callers of one session ask at a time: such lists travel together. They are decoded on the
/// session's runtime, so it is for nodes with few children.
pub(crate) async fn list_with_others(session: &Arc<Session>, path: &NodePath) -> Result<Vec<String>, Interrupted> {
    match session.list(path.as_str()).await? {
        Reply::Answer(children) => Ok(children),
        Reply::Refused(zk::Error::NoNode) => Ok(Vec::new()),
        Reply::Refused(source) => Err(refused(path.as_str(), source)),
        Reply::Unanswered(unanswered) => {
            Retry::new(session, path.as_str(), 0).after(unanswered).await?;
            list(session, path).await
        }
    }
}

/// The children of the node at `path`, and a watch on them, if it exists.
pub(crate) async fn list_and_watch(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, NodeWatch)>, Interrupted> {
    let path = path.as_str();
    let ask = |client: zk::Client| async move { client.list_and_watch_children(path).await };
    let answer = request(session, path, ask).await?;
    Ok(answer.map(|(children, watcher)| (children, NodeWatch::new(session, path, watcher))))
}

/// The children of the node at `path`, and its state at that moment, if it exists.
pub(crate) async fn children(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, zk::Stat)>, Interrupted> {
    children_at(session, path.as_str()).await
}

/// As [`children`], of a path that may be the root.
pub(crate) async fn children_at(
    session: &Arc<Session>,
    path: &str,
) -> Result<Option<(Vec<String>, zk::Stat)>, Interrupted> {
    request(session, path, |client| async move { client.get_children(path).await }).await
}

/// As [`children`], with a watch on them.
pub(crate) async fn children_and_watch(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, zk::Stat, NodeWatch)>, Interrupted> {
    let path = path.as_str();
    let ask = |client: zk::Client| async move { client.get_and_watch_children(path).await };
    let answer = request(session, path, ask).await?;
    Ok(answer.map(|(children, stat, watcher)| (children, stat, NodeWatch::new(session, path, watcher))))
}

/// The state of the node at `path`, if it exists.
pub(crate) async fn stat(session: &Arc<Session>, path: &str) -> Result<Option<zk::Stat>, Interrupted> {
    let answer = request(session, path, |client| async move { client.check_stat(path).await }).await?;
    Ok(answer.flatten())
}

/// The state of the node at `path`, at nothing older than this call, if it is there and ours.
pub(crate) async fn own_stat(session: &Arc<Session>, path: &str) -> Result<Option<zk::Stat>, Interrupted> {
    let ask = |client| async move { owned_stat(&client, path, session.id()).await };
    Ok(request(session, path, ask).await?.flatten())
}

/// The state of the node at `path`, or that there is none, and a watch on its creation, change and deletion. It needs no
/// right to read the node.
pub(crate) async fn stat_and_watch(
    session: &Arc<Session>,
    path: &str,
) -> Result<(Option<zk::Stat>, NodeWatch), Interrupted> {
    let (stat, watcher) = stat_and_watcher(session, path).await?;
    Ok((stat, NodeWatch::new(session, path, watcher)))
}

/// As [`stat_and_watch`], with the client's own watcher.
pub(super) async fn stat_and_watcher(
    session: &Arc<Session>,
    path: &str,
) -> Result<(Option<zk::Stat>, zk::OneshotWatcher), Interrupted> {
    let ask = |client: zk::Client| async move { client.check_and_watch_stat(path).await };
    let answer = request(session, path, ask).await?;
    answer.ok_or_else(|| refused(path, zk::Error::NoNode))
}

/// Watches the node at `path` if it exists.
pub(crate) async fn watch_existing(session: &Arc<Session>, path: &str) -> Result<Option<NodeWatch>, Interrupted> {
    watch_existing_then(session, path, future::ready).await
}

/// As [`watch_existing`]. The watch tells what `then` makes of its outcome on the session's runtime: what is asked there
/// is on its way before the waiter, on another thread, is awake.
pub(crate) async fn watch_existing_then<T, F>(
    session: &Arc<Session>,
    path: &str,
    then: impl FnOnce(WatchOutcome) -> F + Send + 'static,
) -> Result<Option<NodeWatch<T>>, Interrupted>
where
    T: Send + 'static,
    F: Future<Output = T> + Send,
{
    let placed = PlacedWatch::set(session, path, WatchedFor::Wait).await?;
    Ok(placed.map(|(_, watch)| watch.telling(session, path, then)))
}

/// Makes sure that what is read next is not older than this call, whatever server answers.
pub(crate) async fn sync(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    let answer = request(session, path, |client| async move { client.sync(path).await });
    answer.await.map(|_| ())
}

/// Deletes the node at `path`, whose name no other client uses; it may be gone.
pub(crate) async fn delete_if_exists(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    match delete(session, path, None).await? {
        Ok(()) | Err(zk::Error::NoNode) => Ok(()),
        Err(source) => Err(refused(path, source)),
    }
}

/// Deletes the node at `path`, if it has `version` where one is given. A refusal may be that of a repetition: an earlier
/// delete may have been applied, and its reply lost.
pub(crate) async fn delete(
    session: &Arc<Session>,
    path: &str,
    version: Option<i32>,
) -> Result<Result<(), zk::Error>, Interrupted> {
    let send = |client: zk::Client| async move { client.delete(path, version).await };
    write(session, path, 0, send).await
}

/// Creates the node at `path`. A refusal may be that of a repetition, as in [`delete`].
pub(crate) async fn create(
    session: &Arc<Session>,
    path: &str,
    data: &[u8],
    mode: zk::CreateMode,
) -> Result<Result<(), zk::Error>, Interrupted> {
    session.check_size(path, data.len())?;
    let options = &mode.with_acls(session.acls());
    let send = |client: zk::Client| async move { client.create(path, data, options).await.map(|_| ()) };
    write(session, path, data.len(), send).await
}

/// Sends one write, and again if no answer comes, until it is answered.
pub(crate) async fn write<T, F: Future<Output = Result<T, zk::Error>>>(
    session: &Arc<Session>,
    path: &str,
    size: usize,
    write: impl Fn(zk::Client) -> F,
) -> Result<Result<T, zk::Error>, Interrupted> {
    let mut retry = Retry::new(session, path, size);
    loop {
        match session.write(&write).await? {
            Reply::Answer(answer) => return Ok(Ok(answer)),
            Reply::Refused(source) => return Ok(Err(source)),
            Reply::Unanswered(unanswered) => retry.after(unanswered).await?,
        }
    }
}

/// The states of the children of `path` with these names, without those that are gone. All are asked for together.
pub(crate) async fn stats<'a>(
    session: &Arc<Session>,
    path: &NodePath,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<(&'a str, zk::Stat)>, Interrupted> {
    let asked = names.into_iter().map(|name| async move {
        let child = &path.child(name);
        let stat = stat(session, child).await?;
        Ok(stat.map(|stat| (name, stat)))
    });
    let answers: Result<Vec<_>, Interrupted> = future::try_join_all(asked).await;
    Ok(answers?.into_iter().flatten().collect())
}

/// What is known of a transaction.
#[derive(Debug)]
pub(crate) enum Transaction {
    Applied(Applied),
    /// Nothing was done, because of this step.
    Refused(usize, zk::Error),
    /// No answer came: all was done or nothing. There was a pause, and there is a connection again.
    Unknown,
}

/// Sends the transaction, and again while the server is busy.
pub(crate) async fn commit(
    retry: &mut Retry<'_>,
    session: &Arc<Session>,
    steps: &[Operation],
) -> Result<Transaction, Interrupted> {
    loop {
        match session.commit(steps).await? {
            Commit::Applied(applied) => return Ok(Transaction::Applied(applied)),
            Commit::Refused(index, source) => return Ok(Transaction::Refused(index, source)),
            Commit::Unanswered(unanswered) => {
                retry.after(unanswered).await?;
                if let Unanswered::Unknown { .. } = unanswered {
                    return Ok(Transaction::Unknown);
                }
            }
        }
    }
}
