//! Reads and watches of single nodes, and transactions, repeated until a server answers.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures::future;
use zookeeper_client as zk;

use super::ephemeral::Interrupted;
use super::path::NodePath;
use super::wait::{NodeWatch, retry_or_fail};
use crate::error::Error;
use crate::session::{ReplyStatus, Session, classify};

/// Sends `request` about `path`, and again if no answer comes; `None` if the answer is that there is no such node.
pub(crate) async fn ask<T, F: Future<Output = Result<T, zk::Error>>>(
    session: &Arc<Session>,
    path: &str,
    // Not an `AsyncFn`, as in `retry_across_sessions`.
    request: impl Fn(zk::Client) -> F,
) -> Result<Option<T>, Interrupted> {
    loop {
        let answer = tokio::select! {
            answer = request(session.client()?) => answer,
            lost = session.ended() => return Err(lost.into()),
        };
        match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(zk::Error::NoNode) => return Ok(None),
            Err(error) => retry_or_fail(session, path, error).await?,
        }
    }
}

/// Data and state of the node at `path`, if it exists.
pub(crate) async fn read(session: &Arc<Session>, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>, Interrupted> {
    ask(session, path, |client| async move { client.get_data(path).await }).await
}

/// Data and state of the node at `path`, and a watch on it, if it exists.
pub(crate) async fn read_and_watch(
    session: &Arc<Session>,
    path: &str,
) -> Result<Option<(Vec<u8>, zk::Stat, NodeWatch)>, Interrupted> {
    let answer = ask(
        session,
        path,
        |client| async move { client.get_and_watch_data(path).await },
    )
    .await?;
    Ok(answer.map(|(data, stat, watcher)| (data, stat, NodeWatch::new(session, watcher))))
}

/// The children of the node at `path`, and a watch on them, if it exists.
pub(crate) async fn list_and_watch(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, NodeWatch)>, Interrupted> {
    let path = path.as_str();
    let answer = ask(session, path, |client| async move {
        client.list_and_watch_children(path).await
    })
    .await?;
    Ok(answer.map(|(children, watcher)| (children, NodeWatch::new(session, watcher))))
}

/// The children of the node at `path`, and its state at that moment, if it exists.
pub(crate) async fn children(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, zk::Stat)>, Interrupted> {
    let path = path.as_str();
    ask(session, path, |client| async move { client.get_children(path).await }).await
}

/// As [`children`], with a watch on them.
pub(crate) async fn children_and_watch(
    session: &Arc<Session>,
    path: &NodePath,
) -> Result<Option<(Vec<String>, zk::Stat, NodeWatch)>, Interrupted> {
    let path = path.as_str();
    let answer = ask(session, path, |client| async move {
        client.get_and_watch_children(path).await
    })
    .await?;
    Ok(answer.map(|(children, stat, watcher)| (children, stat, NodeWatch::new(session, watcher))))
}

/// Deletes the node at `path`, whose name nobody else has; it may be gone.
pub(crate) async fn delete_if_exists(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    ask(session, path, |client| async move { client.delete(path, None).await })
        .await
        .map(|_| ())
}

/// The state of the node at `path`, if it exists.
pub(crate) async fn stat(session: &Arc<Session>, path: &str) -> Result<Option<zk::Stat>, Interrupted> {
    let answer = ask(session, path, |client| async move { client.check_stat(path).await }).await?;
    Ok(answer.flatten())
}

/// The state of the node at `path`, or that there is none, and a watch on its creation, change and deletion.
pub(crate) async fn stat_and_watch(
    session: &Arc<Session>,
    path: &str,
) -> Result<(Option<zk::Stat>, NodeWatch), Interrupted> {
    loop {
        let answer = ask(session, path, |client| async move {
            client.check_and_watch_stat(path).await
        });
        if let Some((stat, watcher)) = answer.await? {
            return Ok((stat, NodeWatch::new(session, watcher)));
        }
    }
}

/// Makes sure that what is read next is not older than this call, whatever server answers.
pub(crate) async fn sync(session: &Arc<Session>, path: &str) -> Result<(), Interrupted> {
    ask(session, path, |client| async move { client.sync(path).await })
        .await
        .map(|_| ())
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

/// The paths, data and states of the children of `path` with these names, `None` for those that are gone. All are asked
/// for together.
pub(crate) async fn reads<'a>(
    session: &Arc<Session>,
    path: &NodePath,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<Option<(String, Vec<u8>, zk::Stat)>>, Interrupted> {
    let asked = names.into_iter().map(|name| async move {
        let child = path.child(name);
        let answer = read(session, &child).await?;
        Ok(answer.map(|(data, stat)| (child, data, stat)))
    });
    future::try_join_all(asked).await
}

/// What is known of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// With the results of its operations, in their order.
    Committed(Vec<zk::MultiWriteResult>),
    /// Nothing was done, because of this operation.
    Refused { index: usize, source: zk::Error },
    /// No answer came: all was done or nothing. There is a connection again, or there was a pause.
    Unknown,
}

/// Sends the transaction that `add` builds, about `path`.
pub(crate) async fn transact(
    session: &Arc<Session>,
    path: &str,
    add: impl Fn(&mut zk::MultiWriter<'_>) -> Result<(), zk::Error>,
) -> Result<Transaction, Interrupted> {
    loop {
        let client = session.client()?;
        let mut multi = client.new_multi_writer();
        add(&mut multi).map_err(|error| Error::from_answer(path, error))?;
        let sent = Instant::now();
        let committed = tokio::select! {
            committed = multi.commit() => committed,
            lost = session.ended() => return Err(lost.into()),
        };
        drop(client);
        match committed {
            Ok(results) => {
                session.proved(sent);
                return Ok(Transaction::Committed(results));
            }
            Err(zk::MultiWriteError::OperationFailed { index, source })
                if classify(&source) == ReplyStatus::Refused =>
            {
                return Ok(Transaction::Refused { index, source });
            }
            Err(
                zk::MultiWriteError::OperationFailed { source, .. } | zk::MultiWriteError::RequestFailed { source },
            ) => {
                let known = classify(&source);
                retry_or_fail(session, path, source).await?;
                if known == ReplyStatus::Unknown {
                    return Ok(Transaction::Unknown);
                }
            }
        }
    }
}
