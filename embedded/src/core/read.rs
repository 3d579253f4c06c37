//! Reads and watch bookkeeping: answered from one replica, without a transaction.

use bytes::Bytes;

use super::{Core, Replica};
use crate::acl;
use crate::tree::Node;
use crate::watch::{ConnectionId, Event, Mode};
use crate::wire::request::SetWatches;
use crate::wire::{Acl, ErrorCode, EventType, Id, Op, OpResult, ReadOp, Request, Writer, response};

/// The session that reads.
struct Reader<'a> {
    connection: ConnectionId,
    session: i64,
    ids: &'a [Id],
}

impl Core {
    pub(super) fn read(&mut self, id: ConnectionId, session: i64, xid: i32, request: &Request) -> Bytes {
        if let Request::Sync { .. } = request {
            let events = self.switches.catch_up(&mut self.connections, id);
            self.notify(events);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return Bytes::new();
        };
        let replica = connection
            .view
            .as_mut()
            .map_or(&mut self.main, |view| &mut view.replica);
        let zxid = replica.tree.last_zxid();
        let reader = Reader {
            connection: id,
            session,
            ids: &connection.ids,
        };
        let mut missed = Vec::new();
        let mut to = Writer::frame();
        to.i32(xid).i64(zxid).i32(0);
        let outcome = replica.answer(&reader, request, &mut to, &mut missed);
        self.notify(missed);
        match outcome {
            Ok(()) => to.into_frame(),
            Err(error) => response::error_reply(xid, zxid, error),
        }
    }
}

impl Replica {
    /// Appends the reply's body. `missed` takes the events that a client coming back has missed.
    fn answer(
        &mut self,
        reader: &Reader<'_>,
        request: &Request,
        to: &mut Writer,
        missed: &mut Vec<Event>,
    ) -> Result<(), ErrorCode> {
        match request {
            Request::Exists { path, watch } => self.exists(reader, path, *watch, to),
            Request::GetData { path, watch } => self.data(reader, path, *watch, to),
            Request::GetChildren { path, watch, with_stat } => self.children(reader, path, *watch, *with_stat, to),
            Request::MultiRead(ops) => {
                self.multi_read(reader, ops, to);
                Ok(())
            }
            Request::GetAcl { path } => self.acl(reader, path, to),
            Request::Sync { path } => {
                to.string(path);
                Ok(())
            }
            Request::GetEphemerals { prefix } => {
                self.ephemerals(reader, prefix.as_deref(), to);
                Ok(())
            }
            Request::GetAllChildrenNumber { path } => {
                self.readable(reader, path)?;
                to.len(self.tree.count_below(path));
                Ok(())
            }
            Request::AddWatch { .. }
            | Request::CheckWatches { .. }
            | Request::RemoveWatches { .. }
            | Request::SetWatches(_) => self.answer_about_watches(reader, request, to, missed),
            Request::WhoAmI => {
                to.len(reader.ids.len());
                for id in reader.ids {
                    to.string(&id.scheme).string(acl::user_name(id));
                }
                Ok(())
            }
            Request::Ping => Ok(()),
            Request::Write(_)
            | Request::Multi(_)
            | Request::Reconfig
            | Request::Auth { .. }
            | Request::Sasl
            | Request::CloseSession
            | Request::Unknown => Err(ErrorCode::Unimplemented),
        }
    }

