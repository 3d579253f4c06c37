//! Rules: what to do to the nth request of a kind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Faults;
use crate::log::LoggedRequest;
use crate::session::SessionId;
use crate::wire::{ErrorCode, Op};

type Predicate = Arc<dyn Fn(&LoggedRequest) -> bool + Send + Sync>;

/// What a rule does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    DropBeforeApply,
    DropAfterApply,
    DelayReply(Duration),
    Throttle,
    Refuse(ErrorCode),
    BlackHoleBeforeApply,
    BlackHoleAfterApply,
}

/// Chooses requests; ends with what shall happen to them.
///
/// Applies to the first request that matches, unless [`nth`](Self::nth), [`times`](Self::times) or
/// [`always`](Self::always) says otherwise. A request meets at most one rule, the oldest that matches.
#[must_use = "a rule takes effect with its action, for example `drop_after_apply()`"]
pub struct RuleBuilder {
    faults: Faults,
    spec: Spec,
}

struct Spec {
    ops: Option<Vec<Op>>,
    session: Option<SessionId>,
    predicates: Vec<Predicate>,
    skip: usize,
    left: usize,
}

impl RuleBuilder {
    pub(super) fn new(faults: Faults, ops: Option<Vec<Op>>) -> Self {
        Self {
            faults,
            spec: Spec {
                ops,
                session: None,
                predicates: Vec::new(),
                skip: 0,
                left: 1,
            },
        }
    }

    /// Only requests that name exactly this path. A sequential create names its path without the number, a multi
    /// names the paths of all its operations.
    pub fn path(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.matching(move |request| request.paths.contains(&path))
    }

    /// Only requests that name a path which begins with `prefix`.
    pub fn path_prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        self.matching(move |request| request.paths.iter().any(|path| path.starts_with(&prefix)))
    }

    /// Only requests that name a path for which `matches` holds.
    pub fn path_matching(self, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.matching(move |request| request.paths.iter().any(|path| matches(path)))
    }

    /// Only requests for which `matches` holds. It is called inside the server: it must be quick and must not call the
    /// server.
    pub fn matching(mut self, matches: impl Fn(&LoggedRequest) -> bool + Send + Sync + 'static) -> Self {
        self.spec.predicates.push(Arc::new(matches));
        self
    }

    /// All but pings and handshakes.
    pub fn without_pings(self) -> Self {
        self.matching(|request| !matches!(request.op, Op::Ping | Op::Connect))
    }

    /// Only requests of this session.
    pub fn session(mut self, session: impl Into<SessionId>) -> Self {
        self.spec.session = Some(session.into());
        self
    }

    /// Only the `n`th match from now, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.spec.skip = n.saturating_sub(1);
        self
    }

    /// The first `n` matches, or `n` matches from the [`nth`](Self::nth) on.
    pub fn times(mut self, n: usize) -> Self {
        self.spec.left = n;
        self
    }

    /// Every match, or every one from the [`nth`](Self::nth) on.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Closes the connection instead of applying the request.
    pub fn drop_before_apply(self) -> Rule {
        self.install(Action::DropBeforeApply)
    }

    /// Applies the request and closes the connection instead of replying: applied, but the reply is lost.
    pub fn drop_after_apply(self) -> Rule {
        self.install(Action::DropAfterApply)
    }

    /// Applies the request at once and holds its reply back, with all that follows it on the connection.
    pub fn delay_reply(self, delay: Duration) -> Rule {
        self.install(Action::DelayReply(delay))
    }

    /// Answers that the server is busy (`THROTTLEDOP`) instead of applying the request. Pings and handshakes pass.
    pub fn throttle(self) -> Rule {
        self.without_pings().install(Action::Throttle)
    }

    /// Answers with an error instead of applying the request, as a server does that knows no such request. Pings and
    /// handshakes pass.
    pub fn refuse(self, error: ErrorCode) -> Rule {
        self.without_pings().install(Action::Refuse(error))
    }

    /// Swallows the request and all that follows on its connection, which stays open until the client gives up or the
    /// faults are [cleared](Faults::clear).
    pub fn black_hole(self) -> Rule {
        self.install(Action::BlackHoleBeforeApply)
    }

    /// Applies the request, then swallows its reply and all that follows on its connection, as
    /// [`black_hole`](Self::black_hole) does.
    pub fn black_hole_after_apply(self) -> Rule {
        self.install(Action::BlackHoleAfterApply)
    }

    fn install(self, action: Action) -> Rule {
        let (hits, counter) = watch::channel(0);
        let faults = self.faults;
        let id = faults.core().rules.install(InstalledRule {
            id: 0,
            spec: self.spec,
            action,
            hits,
        });
        Rule {
            faults,
            id,
            hits: counter,
        }
    }
}

impl fmt::Debug for RuleBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleBuilder")
            .field("ops", &self.spec.ops)
            .finish_non_exhaustive()
    }
}

/// A rule at work. Dropping it leaves the rule in force.
#[derive(Debug)]
pub struct Rule {
    faults: Faults,
    id: u64,
    hits: watch::Receiver<usize>,
}

impl Rule {
    /// How many requests it was applied to so far.
    pub fn hits(&self) -> usize {
        *self.hits.borrow()
    }

    /// Waits until it was applied to at least `n` requests. Ends early, with the count so far, when the rule is spent
    /// or removed or the server is gone.
    pub async fn wait_hits(&mut self, n: usize) -> usize {
        let _ = self.hits.wait_for(|hits| *hits >= n).await;
        self.hits()
    }

    /// Ends the rule.
    pub fn remove(self) {
        self.faults.core().rules.remove(self.id);
    }
}

/// All rules at work, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<InstalledRule>,
    last_id: u64,
}

struct InstalledRule {
    id: u64,
    spec: Spec,
    action: Action,
    hits: watch::Sender<usize>,
}

impl Rules {
    fn install(&mut self, mut rule: InstalledRule) -> u64 {
        self.last_id += 1;
        rule.id = self.last_id;
        if rule.spec.left > 0 {
            self.rules.push(rule);
        }
        self.last_id
    }

    fn remove(&mut self, id: u64) {
        self.rules.retain(|rule| rule.id != id);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// What to do to this request.
    pub(crate) fn apply(&mut self, request: &LoggedRequest) -> Option<Action> {
        let mut matched = None;
        for (index, rule) in self.rules.iter_mut().enumerate() {
            if !rule.spec.matches(request) {
                continue;
            }
            if rule.spec.skip > 0 {
                rule.spec.skip -= 1;
                continue;
            }
            matched = Some(index);
            break;
        }
        let rule = self.rules.get_mut(matched?)?;
        rule.spec.left = rule.spec.left.saturating_sub(1);
        rule.hits.send_modify(|hits| *hits += 1);
        let action = rule.action;
        self.rules.retain(|rule| rule.spec.left > 0);
        Some(action)
    }
}

impl Spec {
    fn matches(&self, request: &LoggedRequest) -> bool {
        self.ops.as_ref().is_none_or(|ops| ops.contains(&request.op))
            && self.session.is_none_or(|session| session == request.session)
            && self.predicates.iter().all(|matches| matches(request))
    }
}

impl fmt::Debug for InstalledRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstalledRule")
            .field("id", &self.id)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}
