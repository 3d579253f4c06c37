//! [`LineState`]: what the contenders of one coordinator in one line share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use tracing::warn;

use super::head_mark::{LONG_LINE, is_worth_a_look};
use super::places::Places;
use crate::session::{Interrupted, Session, lock};
use crate::znode::{NodePath, list, list_with_others};

/// What the contenders of one coordinator in one line share. It lives while one of them is on its way to the head.
#[derive(Debug, Default)]
pub(super) struct LineState {
    lists: Mutex<SharedLists>,
    /// How many contenders of ours are on their way to the head.
    company: AtomicUsize,
    /// How many contenders there were when one of ours looked last.
    len: AtomicUsize,
    /// The node of ours that came to the head last, alone.
    headed: Mutex<Option<String>>,
    /// How many contenders of ours wait behind a node.
    behind: Mutex<HashMap<String, usize>>,
    /// Hand-offs in a row without a mark.
    misses: AtomicU32,
    warned_of_size: AtomicBool,
    /// The directory has data of others, or its ACL denies us to write.
    takes_no_mark: AtomicBool,
}

/// What a client in Java takes as an answer: `jute.maxbuffer`.
const JAVA_LIMIT: usize = 1_048_575;

/// From so many bytes on the log tells: 13,000 names of 55 bytes.
const LARGE_LIST: usize = 13_000 * 59;

/// So few names never take as many bytes.
const WORTH_A_COUNT: usize = 3_000;

/// A list that is on its way, or the last one. None if its request failed.
type SharedList = Shared<BoxFuture<'static, Option<Arc<Places>>>>;

/// One list is in flight, and at most one more waits to be sent. Who waits for it owns it: one that nobody waits for any
/// more would keep its session.
#[derive(Debug, Default)]
struct SharedLists {
    sent: Option<WeakShared<BoxFuture<'static, Option<Arc<Places>>>>>,
    next: Option<WeakShared<BoxFuture<'static, Option<Arc<Places>>>>>,
}

impl SharedLists {
    /// A list that is sent after this call, which serves all contenders that ask before it is sent.
    fn ask(&mut self, session: &Arc<Session>, path: &NodePath, is_long: bool) -> SharedList {
        let in_flight = |list: SharedList| Some(list).filter(|list| list.peek().is_none());
        let mut sent = self.sent.as_ref().and_then(WeakShared::upgrade).and_then(in_flight);
        if sent.is_none() {
            // Maybe it is sent already: a contender that asks from now on waits for another one.
            self.sent = self.next.take();
            sent = self.sent.as_ref().and_then(WeakShared::upgrade);
        }
        if let Some(next) = self.next.as_ref().and_then(WeakShared::upgrade) {
            return next;
        }
        let (session, path) = (Arc::clone(session), path.clone());
        let begin = async move {
            let names = list_line(&session, &path, is_long).await;
            names.ok().map(|names| Arc::new(Places::new(names)))
        };
        match sent {
            None => {
                let list = begin.boxed().shared();
                self.sent = list.downgrade();
                list
            }
            Some(sent) => {
                let behind = async move {
                    sent.await;
                    begin.await
                };
                let list = behind.boxed().shared();
                self.next = list.downgrade();
                list
            }
        }
    }
}

/// A list that is known to be long travels alone, and is decoded by its caller.
async fn list_line(session: &Arc<Session>, path: &NodePath, is_long: bool) -> Result<Vec<String>, Interrupted> {
    match is_long {
        true => list(session, path).await,
        false => list_with_others(session, path).await,
    }
}

impl LineState {
    /// A list that is sent after this call, maybe by another contender of ours, and through another session. It is
    /// worth something only to a contender whose own node it shows.
    pub(super) async fn list(&self, session: &Arc<Session>, path: &NodePath) -> Result<Arc<Places>, Interrupted> {
        let shared = lock(&self.lists).ask(session, path, self.is_long());
        match session.while_alive(shared).await? {
            Some(places) => Ok(places),
            // Its session ended, or it was refused: if that goes for us as well, our own request tells.
            None => Ok(Arc::new(Places::new(list_line(session, path, self.is_long()).await?))),
        }
    }

    /// Joins the contenders that are on their way to the head; says whether there were others.
    pub(super) fn join(self: &Arc<Self>) -> (Company, bool) {
        let others = self.company.fetch_add(1, Ordering::Relaxed) > 0;
        (Company(Arc::clone(self)), others)
    }

    /// Waits behind the node of that name.
    pub(super) fn wait_behind(self: &Arc<Self>, blocker: &str) -> Behind {
        *lock(&self.behind).entry(blocker.to_owned()).or_default() += 1;
        Behind {
            state: Arc::clone(self),
            blocker: blocker.to_owned(),
        }
    }

    /// The node of that name came to the head, alone. Says whether others have to be told: if one of ours waits right
    /// behind it, that one knows it from here.
    pub(super) fn came_to_head(&self, name: &str) -> bool {
        *lock(&self.headed) = Some(name.to_owned());
        !lock(&self.behind).contains_key(name)
    }

    /// Whether a node of ours of that name was the last to come to the head.
    pub(super) fn was_head(&self, name: &str) -> bool {
        lock(&self.headed).as_deref() == Some(name)
    }

    /// So many contenders were seen.
    pub(super) fn saw(&self, contenders: usize) {
        self.len.store(contenders, Ordering::Relaxed);
    }

    /// Says once in the log that the directory comes near the size at which clients in Java fail to list it.
    pub(super) fn warn_of_size(&self, path: &NodePath, places: &Places) {
        let contenders = places.children.len();
        if contenders < WORTH_A_COUNT || places.bytes() < LARGE_LIST {
            return;
        }
        if !self.warned_of_size.swap(true, Ordering::Relaxed) {
            warn!(
                %path,
                contenders,
                bytes = places.bytes(),
                limit = JAVA_LIMIT,
                "the line comes near the size at which clients in Java fail to list it; spread the contenders over several \
                 paths, or limit them with ConnectOptions::line_limit"
            );
        }
    }

    /// Whether the line was long when one of ours looked last.
    pub(super) fn is_long(&self) -> bool {
        self.len.load(Ordering::Relaxed) >= LONG_LINE
    }

    pub(super) fn is_worth_a_look(&self) -> bool {
        is_worth_a_look(self.misses.load(Ordering::Relaxed))
    }

    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn found(&self) {
        self.misses.store(0, Ordering::Relaxed);
    }

    pub(super) fn takes_marks(&self) -> bool {
        !self.takes_no_mark.load(Ordering::Relaxed)
    }

    pub(super) fn take_no_mark(&self) {
        self.takes_no_mark.store(true, Ordering::Relaxed);
    }
}

/// One contender of ours on its way to the head.
#[derive(Debug)]
pub(super) struct Company(Arc<LineState>);

impl Drop for Company {
    fn drop(&mut self) {
        self.0.company.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One contender of ours that waits behind a node.
#[derive(Debug)]
pub(super) struct Behind {
    state: Arc<LineState>,
    blocker: String,
}

impl Drop for Behind {
    fn drop(&mut self) {
        let mut behind = lock(&self.state.behind);
        if let Some(count) = behind.get_mut(&self.blocker) {
            *count -= 1;
            if *count == 0 {
                behind.remove(&self.blocker);
            }
        }
    }
}
