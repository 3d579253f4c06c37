//! Faults that last: silence, late events, lagging reads.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Connection, Core, Replica};
use crate::faults::Scope;
use crate::tree::{Tree, Txn, TxnHeader};
use crate::watch::{ConnectionId, Event, WatchModes, Watches};

/// The lasting faults in force.
#[derive(Debug, Default)]
pub(super) struct Switches {
    last_id: u64,
    black_holes: BTreeMap<u64, Scope>,
    event_delays: BTreeMap<u64, (Scope, Duration)>,
    lags: BTreeMap<u64, Lag>,
}

/// A follower that is late: where it started and all that happened since.
#[derive(Debug)]
struct Lag {
    scope: Scope,
    behind: usize,
    base: Tree,
    log: Vec<(TxnHeader, Txn)>,
}

/// What one connection sees of a late follower.
#[derive(Debug)]
pub(crate) struct View {
    pub(super) replica: Replica,
    lag: u64,
    /// How much of the follower's log is applied.
    applied: usize,
}

impl View {
    pub(crate) fn watch_count(&self) -> usize {
        self.replica.watches.len()
    }

    pub(crate) fn watched_by(&self, connection: ConnectionId) -> impl Iterator<Item = String> {
        self.replica.watches.paths_of(connection).into_iter()
    }

    fn advance(&mut self, lag: &Lag, to: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while self.applied < to {
            let Some((header, txn)) = lag.log.get(self.applied) else {
                break;
            };
            events.extend(self.replica.apply(*header, txn).1);
            self.applied += 1;
        }
        events
    }
}

impl Switches {
    /// Whether a connection of this session (none: before its handshake) is in a black hole.
    pub(super) fn swallows(&self, session: Option<i64>) -> bool {
        self.black_holes.values().any(|scope| scope.covers(session))
    }

    pub(super) fn event_delay(&self, session: Option<i64>) -> Option<Duration> {
        self.event_delays
            .values()
            .filter(|(scope, _)| scope.covers(session))
            .map(|(_, delay)| *delay)
            .max()
    }

    /// The lagging view of a session that connects, if it shall have one: no older than what the client has seen.
    pub(super) fn view(&self, session: i64, seen_zxid: i64, modes: WatchModes) -> Option<View> {
        let (id, lag) = self.lags.iter().find(|(_, lag)| lag.scope.covers(Some(session)))?;
        let replica = Replica {
            tree: lag.base.clone(),
            watches: Watches::new(modes),
        };
        let mut view = View {
            replica,
            lag: *id,
            applied: 0,
        };
        let seen = lag.log.partition_point(|(header, _)| header.zxid <= seen_zxid);
        view.advance(lag, seen.max(lag.log.len().saturating_sub(lag.behind)));
        Some(view)
    }

    /// Passes a transaction on to the late followers.
    pub(super) fn follow(
        &mut self,
        connections: &mut BTreeMap<ConnectionId, Connection>,
        header: TxnHeader,
        txn: Txn,
        author: Option<ConnectionId>,
    ) -> Vec<Event> {
        if self.lags.is_empty() {
            return Vec::new();
        }
        for lag in self.lags.values_mut() {
            lag.log.push((header, txn.clone()));
        }
        let mut events = Vec::new();
        for (id, connection) in connections {
            let Some(view) = connection.view.as_mut() else { continue };
            let Some(lag) = self.lags.get(&view.lag) else { continue };
            let behind = if author == Some(*id) { 0 } else { lag.behind };
            events.extend(view.advance(lag, lag.log.len().saturating_sub(behind)));
        }
        events
    }

    /// Lets a connection see everything there is.
    pub(super) fn catch_up(
        &mut self,
        connections: &mut BTreeMap<ConnectionId, Connection>,
        id: ConnectionId,
    ) -> Vec<Event> {
        let view = connections.get_mut(&id).and_then(|connection| connection.view.as_mut());
        let Some(view) = view else { return Vec::new() };
        self.lags
            .get(&view.lag)
            .map(|lag| view.advance(lag, lag.log.len()))
            .unwrap_or_default()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Core {
    pub(crate) fn is_deaf(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.deaf)
    }

    pub(crate) fn start_black_hole(&mut self, scope: Scope) -> u64 {
        let id = self.switches.next_id();
        self.switches.black_holes.insert(id, scope);
        for connection in self.connections.values_mut() {
            connection.deaf |= scope.covers(connection.session);
        }
        id
    }

    pub(crate) fn start_event_delay(&mut self, scope: Scope, delay: Duration) -> u64 {
        let id = self.switches.next_id();
        self.switches.event_delays.insert(id, (scope, delay));
        id
    }

    pub(crate) fn start_lag(&mut self, scope: Scope, behind: usize) -> u64 {
        let id = self.switches.next_id();
        let base = self.main.tree.clone();
        for (connection_id, connection) in &mut self.connections {
            if connection.view.is_some() || connection.session.is_none() || !scope.covers(connection.session) {
                continue;
            }
            let mut watches = Watches::new(self.settings.watch_modes);
            self.main.watches.hand_over(*connection_id, &mut watches);
            let replica = Replica {
                tree: base.clone(),
                watches,
            };
            connection.view = Some(View {
                replica,
                lag: id,
                applied: 0,
            });
        }
        self.switches.lags.insert(
            id,
            Lag {
                scope,
                behind,
                base,
                log: Vec::new(),
            },
        );
        id
    }

    pub(crate) fn stop_switch(&mut self, id: u64) {
        self.switches.event_delays.remove(&id);
        if let Some(scope) = self.switches.black_holes.remove(&id) {
            self.close_healed(scope);
        }
        let viewers: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.lags_by(id))
            .map(|(id, _)| *id)
            .collect();
        for viewer in viewers {
            let events = self.switches.catch_up(&mut self.connections, viewer);
            self.notify(events);
            if let Some(mut view) = self
                .connections
                .get_mut(&viewer)
                .and_then(|connection| connection.view.take())
            {
                view.replica.watches.hand_over(viewer, &mut self.main.watches);
            }
        }
        self.switches.lags.remove(&id);
    }

    pub(crate) fn stop_all_switches(&mut self) {
        let switches = &self.switches;
        let ids = switches
            .black_holes
            .keys()
            .chain(switches.event_delays.keys())
            .chain(switches.lags.keys());
        for id in ids.copied().collect::<Vec<_>>() {
            self.stop_switch(id);
        }
        // Those that a rule swallowed, too.
        self.close_healed(Scope::All);
    }

    /// Closes connections; their sessions live on.
    pub(crate) fn cut(&mut self, scope: Scope) -> usize {
        let ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| scope.covers(connection.session) && !connection.closing)
            .map(|(id, _)| *id)
            .collect();
        self.close_all(&ids);
        ids.len()
    }

    /// What was swallowed is lost: a connection that was in a black hole cannot go on.
    fn close_healed(&mut self, scope: Scope) {
        let healed: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.deaf && scope.covers(connection.session))
            .filter(|(_, connection)| !self.switches.swallows(connection.session))
            .map(|(id, _)| *id)
            .collect();
        self.close_all(&healed);
    }

    fn close_all(&mut self, ids: &[ConnectionId]) {
        for id in ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.deaf = false;
            }
            self.close(*id);
        }
    }
}

impl Connection {
    fn lags_by(&self, lag: u64) -> bool {
        self.view.as_ref().is_some_and(|view| view.lag == lag)
    }
}
