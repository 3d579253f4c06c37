//! The server without its sockets: one value behind one lock, so that requests and transactions have one order.

mod commit;
mod connection;
mod handshake;
mod read;
mod switches;
mod time;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use commit::Replica;
pub(crate) use connection::Connection;
use switches::Switches;
pub(crate) use switches::View;

use crate::acl;
use crate::faults::{Action, Rules};
use crate::log::{Log, LoggedRequest};
use crate::outbox::Outbox;
use crate::session::{SessionId, Sessions};
use crate::tree::Tree;
use crate::watch::{ConnectionId, WatchModes, Watches};
use crate::wire::{ErrorCode, Op, Request, RequestHeader, response};

/// Access to the core.
pub(crate) type CoreGuard<'a, T> = std::sync::MutexGuard<'a, T>;

/// What a server is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) tick: Duration,
    pub(crate) min_session_timeout: i32,
    pub(crate) max_session_timeout: i32,
    pub(crate) watch_modes: WatchModes,
    pub(crate) request_limit: usize,
}

/// What the connection does after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Goes on reading.
    Continue,
    /// Reads no more; the outbox is on its way to being closed.
    Stop,
    /// Hands the same frame in again after the thaw.
    Frozen,
}

/// All state of the server.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) port: u16,
    started: Instant,
    pub(crate) main: Replica,
    pub(crate) sessions: Sessions,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    /// The connection that each session is served on.
    attached: HashMap<i64, ConnectionId>,
    last_connection: ConnectionId,
    pub(crate) rules: Rules,
    switches: Switches,
    pub(crate) adopt_new_sessions: bool,
    frozen: bool,
    /// Down, until it is restarted: no session ends meanwhile.
    stopped: bool,
    /// So many milliseconds is the clock ahead that stamps transactions.
    pub(crate) clock_shift: i64,
    pub(crate) log: Log,
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
}

/// The answer to one request.
pub(super) enum Answer {
    Reply(Bytes),
    /// The last reply of the connection.
    Last(Bytes),
}

impl Core {
    pub(crate) fn new(settings: Settings, port: u16, seed: i64) -> Self {
        let tick = i64::try_from(settings.tick.as_millis()).unwrap_or(i64::MAX);
        Self {
            settings,
            port,
            started: Instant::now(),
            main: Replica {
                tree: Tree::new(),
                watches: Watches::new(settings.watch_modes),
            },
            sessions: Sessions::new(tick, seed),
            connections: BTreeMap::new(),
            attached: HashMap::new(),
            last_connection: 0,
            rules: Rules::default(),
            switches: Switches::default(),
            adopt_new_sessions: false,
            frozen: false,
            stopped: false,
            clock_shift: 0,
            log: Log::default(),
            packets_received: 0,
            packets_sent: 0,
        }
    }

    /// A connection was accepted.
    pub(crate) fn open(&mut self, peer: String, ip: &str) -> (ConnectionId, Outbox) {
        self.last_connection += 1;
        let mut connection = Connection::new(peer, ip);
        connection.deaf = self.switches.swallows(None);
        let outbox = connection.outbox.clone();
        if self.stopped {
            // Accepted just before.
            connection.closing = true;
            outbox.close();
        }
        self.connections.insert(self.last_connection, connection);
        (self.last_connection, outbox)
    }

    /// A connection is gone.
    pub(crate) fn closed(&mut self, id: ConnectionId) {
        self.main.watches.forget(id);
        self.detach(id);
        self.connections.remove(&id);
    }

    /// A frame arrived.
    pub(crate) fn receive(&mut self, id: ConnectionId, frame: &[u8]) -> Step {
        if self.frozen {
            return Step::Frozen;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return Step::Stop;
        };
        if connection.deaf {
            return Step::Continue;
        }
        if connection.closing {
            return Step::Stop;
        }
        connection.received += 1;
        self.packets_received += 1;
        match connection.session {
            None => self.handshake(id, frame),
            Some(session) => self.request(id, session, frame),
        }
    }

    fn request(&mut self, id: ConnectionId, session: i64, frame: &[u8]) -> Step {
        let Ok((header, body)) = RequestHeader::split(frame) else {
            self.close(id);
            return Step::Stop;
        };
        let request = Request::read(header.op, body);
        let paths = request
            .as_ref()
            .map(|request| request.paths().into_iter().map(str::to_owned).collect());
        let logged = LoggedRequest {
            session: SessionId(session),
            op: header.op,
            paths: paths.unwrap_or_default(),
        };
        let action = self.rules.apply(&logged);
        self.log.push(logged);
        if let Some(step) = self.act_before(id, action) {
            return step;
        }
        let now = self.now();
        self.sessions.touch(session, now);
        let answer = match request {
            Ok(request) => match action {
                Some(Action::Throttle) => Answer::Reply(self.refused(id, header, ErrorCode::Throttled)),
                Some(Action::Refuse(error)) => Answer::Reply(self.refused(id, header, error)),
                _ => self.execute(id, session, header.xid, request),
            },
            Err(_) => Answer::Reply(self.marshalling_error(id, header)),
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.last_op = Some(header.op);
            connection.last_xid = header.xid;
        }
        self.act_after(id, action, answer)
    }

