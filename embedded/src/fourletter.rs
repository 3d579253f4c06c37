//! The four-letter words: plain text for operators, asked for before any handshake.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::core::{Connection, Core, View};
use crate::session::SessionId;
use crate::watch::ConnectionId;

/// What the words that report a version say: the release that the server is modelled on, and that it is not one.
const VERSION: &str = concat!("3.8.0-embedded-", env!("CARGO_PKG_VERSION"));

/// A four-letter word, of all that ZooKeeper 3.8 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Orst,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
}

/// The word that a connection starts with, if it does. No frame is long enough to be mistaken for one.
pub(crate) fn command(bytes: &[u8]) -> Option<Command> {
    Some(match bytes.first_chunk::<4>()? {
        b"conf" => Command::Conf,
        b"cons" => Command::Cons,
        b"crst" => Command::Crst,
        b"dirs" => Command::Dirs,
        b"dump" => Command::Dump,
        b"envi" => Command::Envi,
        b"gtmk" => Command::Gtmk,
        b"hash" => Command::Hash,
        b"isro" => Command::Isro,
        b"mntr" => Command::Mntr,
        b"orst" => Command::Orst,
        b"ruok" => Command::Ruok,
        b"srst" => Command::Srst,
        b"srvr" => Command::Srvr,
        b"stat" => Command::Stat,
        b"stmk" => Command::Stmk,
        b"wchc" => Command::Wchc,
        b"wchp" => Command::Wchp,
        b"wchs" => Command::Wchs,
        _ => return None,
    })
}

impl Command {
    pub(crate) fn answer(self, core: &mut Core) -> String {
        core.packets_received += 1;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Conf => conf(core, &mut text),
            Self::Cons => cons(core, &mut text),
            Self::Crst => reset_connections(core, &mut text),
            // Nothing is on a disk.
            Self::Dirs => write!(text, "datadir_size: 0\nlogdir_size: 0\n"),
            Self::Dump => dump(core, &mut text),
            Self::Envi => envi(&mut text),
            // The mask of ZooKeeper's own trace log, which cannot be set here.
            Self::Gtmk | Self::Stmk => write!(text, "306"),
            // Digests of the tree are not kept.
            Self::Hash => Ok(()),
            Self::Isro => write!(text, "rw"),
            Self::Mntr => mntr(core, &mut text),
            // No observers here.
            Self::Orst => Ok(()),
            Self::Ruok => write!(text, "imok"),
            Self::Srst => reset_statistics(core, &mut text),
            Self::Srvr => srvr(core, &mut text),
            Self::Stat => stat(core, &mut text),
            Self::Wchc => wchc(core, &mut text),
            Self::Wchp => wchp(core, &mut text),
            Self::Wchs => wchs(core, &mut text),
        };
        text
    }
}

fn conf(core: &Core, text: &mut String) -> std::fmt::Result {
    writeln!(text, "clientPort={}\nsecureClientPort=-1", core.port)?;
    // Nothing is on a disk.
    writeln!(text, "dataDir=\ndataDirSize=0\ndataLogDir=\ndataLogSize=0")?;
    writeln!(text, "tickTime={}", core.settings.tick.as_millis())?;
    writeln!(text, "maxClientCnxns=0")?;
    writeln!(text, "minSessionTimeout={}", core.settings.min_session_timeout)?;
    writeln!(text, "maxSessionTimeout={}", core.settings.max_session_timeout)?;
    writeln!(text, "clientPortListenBacklog=-1\nserverId=0")
}

/// What has no meaning for a server that is no Java process.
const NOT_JAVA: [&str; 15] = [
    "host.name",
    "java.version",
    "java.vendor",
    "java.home",
    "java.class.path",
    "java.library.path",
    "java.io.tmpdir",
    "java.compiler",
    "os.version",
    "user.name",
    "user.home",
    "user.dir",
    "os.memory.free",
    "os.memory.max",
    "os.memory.total",
];

/// Lines of `key=value`; clients such as kazoo read the version from the first.
fn envi(text: &mut String) -> std::fmt::Result {
    writeln!(text, "Environment:")?;
    writeln!(text, "zookeeper.version={VERSION}, built in memory")?;
    writeln!(text, "os.name={}", std::env::consts::OS)?;
    writeln!(text, "os.arch={}", std::env::consts::ARCH)?;
    NOT_JAVA.iter().try_for_each(|key| writeln!(text, "{key}=<NA>"))
}

