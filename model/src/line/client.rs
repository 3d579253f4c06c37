//! A client: its session, its connection, and its way through the line.

/// Where a client is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Idle,
    /// The create is on its way to the leader.
    Creating,
    /// It is committed; the reply is on its way.
    Created(u8),
    /// The connection broke before the reply came.
    Unknown,
    /// A `sync` was sent; the server has to apply this zxid before it answers the list.
    Synced(u8),
    /// The own node is known; the line has to be listed.
    Looking,
    /// That one blocks; its watch has to be set.
    Blocked(u8),
    Waiting(u8),
    /// The list granted the place; the session has to be proven. Whether the list showed the own node.
    Proving(bool),
    Holding,
    /// The hold is lost, the work goes on until its guard is dropped.
    Lost,
    Done,
}

/// What is to be removed in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cleanup {
    /// A node whose name is known, by its number.
    Node(u8),
    /// Whatever was created with this guid.
    Guid(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) at_follower: bool,
    pub(super) connected: bool,
    pub(super) session: u8,
    /// The leader has expired the session.
    pub(super) expired: bool,
    /// The latest zxid that the client was shown: it is taken by no server that is behind.
    pub(super) seen: u8,
    pub(super) phase: Phase,
    pub(super) rounds: u8,
    pub(super) guid: u8,
    /// The number of the own node, once it is known.
    pub(super) own: u8,
    /// The session that the own node belongs to.
    pub(super) own_session: u8,
    /// The connection changed since the own node was last seen.
    pub(super) reconnected: bool,
    /// The work under the guard goes on.
    pub(super) works: bool,
    /// The ensemble or an operator removed the node of this hold.
    pub(super) excused: bool,
    /// A create whose future is gone, still on its way: guid and session.
    pub(super) stray: Option<(u8, u8)>,
    pub(super) cleanups: Vec<Cleanup>,
}

impl Client {
    pub(super) fn new(at_follower: bool, rounds: u8) -> Self {
        Self {
            at_follower,
            connected: true,
            session: 0,
            expired: false,
            seen: 0,
            phase: Phase::Idle,
            rounds,
            guid: 0,
            own: 0,
            own_session: 0,
            reconnected: false,
            works: false,
            excused: false,
            stray: None,
            cleanups: Vec::new(),
        }
    }

    /// Whether it stands in line, or is about to.
    pub(super) fn is_on_its_way(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Holding | Phase::Lost | Phase::Done)
    }

    pub(super) fn knows_own(&self) -> bool {
        matches!(
            self.phase,
            Phase::Looking | Phase::Blocked(_) | Phase::Waiting(_) | Phase::Proving(_)
        )
    }

    /// The session is over: a waiter begins again, in the next one.
    pub(super) fn lose_session(&mut self) {
        self.connected = false;
        self.session += 1;
        self.expired = false;
        self.seen = 0;
        self.stray = None;
        if self.is_on_its_way() {
            self.rejoin();
        } else if self.phase == Phase::Holding {
            self.phase = Phase::Lost;
        }
    }

    pub(super) fn rejoin(&mut self) {
        self.phase = Phase::Idle;
        self.own = 0;
        self.own_session = 0;
        self.reconnected = false;
    }

    /// One round is over.
    pub(super) fn finish_round(&mut self) {
        self.works = false;
        self.excused = false;
        self.rejoin();
        self.rounds -= 1;
        if self.rounds == 0 {
            self.phase = Phase::Done;
        }
    }

    pub(super) fn cleanup(&mut self, cleanup: Cleanup) {
        if !self.cleanups.contains(&cleanup) {
            self.cleanups.push(cleanup);
            self.cleanups.sort_unstable();
        }
    }
}