    fn answer_about_watches(
        &mut self,
        reader: &Reader<'_>,
        request: &Request,
        to: &mut Writer,
        missed: &mut Vec<Event>,
    ) -> Result<(), ErrorCode> {
        let found = match request {
            Request::AddWatch { path, mode } => {
                let mode = match mode {
                    0 => Mode::Persistent,
                    1 => Mode::Recursive,
                    _ => return Err(ErrorCode::MarshallingError),
                };
                self.watches.watch_persistently(path, reader.connection, mode);
                to.i32(0);
                true
            }
            Request::CheckWatches { path, kind } => {
                let kind = self.watches.kind(*kind).ok_or(ErrorCode::MarshallingError)?;
                self.watches.contains(path, reader.connection, kind)
            }
            Request::RemoveWatches { path, kind } => {
                let kind = self.watches.kind(*kind).ok_or(ErrorCode::MarshallingError)?;
                self.watches.remove(path, reader.connection, kind)
            }
            Request::SetWatches(watches) => {
                self.set_watches(reader.connection, watches, missed);
                true
            }
            _ => return Err(ErrorCode::Unimplemented),
        };
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher) }
    }

    fn ephemerals(&self, reader: &Reader<'_>, prefix: Option<&str>, to: &mut Writer) {
        // Java's idea of blanks takes in control characters; the comparison itself is with the whole prefix.
        let is_blank = |c: char| c <= ' ';
        let prefix = prefix.filter(|prefix| !matches!(prefix.trim_matches(is_blank), "" | "/"));
        let paths = self.tree.ephemerals_of(reader.session);
        let paths: Vec<&str> = paths
            .filter(|path| prefix.is_none_or(|prefix| path.starts_with(prefix)))
            .collect();
        to.strings(&paths);
    }

    fn readable(&self, reader: &Reader<'_>, path: &str) -> Result<&Node, ErrorCode> {
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        acl::check(&node.acl, acl::READ, reader.ids)?;
        Ok(node)
    }

    fn exists(&mut self, reader: &Reader<'_>, path: &str, watch: bool, to: &mut Writer) -> Result<(), ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        if watch {
            self.watches.watch_data(path, reader.connection);
        }
        // No permission is needed to learn that a node exists; ZooKeeper asks for one only from 3.8.4 on.
        self.tree.get(path).ok_or(ErrorCode::NoNode)?.stat().write(to);
        Ok(())
    }

    fn data(&mut self, reader: &Reader<'_>, path: &str, watch: bool, to: &mut Writer) -> Result<(), ErrorCode> {
        let node = self.readable(reader, path)?;
        to.buffer(node.data.as_deref());
        node.stat().write(to);
        if watch {
            self.watches.watch_data(path, reader.connection);
        }
        Ok(())
    }

    fn children(
        &mut self,
        reader: &Reader<'_>,
        path: &str,
        watch: bool,
        with_stat: bool,
        to: &mut Writer,
    ) -> Result<(), ErrorCode> {
        let node = self.readable(reader, path)?;
        to.len(node.children.len());
        for name in node.children.iter() {
            to.string(name);
        }
        if with_stat {
            node.stat().write(to);
        }
        if watch {
            self.watches.watch_children(path, reader.connection);
        }
        Ok(())
    }

    fn multi_read(&mut self, reader: &Reader<'_>, ops: &[ReadOp], to: &mut Writer) {
        for op in ops {
            if let Err(error) = self.readable(reader, op.path()) {
                OpResult::Error(Some(error)).write_in_multi(to);
                continue;
            }
            // Neither can fail: the node is readable.
            let _ = match op {
                ReadOp::GetData { path } => {
                    response::multi_header(to, Op::GetData.code(), 0);
                    self.data(reader, path, false, to)
                }
                ReadOp::GetChildren { path } => {
                    response::multi_header(to, Op::GetChildren.code(), 0);
                    self.children(reader, path, false, false, to)
                }
            };
        }
        response::multi_end(to);
    }

    fn acl(&self, reader: &Reader<'_>, path: &str, to: &mut Writer) -> Result<(), ErrorCode> {
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        acl::check(&node.acl, acl::READ | acl::ADMIN, reader.ids)?;
        match acl::check(&node.acl, acl::ADMIN, reader.ids) {
            Ok(()) => Acl::write_all(&node.acl, to),
            Err(_) => Acl::write_all(&acl::masked(&node.acl), to),
        }
        node.stat().write(to);
        Ok(())
    }

    fn set_watches(&mut self, connection: ConnectionId, watches: &SetWatches, missed: &mut Vec<Event>) {
        let mut miss = |kind, path: &str| {
            missed.push(Event {
                connection,
                kind,
                path: path.to_owned(),
                acl: None,
            });
        };
        for path in &watches.data {
            match self.tree.get(path) {
                None => miss(EventType::NodeDeleted, path),
                Some(node) if node.mzxid > watches.relative_zxid => miss(EventType::NodeDataChanged, path),
                Some(_) => self.watches.watch_data(path, connection),
            }
        }
        for path in &watches.exist {
            match self.tree.get(path) {
                Some(_) => miss(EventType::NodeCreated, path),
                None => self.watches.watch_data(path, connection),
            }
        }
        for path in &watches.child {
            match self.tree.get(path) {
                None => miss(EventType::NodeDeleted, path),
                Some(node) if node.pzxid > watches.relative_zxid => miss(EventType::NodeChildrenChanged, path),
                Some(_) => self.watches.watch_children(path, connection),
            }
        }
        for path in &watches.persistent {
            self.watches.watch_persistently(path, connection, Mode::Persistent);
        }
        for path in &watches.persistent_recursive {
            self.watches.watch_persistently(path, connection, Mode::Recursive);
        }
    }
}
