//! One contender's way from the tail of the line to its head.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, warn};

use super::line_state::{Company, LineState};
use super::marking::LineData;
use super::order::CreationOrder;
use super::places::Places;
use super::position::{Mode, Position};
use super::waking::{Woken, beside_proof};
use super::{Ahead, Enrolment, Line};
use crate::error::Error;
use crate::metrics;
use crate::session::{CleanupToken, Interrupted, LossReason, Lost, Session};
use crate::znode::{ChildName, Ephemeral, Hold, NewChild, NodeWatch, list, own_data, read, watch_existing_then};

/// A contender of ours that stands in the line. Dropping it withdraws it.
#[derive(Debug)]
pub(crate) struct Enrolled<'a> {
    pub(super) line: &'a Line,
    pub(super) node: Ephemeral,
    pub(super) mode: Mode,
    /// The data of the node, where it is not the coordinator's identity.
    data: Option<Bytes>,
    ahead: Option<Ahead>,
    /// The line as listed last, unless it has to be listed again.
    listed: Option<Arc<Places>>,
    /// The data of the line's directory, if that was read last.
    pub(super) directory: Option<LineData>,
    pub(super) state: Arc<LineState>,
    _company: Company,
}

/// What the head of the line is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be held, and believed in.
    Hold,
    /// To be given up in a transaction that checks it.
    Turnstile,
}

/// What one look at the line brought.
enum PlaceInLine {
    Granted,
    BlockedBy(String),
    /// The list did not show us though our node is there: it came from a server that lags.
    Stale,
}

