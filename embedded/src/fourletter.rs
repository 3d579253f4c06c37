//! The four-letter words: plain text for operators, asked for before any handshake.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::core::{Connection, Core, View};
use crate::session::SessionId;

/// What the words that report a version say: the release that the server is modelled on, and that it is not one.
const VERSION: &str = concat!("3.8.0-embedded-", env!("CARGO_PKG_VERSION"));

/// A four-letter word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Ruok,
    Srvr,
    Mntr,
    Cons,
    Dump,
}

/// The word that a connection starts with, if it does. No frame is long enough to be mistaken for one.
pub(crate) fn command(bytes: &[u8]) -> Option<Command> {
    match bytes.first_chunk::<4>()? {
        b"ruok" => Some(Command::Ruok),
        b"srvr" => Some(Command::Srvr),
        b"mntr" => Some(Command::Mntr),
        b"cons" => Some(Command::Cons),
        b"dump" => Some(Command::Dump),
        _ => None,
    }
}

impl Command {
    pub(crate) fn answer(self, core: &mut Core) -> String {
        core.packets_received += 1;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Ruok => write!(text, "imok"),
            Self::Srvr => srvr(core, &mut text),
            Self::Mntr => mntr(core, &mut text),
            Self::Cons => cons(core, &mut text),
            Self::Dump => dump(core, &mut text),
        };
        text
    }
}

fn srvr(core: &Core, text: &mut String) -> std::fmt::Result {
    writeln!(text, "Zookeeper version: {VERSION}")?;
    writeln!(text, "Latency min/avg/max: 0/0.0/0")?;
    writeln!(text, "Received: {}", core.packets_received)?;
    writeln!(text, "Sent: {}", core.packets_sent)?;
    writeln!(text, "Connections: {}", core.connections.len())?;
    writeln!(text, "Outstanding: 0")?;
    writeln!(text, "Zxid: {:#x}", core.main.tree.last_zxid())?;
    writeln!(text, "Mode: standalone")?;
    writeln!(text, "Node count: {}", node_count(core))
}

fn mntr(core: &Core, text: &mut String) -> std::fmt::Result {
    let ephemerals: usize = core.main.tree.ephemerals().map(|(_, paths)| paths.len()).sum();
    let views = core
        .connections
        .values()
        .filter_map(|connection| connection.view.as_ref());
    let watches = core.main.watches.len() + views.map(View::watch_count).sum::<usize>();
    writeln!(text, "zk_version\t{VERSION}")?;
    writeln!(text, "zk_server_state\tstandalone")?;
    writeln!(text, "zk_packets_received\t{}", core.packets_received)?;
    writeln!(text, "zk_packets_sent\t{}", core.packets_sent)?;
    writeln!(text, "zk_num_alive_connections\t{}", core.connections.len())?;
    writeln!(text, "zk_outstanding_requests\t0")?;
    writeln!(text, "zk_znode_count\t{}", node_count(core))?;
    writeln!(text, "zk_watch_count\t{watches}")?;
    writeln!(text, "zk_ephemerals_count\t{ephemerals}")?;
    writeln!(text, "zk_global_sessions\t{}", core.sessions.len())
}

/// ZooKeeper counts the root twice, once under each of its two spellings.
fn node_count(core: &Core) -> usize {
    core.main.tree.len() + 1
}

fn cons(core: &Core, text: &mut String) -> std::fmt::Result {
    for connection in core.connections.values() {
        let Connection {
            peer,
            received,
            sent,
            timeout,
            last_xid,
            ..
        } = connection;
        write!(
            text,
            " /{peer}[1](queued={},recved={received},sent={sent}",
            connection.outbox.len()
        )?;
        if let Some(session) = connection.session {
            let established = connection
                .established
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis();
            let last_op = connection
                .last_op
                .map_or_else(|| "SESS".to_owned(), |op| op.to_string());
            write!(
                text,
                ",sid={},lop={last_op},est={established},to={timeout}",
                SessionId(session)
            )?;
            write!(text, ",lcxid={last_xid:#x},lzxid={:#x}", core.main.tree.last_zxid())?;
        }
        writeln!(text, ")")?;
    }
    writeln!(text)
}

fn dump(core: &Core, text: &mut String) -> std::fmt::Result {
    writeln!(text, "SessionTracker dump:")?;
    writeln!(
        text,
        "Session Sets ({})/({}):",
        core.sessions.by_expiry().count(),
        core.sessions.len()
    )?;
    for (at, session, timeout) in core.sessions.by_expiry() {
        writeln!(text, "1 expire at {at}:\n\t{}\t{timeout}ms", SessionId(session))?;
    }
    writeln!(text, "ephemeral nodes dump:")?;
    writeln!(
        text,
        "Sessions with Ephemerals ({}):",
        core.main.tree.ephemerals().len()
    )?;
    for (session, paths) in core.main.tree.ephemerals() {
        writeln!(text, "{}:", SessionId(session))?;
        for path in paths {
            writeln!(text, "\t{path}")?;
        }
    }
    writeln!(
        text,
        "Connections dump:\nConnections Sets (1)/({}):",
        core.connections.len()
    )?;
    for connection in core.connections.values() {
        writeln!(text, "\t{}", connection.peer)?;
    }
    Ok(())
}