fn reset_connections(core: &mut Core, text: &mut String) -> std::fmt::Result {
    for connection in core.connections.values_mut() {
        (connection.received, connection.sent) = (0, 0);
    }
    writeln!(text, "Connection stats reset.")
}

fn reset_statistics(core: &mut Core, text: &mut String) -> std::fmt::Result {
    (core.packets_received, core.packets_sent) = (0, 0);
    writeln!(text, "Server stats reset.")
}

fn stat(core: &Core, text: &mut String) -> std::fmt::Result {
    writeln!(text, "Zookeeper version: {VERSION}")?;
    writeln!(text, "Clients:")?;
    for connection in core.connections.values() {
        let Connection {
            peer, received, sent, ..
        } = connection;
        let queued = connection.outbox.len();
        writeln!(text, " /{peer}[1](queued={queued},recved={received},sent={sent})")?;
    }
    writeln!(text)?;
    let mut summary = String::new();
    srvr(core, &mut summary)?;
    text.push_str(summary.split_once('\n').map_or("", |(_, rest)| rest));
    Ok(())
}

/// What each connection watches, also what it watches by a lagging view.
fn watched(core: &Core) -> BTreeMap<(ConnectionId, i64), BTreeSet<String>> {
    let of = |(id, connection): (&ConnectionId, &Connection)| {
        let mut paths = core.main.watches.paths_of(*id);
        paths.extend(connection.view.iter().flat_map(|view| view.watched_by(*id)));
        let session = connection.session.unwrap_or_default();
        (!paths.is_empty()).then_some(((*id, session), paths))
    };
    core.connections.iter().filter_map(of).collect()
}

fn wchs(core: &Core, text: &mut String) -> std::fmt::Result {
    let watched = watched(core);
    let paths: BTreeSet<&String> = watched.values().flatten().collect();
    let total: usize = watched.values().map(BTreeSet::len).sum();
    writeln!(text, "{} connections watching {} paths", watched.len(), paths.len())?;
    writeln!(text, "Total watches:{total}")
}

fn wchc(core: &Core, text: &mut String) -> std::fmt::Result {
    for ((_, session), paths) in watched(core) {
        writeln!(text, "{}", SessionId(session))?;
        for path in paths {
            writeln!(text, "\t{path}")?;
        }
    }
    writeln!(text)
}

fn wchp(core: &Core, text: &mut String) -> std::fmt::Result {
    let mut by_path: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for ((_, session), paths) in watched(core) {
        for path in paths {
            by_path.entry(path).or_default().push(session);
        }
    }
    for (path, sessions) in by_path {
        writeln!(text, "{path}")?;
        for session in sessions {
            writeln!(text, "\t{}", SessionId(session))?;
        }
    }
    writeln!(text)
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
    writeln!(text, "zk_global_sessions\t{}", core.sessions.len())?;
    writeln!(text, "zk_uptime\t{}", core.uptime().as_millis())?;
    writeln!(text, "zk_approximate_data_size\t{}", core.main.tree.data_size())?;
    writeln!(text, "zk_non_mtls_remote_conn_count\t0")?;
    writeln!(text, "zk_non_mtls_local_conn_count\t{}", core.connections.len())?;
    NOT_MEASURED.iter().try_for_each(|key| writeln!(text, "{key}\t0"))
}

/// What is not measured here, or does not exist.
const NOT_MEASURED: [&str; 12] = [
    "zk_avg_latency",
    "zk_min_latency",
    "zk_max_latency",
    "zk_last_client_response_size",
    "zk_min_client_response_size",
    "zk_max_client_response_size",
    "zk_connection_drop_probability",
    "zk_auth_failed_count",
    "zk_max_file_descriptor_count",
    "zk_open_file_descriptor_count",
    "zk_local_sessions",
    "zk_outstanding_tls_handshake",
];

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
            write!(text, ",lresp=0,llat=0,minlat=0,avglat=0,maxlat=0")?;
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
        let session = SessionId(connection.session.unwrap_or_default());
        writeln!(text, "\tip: /{} sessionId: {session}", connection.peer)?;
    }
    Ok(())
}