impl<'a> Enrolled<'a> {
    /// Joins the line at its tail: one round trip, create and list back to back.
    pub(crate) async fn enrol(
        line: &'a Line,
        session: &Arc<Session>,
        enrolment: &Enrolment,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Self, Interrupted> {
        let state = line.state();
        let (company, others) = state.join();
        // Others of ours are on their way: one list serves all.
        let new = NewChild {
            is_listed: !others,
            ..new_child(line, session, enrolment, cleanup)
        };
        let (node, listed) = Ephemeral::create(session, new).await?;
        debug!(node = node.path(), "enrolled");
        Ok(Self::new(line, node, enrolment, listed, state, company))
    }

    /// Joins several lines in one transaction, so that all contenders that join several of them do so in one order.
    pub(super) async fn enrol_in_all(
        lines: &'a [Line],
        session: &Arc<Session>,
        enrolment: &Enrolment,
        cleanup: Option<&CleanupToken>,
    ) -> Result<Vec<Self>, Interrupted> {
        let new = |line| new_child(line, session, enrolment, cleanup);
        let all: Vec<_> = lines.iter().map(new).collect();
        let created = Ephemeral::create_all(session, &all).await?;
        let places = lines.iter().zip(created).map(|(line, (node, listed))| {
            let state = line.state();
            let (company, _) = state.join();
            Self::new(line, node, enrolment, listed, state, company)
        });
        Ok(places.collect())
    }

    fn new(
        line: &'a Line,
        node: Ephemeral,
        enrolment: &Enrolment,
        listed: Option<Vec<String>>,
        state: Arc<LineState>,
        company: Company,
    ) -> Self {
        Self {
            line,
            node,
            mode: enrolment.mode,
            data: enrolment.data.clone(),
            ahead: enrolment.ahead.clone(),
            listed: listed.map(|children| Arc::new(Places::new(children))),
            directory: None,
            state,
            _company: company,
        }
    }

    /// Waits until the place is granted.
    pub(crate) async fn granted(mut self) -> Result<Hold, Interrupted> {
        self.head_of_line(Purpose::Hold).await?;
        self.into_hold().await
    }

    /// Waits until no contender ahead conflicts; says whether one did.
    pub(super) async fn head_of_line(&mut self, purpose: Purpose) -> Result<bool, Interrupted> {
        let mut waited = false;
        let mut patience = Patience::new(self.node.session().long_wait());
        loop {
            let blocker = match self.look().await? {
                PlaceInLine::Granted => return Ok(waited),
                PlaceInLine::Stale => continue,
                PlaceInLine::BlockedBy(blocker) => blocker,
            };
            waited = true;
            self.node.watch();
            let (path, wake_up) = (self.line.path.child(&blocker), self.wake_up(purpose));
            let Some(mut watch) = watch_existing_then(self.node.session(), &path, wake_up).await? else {
                continue;
            };
            let woken = self.wait_behind(&blocker, &mut watch, &mut patience).await?;
            let session = Arc::clone(self.node.session());
            self.listed = Some(match woken.listed {
                Some(listed) => listed?,
                None if self.looks_for_mark(woken.told) && self.ask_mark(&blocker, woken.told, purpose).await? => {
                    return Ok(waited);
                }
                None => {
                    let list = self.state.list(&session, &self.line.path);
                    beside_proof(&session, self.node.end(), purpose, list).await?
                }
            });
        }
    }

    /// Waits until `watch` has told that the blocker is gone or has changed, and has brought what it asked for then, or our
    /// own place is lost.
    async fn wait_behind(
        &self,
        blocker: &str,
        watch: &mut NodeWatch<Woken>,
        patience: &mut Patience,
    ) -> Result<Woken, Interrupted> {
        let session = self.node.session();
        let _behind = self.state.wait_behind(blocker);
        let path = self.line.path.child(blocker);
        let _counted = session.count_waiter();
        debug!(node = self.node.path(), blocker, "waiting");
        if let Some(ahead) = &self.ahead {
            ahead.set(Some(path.clone()));
        }
        if !self.line.warned_of_own.load(Ordering::Relaxed) && session.is_held_by_us(&path) {
            self.line.warned_of_own.store(true, Ordering::Relaxed);
            warn!(
                node = self.node.path(),
                holder = blocker,
                "this process waits behind a place of its own; a lock is not reentrant: release the guard first, and drop the \
                 lost guard before you acquire again"
            );
        }
        self.tell_of_ghost(&path).await?;
        loop {
            tokio::select! {
                // The watch tells at the end of a session, too.
                biased;
                reason = self.node.end().reached() => {
                    self.count_rejoin(reason);
                    return Err(Lost::because(reason).into());
                }
                woken = watch.told() => return Ok(woken.unwrap_or(Woken::UNKNOWN)),
                _ = session.sleep(patience.left()) => self.warn_of_long_wait(&path, patience).await?,
            }
        }
    }

    /// The caller joins again, unless all is closed.
    fn count_rejoin(&self, reason: LossReason) {
        if !matches!(reason, LossReason::Closed | LossReason::Released) {
            let user = self.line.zk.metrics_name();
            metrics::count(metrics::REJOINS, Some(user), &[("recipe", self.line.recipe())], 1);
        }
    }

    /// Whether our node says the same of us, a campaign's value for example.
    pub(super) fn is_alike(&self, data: &[u8]) -> bool {
        self.data.as_deref().is_some_and(|own| !own.is_empty() && own == data)
    }

    /// Says in the log for whom we have been waiting so long, if that one is still there.
    async fn warn_of_long_wait(&self, blocker: &str, patience: &mut Patience) -> Result<(), Interrupted> {
        let read = read(self.node.session(), blocker).await;
        patience.again();
        let holder = match read {
            Ok(None) => return Ok(()),
            Ok(holder) => holder,
            // It may deny us to read it.
            Err(Interrupted::Failed(_)) => None,
            Err(lost) => return Err(lost),
        };
        let user = self.line.zk.metrics_name();
        metrics::count(metrics::SLOW_WAITS, Some(user), &[("recipe", self.line.recipe())], 1);
        let (identity, session) = holder.map_or_else(Default::default, |(data, stat)| {
            let identity = String::from_utf8_lossy(own_data(&data)).into_owned();
            (identity, stat.ephemeral_owner)
        });
        warn!(
            node = self.node.path(),
            blocker,
            identity,
            session = format_args!("{session:#x}"),
            waited = ?patience.began.elapsed(),
            "waiting for long"
        );
        Ok(())
    }

    /// Takes the place if it is granted right away, else leaves the line.
    pub(crate) async fn grant_or_withdraw(mut self) -> Result<Option<Hold>, Interrupted> {
        if self.is_granted().await? {
            return self.into_hold().await.map(Some);
        }
        self.node.remove().await?;
        Ok(None)
    }

    /// Whether no contender ahead conflicts.
    pub(super) async fn is_granted(&mut self) -> Result<bool, Interrupted> {
        loop {
            match self.look().await? {
                PlaceInLine::Granted => return Ok(true),
                PlaceInLine::BlockedBy(_) => return Ok(false),
                PlaceInLine::Stale => {}
            }
        }
    }

    /// Looks where we stand, in a list that is not older than our node.
    async fn look(&mut self) -> Result<PlaceInLine, Interrupted> {
        let listed = match self.listed.take() {
            Some(listed) => listed,
            None => self.state.list(self.node.session(), &self.line.path).await?,
        };
        self.state.saw(listed.children.len());
        self.state.warn_of_size(&self.line.path, &listed);
        let Some(own) = self.node.child_name(self.line.names.tag(self.mode)) else {
            let reason = "the server gave our node a name that it should not have";
            return Err(Error::Layout {
                path: self.node.path().to_owned(),
                reason,
            }
            .into());
        };
        self.check_limit(&own, &listed)?;
        let names = self.line.contenders_in(&listed.children).map(|(name, _)| name);
        let creations = CreationOrder::ask(self.node.session(), &self.line.path, &own, names).await?;
        let line = self.line.contenders_in(&listed.children);
        let position = listed.position(&own, self.mode, &self.line.names, line, &creations);
        Ok(match position {
            Position::Granted => PlaceInLine::Granted,
            Position::BlockedBy(blocker) => PlaceInLine::BlockedBy(blocker.to_owned()),
            Position::Missing => {
                self.node.recheck().await?;
                // Through our own session, whose server is up to date now.
                let children = list(self.node.session(), &self.line.path).await?;
                self.listed = Some(Arc::new(Places::new(children)));
                PlaceInLine::Stale
            }
        })
    }

    /// Refuses the place if so many are ahead that the line takes no more. Later no contender joins ahead.
    fn check_limit(&self, own: &ChildName<'_>, listed: &Places) -> Result<(), Error> {
        let limit = self.node.session().line_limit();
        if listed.children.len() <= limit {
            return Ok(());
        }
        let order = CreationOrder::default();
        let is_ahead = |other: &ChildName<'_>| order.distance(own, other).is_some_and(|distance| distance < (0, 0));
        let line = self.line.contenders_in(&listed.children);
        let contenders = line.filter(|(other, _)| is_ahead(other)).count();
        if contenders < limit {
            return Ok(());
        }
        Err(Error::LineFull {
            path: self.line.path.as_str().to_owned(),
            contenders,
            limit,
        })
    }

    async fn into_hold(self) -> Result<Hold, Interrupted> {
        let zk = self.line.zk.clone();
        let hold = Hold::new(self.proven().await?, zk);
        debug!(node = hold.path(), token = %hold.token(), "granted");
        Ok(hold)
    }

    /// The node of a granted place, once it is proven: the list that granted it may come from a server that is cut
    /// off from the ensemble, or from another session than that of our node.
    pub(super) async fn proven(mut self) -> Result<Ephemeral, Interrupted> {
        let session = Arc::clone(self.node.session());
        self.node.recheck_after_reconnect().await?;
        session.prove(self.node.end()).await?;
        self.node.watch_soon();
        match self.node.end().reason() {
            Some(reason) => Err(Lost { reason }.into()),
            None => {
                self.mark_head();
                Ok(self.node)
            }
        }
    }

    /// Watches our node from now on, and not only once we wait.
    pub(super) fn watch(&mut self) {
        self.node.watch();
    }

    /// The path of the node.
    pub(super) fn path(&self) -> &str {
        self.node.path()
    }

    /// The node, to be removed.
    pub(super) fn into_node(self) -> Ephemeral {
        self.node
    }
}

/// How long a wait may go on before the log tells of it.
#[derive(Debug)]
struct Patience {
    began: Instant,
    long: Duration,
    next: Duration,
}

impl Patience {
    fn new(long: Duration) -> Self {
        let began = Instant::now();
        Self {
            began,
            long,
            next: long,
        }
    }

    fn left(&self) -> Duration {
        self.next.saturating_sub(self.began.elapsed())
    }

    /// The next time after as long again, and never in a storm.
    fn again(&mut self) {
        self.next = self.began.elapsed() + self.long.max(Duration::from_secs(1));
    }
}

fn new_child<'a>(
    line: &'a Line,
    session: &'a Session,
    enrolment: &'a Enrolment,
    cleanup: Option<&'a CleanupToken>,
) -> NewChild<'a> {
    NewChild {
        parent: &line.path,
        tag: line.names.tag(enrolment.mode),
        data: enrolment.data.as_deref().unwrap_or(session.identity()),
        parents: line.names.parents,
        cleanup,
        is_listed: true,
    }
}
