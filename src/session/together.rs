//! Requests of one kind that travel together.
//!
//! A server takes the packets of one connection one by one, so that many small requests of one session wait for each
//! other there, while the server could do more. So a few go out at once, as they come. While these are under way, others
//! wait, and go out as one as soon as one of them is answered. A caller alone waits for nobody.
//!
//! What is sent together is sent once. A caller whose answer does not come sends again by itself, so that a request which
//! breaks connections is found out.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures::future;
use tokio::sync::oneshot;
use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::operation::Operation;
use super::request::{Commit, Reply, Unanswered};
use super::state::{Lost, lock};

/// So many requests of a kind are under way at once.
const IN_FLIGHT: usize = 2;

/// So many go out as one.
const TOGETHER: usize = 16;

/// What of a session travels together.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    lists: Bundle<BundledLists>,
    deletes: Bundle<BundledDeletes>,
}

/// A kind of request.
pub(super) trait BundleKind: Sized + Send + Sync + 'static {
    type Answer: fmt::Debug + Send + 'static;

    fn bundle(bundles: &Bundles) -> &Bundle<Self>;

    fn alone(session: &Arc<Session>, path: &str) -> impl Future<Output = Result<Reply<Self::Answer>, Lost>> + Send;

    /// The replies to all of them, in their order. An error ends the session.
    fn together(
        session: &Arc<Session>,
        paths: &[String],
    ) -> impl Future<Output = Result<Vec<Reply<Self::Answer>>, Lost>> + Send;
}

#[derive(Debug)]
pub(super) struct Bundle<K: BundleKind>(Mutex<BundleQueue<K>>);

#[derive(Debug)]
struct BundleQueue<K: BundleKind> {
    in_flight: usize,
    waiting: VecDeque<BundledRequest<K>>,
}

#[derive(Debug)]
struct BundledRequest<K: BundleKind> {
    path: String,
    reply: oneshot::Sender<Reply<K::Answer>>,
}

impl<K: BundleKind> Default for Bundle<K> {
    fn default() -> Self {
        Self(Mutex::new(BundleQueue {
            in_flight: 0,
            waiting: VecDeque::new(),
        }))
    }
}

impl<K: BundleKind> BundleQueue<K> {
    /// What goes out next, now that something was answered.
    fn next(&mut self) -> Vec<BundledRequest<K>> {
        let most = self.waiting.len().min(TOGETHER);
        if most == 0 {
            self.in_flight -= 1;
        }
        self.waiting.drain(..most).collect()
    }
}

/// A request that is under way.
struct BundleTurn<'s, K: BundleKind> {
    session: &'s Arc<Session>,
    bundle: &'s Bundle<K>,
}

impl<K: BundleKind> Drop for BundleTurn<'_, K> {
    fn drop(&mut self) {
        let next = lock(&self.bundle.0).next();
        if !next.is_empty() {
            let session = Arc::clone(self.session);
            self.session.runtime().spawn(send_all(session, next));
        }
    }
}

/// Sends what waits, until nothing does.
async fn send_all<K: BundleKind>(session: Arc<Session>, mut bundled: Vec<BundledRequest<K>>) {
    while !bundled.is_empty() {
        if session.connected().await.is_err() {
            return;
        }
        // A request whose caller is gone is not sent.
        bundled.retain(|request| !request.reply.is_closed());
        let paths: Vec<String> = bundled.iter().map(|request| request.path.clone()).collect();
        let Ok(replies) = K::together(&session, &paths).await else {
            return;
        };
        for (request, reply) in bundled.into_iter().zip(replies) {
            let _ = request.reply.send(reply);
        }
        bundled = lock(&K::bundle(session.bundles()).0).next();
    }
}

impl Session {
    /// Lists the children of the node at `path`, together with what others list.
    pub(crate) async fn list(self: &Arc<Self>, path: &str) -> Result<Reply<Vec<String>>, Lost> {
        self.send_with_others::<BundledLists>(path).await
    }

    /// Deletes the node at `path`, together with what others delete.
    pub(crate) async fn delete(self: &Arc<Self>, path: &str) -> Result<Reply<()>, Lost> {
        self.send_with_others::<BundledDeletes>(path).await
    }

