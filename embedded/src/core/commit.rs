//! Writes: prepared, committed in one order, applied to every replica, heard of by watchers before any later reply.

use bytes::Bytes;

use super::Core;
use crate::acl;
use crate::tree::{Author, Change, Overlay, Tree, Txn, TxnHeader};
use crate::watch::{ConnectionId, Event, Watches};
use crate::wire::{ErrorCode, OpResult, WriteOp, response};

/// A tree and its watches.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) tree: Tree,
    pub(crate) watches: Watches,
}

impl Replica {
    /// Applies a transaction; returns its results and the events it causes.
    pub(crate) fn apply(&mut self, header: TxnHeader, txn: &Txn) -> (Vec<OpResult>, Vec<Event>) {
        let mut changes: Vec<Change> = Vec::new();
        let results = self.tree.apply(header, txn, &mut changes);
        let mut events = Vec::new();
        for change in &changes {
            self.watches.trigger(change, &mut events);
        }
        (results, events)
    }
}

impl Core {
    /// Gives a transaction its place in the order. `author` reads its own writes, however far its view lags.
    pub(super) fn commit(&mut self, txn: Txn, author: Option<ConnectionId>) -> Vec<OpResult> {
        // No client asked for a jump of a sequence: it must not show in the zxids either.
        let is_silent = matches!(txn, Txn::SetSequence { .. });
        let zxid = self.main.tree.last_zxid() + i64::from(!is_silent);
        let header = TxnHeader {
            zxid,
            time: self.clock(),
        };
        let (results, events) = self.main.apply(header, &txn);
        self.notify(events);
        let events = self.switches.follow(&mut self.connections, header, txn, author);
        self.notify(events);
        results
    }

    pub(super) fn notify(&mut self, events: Vec<Event>) {
        for event in events {
            let Some(connection) = self.connections.get(&event.connection) else {
                continue;
            };
            if event
                .acl
                .is_some_and(|acl| acl::check(&acl, acl::READ, &connection.ids).is_err())
            {
                continue;
            }
            let delay = self.switches.event_delay(connection.session);
            self.send(event.connection, response::watch_event(event.kind, &event.path), delay);
        }
    }

    pub(super) fn write(&mut self, id: ConnectionId, session: i64, xid: i32, op: &WriteOp) -> Bytes {
        let prepared = Overlay::new(&self.main.tree).prepare(op, self.author(id, session));
        let result = match prepared {
            Ok(txn) => self.commit(txn, Some(id)).pop(),
            Err(error) => {
                self.commit(Txn::Failed, Some(id));
                return response::error_reply(xid, self.main.tree.last_zxid(), error);
            }
        };
        response::reply(xid, self.main.tree.last_zxid(), |to| {
            if let Some(result) = &result {
                result.write(to);
            }
        })
    }

    pub(super) fn multi(&mut self, id: ConnectionId, session: i64, xid: i32, ops: &[WriteOp]) -> Bytes {
        let author = self.author(id, session);
        let mut overlay = Overlay::new(&self.main.tree);
        let prepared: Result<Vec<Txn>, (usize, ErrorCode)> = ops
            .iter()
            .enumerate()
            .map(|(index, op)| overlay.prepare(op, author).map_err(|error| (index, error)))
            .collect();
        let txn = match prepared {
            Ok(txns) => Txn::Multi(txns),
            Err((_, ErrorCode::MarshallingError)) => {
                self.commit(Txn::Failed, Some(id));
                return response::error_reply(xid, self.main.tree.last_zxid(), ErrorCode::MarshallingError);
            }
            Err((failed, error)) => Txn::FailedMulti(
                (0..ops.len())
                    .map(|index| match index.cmp(&failed) {
                        std::cmp::Ordering::Less => None,
                        std::cmp::Ordering::Equal => Some(error),
                        std::cmp::Ordering::Greater => Some(ErrorCode::RuntimeInconsistency),
                    })
                    .collect(),
            ),
        };
        let results = self.commit(txn, Some(id));
        response::reply(xid, self.main.tree.last_zxid(), |to| {
            for result in &results {
                result.write_in_multi(to);
            }
            response::multi_end(to);
        })
    }

    /// Ends a session as its expiry does; false if it does not live.
    pub(crate) fn end_session(&mut self, session: i64) -> bool {
        if !self.sessions.close(session) {
            return false;
        }
        self.commit(Txn::CloseSession(session), None);
        if let Some(connection) = self.attached.get(&session).copied() {
            self.close(connection);
        }
        true
    }

    pub(crate) fn set_sequence(&mut self, parent: &str, next: i32) -> bool {
        let exists = self.main.tree.get(parent).is_some();
        if exists {
            self.commit(
                Txn::SetSequence {
                    parent: parent.to_owned(),
                    next,
                },
                None,
            );
        }
        exists
    }

    fn author(&self, id: ConnectionId, session: i64) -> Author<'_> {
        let ids = self.connections.get(&id).map_or(&[][..], |connection| &connection.ids);
        Author { session, ids }
    }
}
