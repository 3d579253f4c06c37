//! The fault script: trouble on demand.

mod rule;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use rule::{Action, Rules};
pub use rule::{Rule, RuleBuilder};

use crate::core::{Core, CoreGuard};
use crate::session::SessionId;
use crate::thread::Shared;
use crate::wire::Op;

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every connection, those to come included.
    All,
    /// The connections of one session.
    Session(SessionId),
}

impl<T: Into<SessionId>> From<T> for Scope {
    fn from(session: T) -> Self {
        Self::Session(session.into())
    }
}

impl Scope {
    pub(crate) fn covers(self, session: Option<i64>) -> bool {
        match self {
            Self::All => true,
            Self::Session(SessionId(id)) => session == Some(id),
        }
    }
}

/// Makes trouble: see the methods. A cheap handle that any thread may use; all effects are immediate.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_client::{Acls, Client, CreateMode};
/// use zookeeper_embedded::{Op, Server};
///
/// let server = Server::start().await?;
/// let client = Client::connect(&server.connect_string()).await?;
///
/// // The next create is applied, but its reply is lost.
/// let lost = server.faults().on(Op::CREATES).path("/a").drop_after_apply();
///
/// let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
/// assert!(client.create("/a", b"", &options).await.is_err());
/// assert_eq!(lost.hits(), 1);
/// assert!(client.check_stat("/a").await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Begins a rule for requests of this kind, or of these kinds (`Op::CREATES`).
    pub fn on(&self, ops: impl IntoIterator<Item = Op>) -> RuleBuilder {
        RuleBuilder::new(self.clone(), Some(ops.into_iter().collect()))
    }

    /// Begins a rule for requests of any kind, pings and handshakes included.
    pub fn on_any(&self) -> RuleBuilder {
        RuleBuilder::new(self.clone(), None)
    }

    /// Expires a session now: its nodes go in one transaction, its connection is closed. False if it does not live.
    pub fn expire_session(&self, session: impl Into<SessionId>) -> bool {
        self.core().end_session(session.into().0)
    }

    /// Closes connections now and returns how many there were. Their sessions live on.
    pub fn cut(&self, scope: impl Into<Scope>) -> usize {
        self.core().cut(scope.into())
    }

    /// Swallows all that arrives and all that would be sent, without closing any connection: silence.
    ///
    /// When it is switched off, connections that lived through it are closed; new ones work.
    pub fn black_hole(&self, scope: impl Into<Scope>) -> Switch {
        let id = self.core().start_black_hole(scope.into());
        self.switch(id)
    }

    /// Holds watch events back for this long, and (order being kept) what follows them on the connection.
    pub fn delay_watch_events(&self, scope: impl Into<Scope>, delay: Duration) -> Switch {
        let id = self.core().start_event_delay(scope.into(), delay);
        self.switch(id)
    }

    /// Answers reads from a state that stays `behind` transactions back, as a slow follower does.
    ///
    /// Counts from now: transactions before this call are seen. Watches follow the lagging state. As with a real
    /// follower, a client never reads a state older than what it has seen: `sync` catches up with everything, the
    /// client's own writes catch up with themselves, and a reconnect starts no earlier than the last zxid the client
    /// knows. After that it may fall back behind again. A failed write and the start and end of a session are
    /// transactions, too.
    pub fn lag_reads(&self, scope: impl Into<Scope>, behind: usize) -> Switch {
        let id = self.core().start_lag(scope.into(), behind);
        self.switch(id)
    }

    /// While on, a client that comes back to its session gets a new one, and no word about it, as ClickHouse Keeper
    /// does. The old session lives on until it expires.
    pub fn adopt_new_sessions(&self, on: bool) {
        self.core().adopt_new_sessions = on;
    }

    /// While on, the state of containers that are made shows an owner, the smallest number there is, as ClickHouse Keeper
    /// shows it.
    pub fn show_container_owners(&self, on: bool) {
        self.core().main.tree.shows_container_owners = on;
    }

    /// Stops everything as SIGSTOP would: nothing is read, written or expired; connections are accepted by the system
    /// and find no answer.
    pub fn freeze(&self) {
        self.core().freeze();
    }

    /// Ends [`freeze`](Self::freeze). Sessions that were silent for too long expire at once: the clock went on.
    pub fn thaw(&self) {
        self.core().thaw();
        self.shared.thawed();
    }

    /// Sets the clock that stamps transactions ahead by so many milliseconds, or back, as that of a new leader may be.
    /// Sessions are measured by another clock.
    pub fn shift_clock(&self, millis: i64) {
        self.core().clock_shift = millis;
    }

    /// Makes `next` the number of the next sequential child of `parent`. False if there is no such node.
    ///
    /// Also changes the `cversion` that clients see, which counts from the same number.
    pub fn set_sequence(&self, parent: &str, next: i32) -> bool {
        self.core().set_sequence(parent, next)
    }

    /// Removes empty containers and outlived nodes now instead of at the next check.
    pub fn reap_now(&self) {
        self.core().reap();
    }

    /// Refuses new connections until [`resume_listening`](Self::resume_listening). Combined with
    /// [`cut`](Self::cut) it looks like a server that is down and keeps its state.
    pub async fn stop_listening(&self) {
        let _ = self.shared.listen(false).await;
    }

    /// Accepts connections again, on the same address.
    ///
    /// # Errors
    /// When the address cannot be bound again, for instance because another program took the port.
    pub async fn resume_listening(&self) -> io::Result<()> {
        self.shared.listen(true).await
    }

    /// Ends every fault: rules, switches, the adoption of new sessions, a shifted clock and a freeze.
    pub fn clear(&self) {
        let mut core = self.core();
        core.rules.clear();
        core.stop_all_switches();
        core.adopt_new_sessions = false;
        core.clock_shift = 0;
        core.main.tree.shows_container_owners = false;
        drop(core);
        self.thaw();
    }

    pub(crate) fn core(&self) -> CoreGuard<'_, Core> {
        self.shared.core()
    }

    fn switch(&self, id: u64) -> Switch {
        Switch {
            faults: self.clone(),
            id,
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

/// A fault that lasts until it is switched off. Dropping the switch leaves it on.
#[derive(Debug)]
pub struct Switch {
    faults: Faults,
    id: u64,
}

impl Switch {
    /// Ends the fault.
    pub fn off(self) {
        self.faults.core().stop_switch(self.id);
    }
}