    async fn send_with_others<K: BundleKind>(self: &Arc<Self>, path: &str) -> Result<Reply<K::Answer>, Lost> {
        let bundle = K::bundle(self.bundles());
        let told = {
            let mut pending = lock(&bundle.0);
            if pending.in_flight < IN_FLIGHT {
                pending.in_flight += 1;
                None
            } else {
                let (reply, told) = oneshot::channel();
                let path = path.to_owned();
                pending.waiting.push_back(BundledRequest { path, reply });
                Some(told)
            }
        };
        match told {
            None => {
                let _sent = BundleTurn { session: self, bundle };
                K::alone(self, path).await
            }
            // It is dropped with the session alone.
            Some(told) => Ok(self.while_alive(told).await?.unwrap_or(Reply::Unanswered(UNKNOWN))),
        }
    }
}

/// Which of several requests is to blame for a broken connection is not known.
const UNKNOWN: Unanswered = Unanswered::Unknown { blamed: false };

fn unanswered<T>(requests: usize, unanswered: Unanswered) -> Vec<Reply<T>> {
    let unanswered = match unanswered {
        Unanswered::Busy => Unanswered::Busy,
        Unanswered::Unknown { .. } => UNKNOWN,
    };
    (0..requests).map(|_| Reply::Unanswered(unanswered)).collect()
}

/// Each by itself, but all at once.
async fn each_alone<K: BundleKind>(session: &Arc<Session>, paths: &[String]) -> Result<Vec<Reply<K::Answer>>, Lost> {
    future::try_join_all(paths.iter().map(|path| K::alone(session, path))).await
}

#[derive(Debug)]
pub(super) struct BundledLists;

impl BundleKind for BundledLists {
    type Answer = Vec<String>;

    fn bundle(bundles: &Bundles) -> &Bundle<Self> {
        &bundles.lists
    }

    async fn alone(session: &Arc<Session>, path: &str) -> Result<Reply<Vec<String>>, Lost> {
        session
            .read(|client| async move { client.list_children(path).await })
            .await
    }

    async fn together(session: &Arc<Session>, paths: &[String]) -> Result<Vec<Reply<Vec<String>>>, Lost> {
        if paths.len() < 2 {
            return each_alone::<Self>(session, paths).await;
        }
        let ask = |client: zk::Client| async move {
            let mut reader = client.new_multi_reader();
            for path in paths {
                reader.add_get_children(path)?;
            }
            reader.commit().await
        };
        match session.read(ask).await? {
            Reply::Answer(answers) if answers.len() == paths.len() => Ok(answers.into_iter().map(listed).collect()),
            Reply::Unanswered(why) => Ok(unanswered(paths.len(), why)),
            // A server before 3.6.
            Reply::Answer(_) | Reply::Refused(_) => each_alone::<Self>(session, paths).await,
        }
    }
}

fn listed(answer: zk::MultiReadResult) -> Reply<Vec<String>> {
    match answer {
        zk::MultiReadResult::Children { children } => Reply::Answer(children),
        zk::MultiReadResult::Error { err } => Reply::Refused(err),
        _ => Reply::Refused(zk::Error::UnexpectedError("another answer than children".to_owned())),
    }
}

#[derive(Debug)]
pub(super) struct BundledDeletes;

impl BundleKind for BundledDeletes {
    type Answer = ();

    fn bundle(bundles: &Bundles) -> &Bundle<Self> {
        &bundles.deletes
    }

    async fn alone(session: &Arc<Session>, path: &str) -> Result<Reply<()>, Lost> {
        session
            .write(|client| async move { client.delete(path, None).await })
            .await
    }

    async fn together(session: &Arc<Session>, paths: &[String]) -> Result<Vec<Reply<()>>, Lost> {
        if paths.len() < 2 {
            return each_alone::<Self>(session, paths).await;
        }
        let steps: Vec<Operation> = paths.iter().map(|path| Operation::delete(path, None)).collect();
        match session.commit(&steps).await {
            Ok(Commit::Applied(_)) => Ok(paths.iter().map(|_| Reply::Answer(())).collect()),
            Ok(Commit::Unanswered(why)) => Ok(unanswered(paths.len(), why)),
            // Nothing was done, because one of them is gone or must not be deleted.
            Ok(Commit::Refused(..)) | Err(Interrupted::Failed(_)) => each_alone::<Self>(session, paths).await,
            Err(Interrupted::Lost(lost)) => Err(lost),
        }
    }
}
