//! Many reads in one request.
//!
//! ZooKeeper's NIO server takes one packet of a connection at a time, and looks after its other connections in between.
//! So each of several requests that are sent together is answered some 80 us after the one before it (seen on 3.8.0, with
//! its data in memory); as one request they cost that once.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};
use zookeeper_client as zk;

use super::path::NodePath;
use super::request::{read, request};
use crate::session::{Interrupted, Reply, Retry, Session, Unanswered, refused};

/// How many nodes one request reads.
const READ_TOGETHER: usize = 64;

/// How many questions one request has where the answers may be large: so many full segments of a queue are a mebibyte. A
/// single item may be as large as a node.
const ASKED_TOGETHER: usize = 16;

/// How many such requests are in flight at a time, so that what else is sent is not kept waiting.
const IN_FLIGHT: usize = 4;

/// What is asked of the node at a path.
#[derive(Clone, Debug)]
pub(crate) enum NodeQuestion {
    Data(String),
    Children(String),
}

#[derive(Debug)]
pub(crate) enum NodeAnswer {
    Data(Vec<u8>, zk::Stat),
    Children(Vec<String>),
}

impl NodeQuestion {
    fn path(&self) -> &str {
        match self {
            Self::Data(path) | Self::Children(path) => path,
        }
    }
}

impl NodeAnswer {
    pub(crate) fn into_children(self) -> Option<Vec<String>> {
        match self {
            Self::Children(children) => Some(children),
            Self::Data(..) => None,
        }
    }

    pub(crate) fn into_data(self) -> Option<(Vec<u8>, zk::Stat)> {
        match self {
            Self::Data(data, stat) => Some((data, stat)),
            Self::Children(_) => None,
        }
    }
}

/// Asks all of this together. Each answer is that to the question at its place, `None` if there is no such node.
pub(crate) async fn ask(
    session: &Arc<Session>,
    questions: &[NodeQuestion],
) -> Result<Vec<Option<NodeAnswer>>, Interrupted> {
    let mut chunks = Vec::new();
    for chunk in questions.chunks(ASKED_TOGETHER) {
        chunks.push(ask_chunk(session, chunk));
    }
    // All at once: what is sent before them, they show.
    let answers = future::try_join_all(chunks).await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn ask_chunk(session: &Arc<Session>, questions: &[NodeQuestion]) -> Result<Vec<Option<NodeAnswer>>, Interrupted> {
    let answers = ask_at_once(session, questions).await?;
    let answers = questions.iter().zip(answers).map(|(question, answer)| match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(zk::Error::NoNode) => Ok(None),
        Err(source) => Err(refused(question.path(), source)),
    });
    answers.collect()
}

/// A node that was read: its path, data and state, if it is there.
pub(crate) type NodeRead = Option<(String, Vec<u8>, zk::Stat)>;

/// The paths, data and states of the children of `path` with these names, `None` for those that are gone. One request
/// reads up to [`READ_TOGETHER`] of them.
pub(crate) async fn reads<'a>(
    session: &Arc<Session>,
    path: &NodePath,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<NodeRead>, Interrupted> {
    let paths: Vec<String> = names.into_iter().map(|name| path.child(name)).collect();
    let mut chunks = Vec::new();
    for chunk in paths.chunks(READ_TOGETHER) {
        chunks.push(read_chunk(session, chunk));
    }
    let answers: Vec<Vec<NodeRead>> = stream::iter(chunks).buffered(IN_FLIGHT).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}

async fn read_chunk(session: &Arc<Session>, paths: &[String]) -> Result<Vec<NodeRead>, Interrupted> {
    let answers = multi_read(session, paths).await?;
    // Thousands of answers are worked through; others may run in between.
    tokio::task::yield_now().await;
    let answers = paths.iter().zip(answers).map(|(path, answer)| match answer {
        Ok((data, stat)) => Ok(Some((path.clone(), data, stat))),
        Err(zk::Error::NoNode) => Ok(None),
        Err(source) => Err(refused(path, source)),
    });
    answers.collect()
}

/// Data and state of each of these nodes, in one request.
pub(crate) async fn multi_read<P: AsRef<str>>(
    session: &Arc<Session>,
    paths: &[P],
) -> Result<Vec<Result<(Vec<u8>, zk::Stat), zk::Error>>, Interrupted> {
    let questions: Vec<NodeQuestion> = paths
        .iter()
        .map(|path| NodeQuestion::Data(path.as_ref().to_owned()))
        .collect();
    let answers = ask_at_once(session, &questions).await?;
    let answers = answers
        .into_iter()
        .map(|answer| answer?.into_data().ok_or_else(unexpected));
    Ok(answers.collect())
}

fn unexpected() -> zk::Error {
    zk::Error::UnexpectedError("another answer than what was asked for".to_owned())
}

/// Asks all of this in one request.
async fn ask_at_once(
    session: &Arc<Session>,
    questions: &[NodeQuestion],
) -> Result<Vec<Result<NodeAnswer, zk::Error>>, Interrupted> {
    let Some(first) = questions.first().map(NodeQuestion::path) else {
        return Ok(Vec::new());
    };
    if questions.len() == 1 {
        return ask_each(session, questions).await;
    }
    let ask = |client: zk::Client| async move {
        let mut reader = client.new_multi_reader();
        for question in questions {
            match question {
                NodeQuestion::Data(path) => reader.add_get_data(path)?,
                NodeQuestion::Children(path) => reader.add_get_children(path)?,
            }
        }
        reader.commit().await
    };
    let mut retry = Retry::new(session, first, 0);
    let answers = loop {
        match session.read(ask).await? {
            Reply::Answer(answers) if answers.len() == questions.len() => break answers,
            // A server before 3.6.
            Reply::Refused(zk::Error::Unimplemented) => return ask_each(session, questions).await,
            Reply::Answer(_) => return ask_each(session, questions).await,
            Reply::Refused(source) => return Err(refused(first, source)),
            Reply::Unanswered(unanswered) => {
                retry.after(unanswered).await?;
                if let Unanswered::Unknown { blamed: true } = unanswered {
                    // One of them breaks connections: which one, it tells alone.
                    return ask_each(session, questions).await;
                }
            }
        }
    };
    let is_transient = |answer: &zk::MultiReadResult| match answer {
        zk::MultiReadResult::Error { err } => !matches!(err, zk::Error::NoNode | zk::Error::NoAuth),
        _ => false,
    };
    if answers.iter().any(is_transient) {
        return ask_each(session, questions).await;
    }
    let answers = answers.into_iter().map(|answer| match answer {
        zk::MultiReadResult::Data { data, stat } => Ok(NodeAnswer::Data(data, stat)),
        zk::MultiReadResult::Children { children } => Ok(NodeAnswer::Children(children)),
        zk::MultiReadResult::Error { err } => Err(err),
        _ => Err(unexpected()),
    });
    Ok(answers.collect())
}

/// The same, in a request each.
async fn ask_each(
    session: &Arc<Session>,
    questions: &[NodeQuestion],
) -> Result<Vec<Result<NodeAnswer, zk::Error>>, Interrupted> {
    let asked = questions.iter().map(|question| async move {
        let answer = match question {
            NodeQuestion::Data(path) => read(session, path)
                .await?
                .map(|(data, stat)| NodeAnswer::Data(data, stat)),
            NodeQuestion::Children(path) => {
                let ask = |client: zk::Client| async move { client.list_children(path).await };
                request(session, path, ask).await?.map(NodeAnswer::Children)
            }
        };
        Ok::<_, Interrupted>(answer.ok_or(zk::Error::NoNode))
    });
    future::try_join_all(asked).await
}
