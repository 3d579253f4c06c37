//! The first frame of a connection: a new session, or back to an old one.

use super::{Answer, Core, Step};
use crate::log::LoggedRequest;
use crate::session::SessionId;
use crate::tree::Txn;
use crate::watch::ConnectionId;
use crate::wire::{ConnectRequest, Op, response};

impl Core {
    pub(super) fn handshake(&mut self, id: ConnectionId, frame: &[u8]) -> Step {
        let Ok(request) = ConnectRequest::read(frame) else {
            self.close(id);
            return Step::Stop;
        };
        if self.switches.swallows(Some(request.session)) {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.deaf = true;
            }
            return Step::Continue;
        }
        let logged = LoggedRequest {
            session: SessionId(request.session),
            op: Op::Connect,
            paths: Vec::new(),
        };
        let action = self.rules.apply(&logged);
        self.log.push(logged);
        if let Some(step) = self.act_before(id, action) {
            return step;
        }
        // A client that has seen more than this server must find another one.
        if request.last_zxid_seen > self.main.tree.last_zxid() {
            self.close(id);
            return Step::Stop;
        }
        let answer = self.admit(id, &request);
        self.act_after(id, action, answer)
    }

    fn admit(&mut self, id: ConnectionId, request: &ConnectRequest) -> Answer {
        let timeout = request.timeout.clamp(
            self.settings.min_session_timeout,
            self.settings.max_session_timeout.max(self.settings.min_session_timeout),
        );
        let now = self.now();
        if request.session == 0 || self.adopt_new_sessions {
            let session = self.sessions.open(timeout, now);
            self.commit(Txn::OpenSession, None);
            return self.attach(id, session, timeout, self.main.tree.last_zxid(), request);
        }
        // As the real server: a client that names a session ends its connection, even before the password is judged.
        if let Some(other) = self.attached.get(&request.session).copied() {
            self.close(other);
        }
        let is_owner = request.password == self.sessions.password(request.session);
        if is_owner && self.sessions.renew(request.session, timeout, now) {
            return self.attach(id, request.session, timeout, request.last_zxid_seen, request);
        }
        Answer::Last(response::connect_reply(0, 0, &[0; 16], request.knows_read_only))
    }

    fn attach(
        &mut self,
        id: ConnectionId,
        session: i64,
        timeout: i32,
        seen_zxid: i64,
        request: &ConnectRequest,
    ) -> Answer {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = Some(session);
            connection.timeout = timeout;
            connection.deaf |= self.switches.swallows(Some(session));
            connection.view = self.switches.view(session, seen_zxid, self.settings.watch_modes);
        }
        self.attached.insert(session, id);
        let password = self.sessions.password(session);
        Answer::Reply(response::connect_reply(
            timeout,
            session,
            &password,
            request.knows_read_only,
        ))
    }
}