    /// What a rule does instead of applying the request.
    fn act_before(&mut self, id: ConnectionId, action: Option<Action>) -> Option<Step> {
        let connection = self.connections.get_mut(&id)?;
        match action {
            Some(Action::DropBeforeApply) => {
                self.close(id);
                return Some(Step::Stop);
            }
            Some(Action::BlackHoleBeforeApply) => {
                connection.deaf = true;
                return Some(Step::Continue);
            }
            // The events of the request's own transaction are as lost as its reply.
            Some(Action::DropAfterApply | Action::BlackHoleAfterApply) => connection.mute = true,
            Some(Action::DelayReply(_) | Action::Throttle | Action::Refuse(_)) | None => {}
        }
        None
    }

    fn act_after(&mut self, id: ConnectionId, action: Option<Action>, answer: Answer) -> Step {
        let (bytes, last) = match answer {
            Answer::Reply(bytes) => (bytes, false),
            Answer::Last(bytes) => (bytes, true),
        };
        match action {
            Some(Action::DropAfterApply) => {
                self.close(id);
                return Step::Stop;
            }
            Some(Action::BlackHoleAfterApply) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.deaf = true;
                }
                return Step::Continue;
            }
            Some(Action::DelayReply(delay)) => self.send(id, bytes, Some(delay)),
            _ => self.send(id, bytes, None),
        }
        if last {
            self.close(id);
            return Step::Stop;
        }
        Step::Continue
    }

    fn execute(&mut self, id: ConnectionId, session: i64, xid: i32, request: Request) -> Answer {
        match request {
            Request::Write(op) => Answer::Reply(self.write(id, session, xid, &op)),
            Request::Multi(ops) => Answer::Reply(self.multi(id, session, xid, &ops)),
            Request::CloseSession => {
                self.sessions.close(session);
                self.commit(crate::tree::Txn::CloseSession(session), Some(id));
                Answer::Last(response::reply(xid, self.main.tree.last_zxid(), |_| {}))
            }
            Request::Auth { scheme, auth } => self.authenticate(id, xid, &scheme, &auth),
            // A real server without SASL says that all is well; a client that asks for it had better know.
            Request::Sasl => Answer::Last(response::error_reply(xid, 0, ErrorCode::AuthFailed)),
            Request::Unknown => Answer::Last(response::error_reply(xid, -1, ErrorCode::Unimplemented)),
            Request::Reconfig => {
                self.commit(crate::tree::Txn::Failed, Some(id));
                Answer::Reply(response::error_reply(
                    xid,
                    self.main.tree.last_zxid(),
                    ErrorCode::ReconfigDisabled,
                ))
            }
            request => Answer::Reply(self.read(id, session, xid, &request)),
        }
    }

    fn authenticate(&mut self, id: ConnectionId, xid: i32, scheme: &str, auth: &[u8]) -> Answer {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Answer::Last(Bytes::new());
        };
        match scheme {
            "digest" => {
                let identity = acl::digest(auth);
                if !connection.ids.contains(&identity) {
                    connection.ids.push(identity);
                }
            }
            // Every connection has its address as an identity already.
            "ip" => {}
            _ => return Answer::Last(response::error_reply(xid, 0, ErrorCode::AuthFailed)),
        }
        Answer::Reply(response::reply(xid, 0, |_| {}))
    }

    fn refused(&self, id: ConnectionId, header: RequestHeader, error: ErrorCode) -> Bytes {
        response::error_reply(header.xid, self.last_zxid_of(id), error)
    }

    /// A request whose body cannot be read fails; a write takes a zxid all the same.
    fn marshalling_error(&mut self, id: ConnectionId, header: RequestHeader) -> Bytes {
        if Op::WRITES.contains(&header.op) || header.op == Op::Check {
            self.commit(crate::tree::Txn::Failed, Some(id));
        }
        response::error_reply(header.xid, self.last_zxid_of(id), ErrorCode::MarshallingError)
    }

    /// Queues a frame for a connection that is still heard.
    fn send(&mut self, id: ConnectionId, bytes: Bytes, delay: Option<Duration>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.deaf || connection.mute || connection.closing {
            return;
        }
        connection.sent += 1;
        self.packets_sent += 1;
        connection.outbox.push(bytes, delay.map(|delay| Instant::now() + delay));
    }

    /// Ends a connection after what is queued for it. A connection in a black hole just stays silent.
    fn close(&mut self, id: ConnectionId) {
        self.main.watches.forget(id);
        self.detach(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closing = true;
            if !connection.deaf {
                connection.outbox.close();
            }
        }
    }

    fn detach(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.view = None;
            if let Some(session) = connection.session {
                if self.attached.get(&session) == Some(&id) {
                    self.attached.remove(&session);
                }
            }
        }
    }

    fn last_zxid_of(&self, id: ConnectionId) -> i64 {
        let view = self
            .connections
            .get(&id)
            .and_then(|connection| connection.view.as_ref());
        view.map_or(&self.main, |view| &view.replica).tree.last_zxid()
    }
}
