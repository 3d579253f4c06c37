//! Faults that strike at a chosen request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Op, Request, Shared};
use crate::background;

/// Which request a [`Fault`] waits for.
#[derive(Debug, Clone)]
pub struct When {
    what: What,
    path_part: Option<String>,
    nth: usize,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Op(Op),
    Create,
    List,
    Heartbeat,
    Any,
}

impl When {
    /// A request with the operation `op`.
    pub fn request(op: Op) -> Self {
        Self::what(What::Op(op))
    }

    /// A create of any kind.
    pub fn create() -> Self {
        Self::what(What::Create)
    }

    /// A list of children of either kind.
    pub fn list() -> Self {
        Self::what(What::List)
    }

    /// A multi of nothing but checks.
    pub fn heartbeat() -> Self {
        Self::what(What::Heartbeat)
    }

    /// Any request but a ping.
    pub fn any() -> Self {
        Self::what(What::Any)
    }

    /// Only those with `part` in a path (relative to the chroot that the proxy knows; a multi has several).
    pub fn path(mut self, part: &str) -> Self {
        self.path_part = Some(part.to_owned());
        self
    }

    /// The `nth` of them, counted from 1 and from now. Default: the first.
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth.max(1);
        self
    }

    fn what(what: What) -> Self {
        Self {
            what,
            path_part: None,
            nth: 1,
        }
    }

    fn matches(&self, request: &Request) -> bool {
        let op = match self.what {
            What::Op(op) => request.op == op,
            What::Create => request.op.is_create(),
            What::List => request.op.is_list(),
            What::Heartbeat => request.is_heartbeat(),
            What::Any => true,
        };
        op && self
            .path_part
            .as_ref()
            .is_none_or(|part| request.paths.iter().any(|path| path.contains(part)))
    }
}

/// What a [`Fault`] does when its request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection {
    /// Closes the connection instead of forwarding the request: not applied, and the client cannot know.
    CutBefore,
    /// Forwards the request and closes the connection when its reply comes: applied, and the client cannot know.
    LoseReply,
    /// As `CutBefore`, but silently: from the request on, the proxy is a [black hole](super::Proxy::black_hole).
    SilenceBefore,
    /// As `LoseReply`, but silently: from the reply on, the proxy is a [black hole](super::Proxy::black_hole).
    SilenceReply,
}

/// A fault that is set and waits for its request.
#[derive(Debug)]
#[must_use = "wait until it has fired, else the test may not test it"]
pub struct Fault {
    pub(super) id: u64,
    pub(super) fired: watch::Receiver<bool>,
    pub(super) shared: Arc<Shared>,
}

impl Fault {
    /// Waits until the fault has struck. Panics with the requests seen so far if it did not within 30 seconds.
    pub async fn fired(&self) {
        let mut fired = self.fired.clone();
        let struck = background::run(async move {
            let waiting = fired.wait_for(|fired| *fired);
            matches!(tokio::time::timeout(Duration::from_secs(30), waiting).await, Ok(Ok(_)))
        });
        assert!(
            struck.await,
            "the fault {} never fired; the proxy saw {}",
            self.shared.describe(self.id),
            self.shared.counts()
        );
    }

    /// Whether the fault has struck.
    pub fn has_fired(&self) -> bool {
        *self.fired.borrow()
    }

    /// Takes the fault back, if it has not struck yet.
    pub fn disarm(self) {
        self.shared.disarm(self.id);
    }
}

/// The proxy's side of a [`Fault`].
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) id: u64,
    pub(super) when: When,
    pub(super) injection: Injection,
    fired: watch::Sender<bool>,
    seen: usize,
}

impl Armed {
    pub(super) fn new(id: u64, when: When, injection: Injection) -> (Self, watch::Receiver<bool>) {
        let (fired, receiver) = watch::channel(false);
        (
            Self {
                id,
                when,
                injection,
                fired,
                seen: 0,
            },
            receiver,
        )
    }

    /// Whether `request` is the one waited for.
    pub(super) fn is_due(&mut self, request: &Request) -> bool {
        if !self.when.matches(request) {
            return false;
        }
        self.seen += 1;
        self.seen == self.when.nth
    }

    pub(super) fn fire(&self) {
        self.fired.send_replace(true);
    }
}
