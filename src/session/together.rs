//! Requests of one kind that travel together.
//!
//! A server takes the packets of one connection one by one, so that many small requests of one session wait for each
//! other there, while the server could do more. So a few go out at once, as they come. While these are under way, others
//! wait, and go out as one as soon as one of them is answered. A caller alone waits for nobody.
//!
//! What is sent together is sent once; a caller whose answer does not come repeats it by itself, and is counted as any that
//! breaks connections. Once something that was sent together breaks one, or is not understood, each goes alone in that
//! session.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use futures::future;
use tokio::sync::oneshot;
use zookeeper_client as zk;

use super::core::Session;
use super::interrupted::Interrupted;
use super::operation::Operation;
use super::request::{Commit, Reply, Unanswered, classify};
use super::state::{Lost, lock};

/// So many are under way at once, of a kind.
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
    each_alone: bool,
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
            each_alone: false,
            waiting: VecDeque::new(),
        }))
    }
}

impl<K: BundleKind> BundleQueue<K> {
    /// What goes out now, if not too much is under way.
    fn next(&mut self) -> Vec<BundledRequest<K>> {
        let is_full = self.in_flight >= IN_FLIGHT && !self.each_alone;
        if is_full || self.waiting.is_empty() {
            return Vec::new();
        }
        self.in_flight += 1;
        let most = if self.each_alone {
            1
        } else {
            self.waiting.len().min(TOGETHER)
        };
        self.waiting.drain(..most).collect()
    }
}

/// Changes what waits, and begins what may go out then. That runs on the session's runtime: a caller may not be polled for
/// long, and others would wait for its reply.
fn begin<K: BundleKind>(session: &Arc<Session>, change: impl FnOnce(&mut BundleQueue<K>)) {
    let next = {
        let mut queue = lock(&K::bundle(session.bundles()).0);
        change(&mut queue);
        queue.next()
    };
    if !next.is_empty() {
        let sent = BundleUnderWay {
            session: Arc::clone(session),
            is_answered: false,
            kind: PhantomData,
        };
        session.runtime().spawn(sent.send(next));
    }
}

/// One of those that may be under way.
struct BundleUnderWay<K: BundleKind> {
    session: Arc<Session>,
    is_answered: bool,
    kind: PhantomData<K>,
}

impl<K: BundleKind> Drop for BundleUnderWay<K> {
    fn drop(&mut self) {
        let leave = |queue: &mut BundleQueue<K>| queue.in_flight = queue.in_flight.saturating_sub(1);
        if self.is_answered {
            return begin(&self.session, leave);
        }
        // The session has ended, or the task was torn down: what waits is told that nothing is known.
        let mut queue = lock(&K::bundle(self.session.bundles()).0);
        leave(&mut queue);
        queue.waiting.clear();
    }
}

impl<K: BundleKind> BundleUnderWay<K> {
    /// Sends these, once. An error means that the session has ended, which their callers see.
    async fn send(mut self, mut requests: Vec<BundledRequest<K>>) -> Result<(), Lost> {
        let session = &self.session;
        session.connected().await?;
        // A request whose caller is gone is not sent.
        requests.retain(|request| !request.reply.is_closed());
        let paths: Vec<String> = requests.iter().map(|request| request.path.clone()).collect();
        let replies = K::together(session, &paths).await?;
        for (request, reply) in requests.into_iter().zip(replies) {
            let _ = request.reply.send(reply);
        }
        self.is_answered = true;
        Ok(())
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
        let (reply, told) = oneshot::channel();
        let request = BundledRequest {
            path: path.to_owned(),
            reply,
        };
        begin::<K>(self, |queue| queue.waiting.push_back(request));
        // It is dropped with the session, or with the task.
        Ok(self.while_alive(told).await?.unwrap_or(Reply::Unanswered(UNKNOWN)))
    }
}

/// Which of several requests is to blame for a broken connection is not known.
const UNKNOWN: Unanswered = Unanswered::Unknown { blamed: false };

fn unanswered<K: BundleKind>(session: &Session, requests: usize, why: Unanswered) -> Vec<Reply<K::Answer>> {
    let unanswered = match why {
        Unanswered::Busy => Unanswered::Busy,
        Unanswered::Unknown { blamed } => {
            lock(&K::bundle(session.bundles()).0).each_alone |= blamed;
            UNKNOWN
        }
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
            Reply::Unanswered(why) => Ok(unanswered::<Self>(session, paths.len(), why)),
            // A server before 3.6.
            Reply::Answer(_) | Reply::Refused(_) => {
                lock(&Self::bundle(session.bundles()).0).each_alone = true;
                each_alone::<Self>(session, paths).await
            }
        }
    }
}

fn listed(answer: zk::MultiReadResult) -> Reply<Vec<String>> {
    match answer {
        zk::MultiReadResult::Children { children } => Reply::Answer(children),
        zk::MultiReadResult::Error { err } => match classify(&err) {
            Some(why) => Reply::Unanswered(why),
            None => Reply::Refused(err),
        },
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
            Ok(Commit::Unanswered(why)) => Ok(unanswered::<Self>(session, paths.len(), why)),
            // Nothing was done, because one of them is gone or must not be deleted.
            Ok(Commit::Refused(..)) | Err(Interrupted::Failed(_)) => each_alone::<Self>(session, paths).await,
            Err(Interrupted::Lost(lost)) => Err(lost),
        }
    }
}
