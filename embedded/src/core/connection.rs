//! What the server knows of one connection.

use std::time::SystemTime;

use super::switches::View;
use crate::outbox::Outbox;
use crate::wire::{Id, Op};

/// One accepted connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) outbox: Outbox,
    pub(crate) peer: String,
    /// Set by the handshake.
    pub(crate) session: Option<i64>,
    pub(crate) timeout: i32,
    /// The identities that the client has proven.
    pub(crate) ids: Vec<Id>,
    /// The lagging state it reads from, if it does.
    pub(crate) view: Option<View>,
    /// In a black hole: nothing goes in or out any more.
    pub(crate) deaf: bool,
    /// Nothing goes out any more, because a rule is about to end the connection.
    pub(crate) mute: bool,
    /// To be closed after what is queued.
    pub(crate) closing: bool,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) established: SystemTime,
    pub(crate) last_op: Option<Op>,
    pub(crate) last_xid: i32,
}

impl Connection {
    pub(crate) fn new(peer: String, ip: &str) -> Self {
        Self {
            outbox: Outbox::default(),
            peer,
            session: None,
            timeout: 0,
            ids: vec![Id::new("ip", ip)],
            view: None,
            deaf: false,
            mute: false,
            closing: false,
            received: 0,
            sent: 0,
            established: SystemTime::now(),
            last_op: None,
            last_xid: 0,
        }
    }
}
