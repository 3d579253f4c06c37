//! What the servers say of their connections: by their AdminServers, or by the four-letter word `cons`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::session;

/// Longer than a server that is well takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// More than any server says of its connections.
const MOST: u64 = 64 << 20;

/// The port of AdminServers unless another one is configured.
const ADMIN_PORT: u16 = 8080;

/// Where a session is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// The client's address, as the server sees it.
    pub(crate) remote: String,
    /// The server that said so.
    pub(crate) server: String,
}

/// The connections of all servers that answered.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_session: HashMap<i64, Connection>,
    silent: Vec<String>,
}

impl Connections {
    /// Asks the servers, if `--admin` allows it.
    pub(crate) async fn ask(globals: &Globals) -> Result<Option<Self>, Failure> {
        let wanted = wanted(globals)?;
        if wanted.is_empty() {
            return Ok(None);
        }
        let answers = join_all(wanted.iter().map(async |server| (server, ask(server).await))).await;
        let mut all = Self::default();
        for (server, answer) in answers {
            match answer {
                Some(found) => all.add(server, found),
                None => all.silent.push(server.clone()),
            }
        }
        if all.silent.len() == wanted.len() {
            return Err(Failure::unreachable(format!(
                "no AdminServer and no four-letter word answers at {}; name them with --admin, or leave it off",
                wanted.join(", ")
            )));
        }
        Ok(Some(all))
    }

    fn add(&mut self, server: &str, found: Vec<(i64, String)>) {
        let server = server.trim_start_matches("http://");
        self.by_session.extend(found.into_iter().map(|(session, remote)| {
            let server = server.to_owned();
            (session, Connection { remote, server })
        }));
    }

    /// The sessions that are connected; an error names the servers that did not answer.
    pub(crate) fn sessions(&self) -> Result<HashSet<i64>, String> {
        match self.silent.is_empty() {
            true => Ok(self.by_session.keys().copied().collect()),
            false => Err(format!("{} did not answer", self.silent.join(", "))),
        }
    }

    /// As JSON; null where it is not known.
    pub(crate) fn object(&self, id: i64) -> Value {
        match self.by_session.get(&id) {
            Some(Connection { remote, server }) => json!({"remote": remote, "server": server}),
            None => Value::Null,
        }
    }

    /// For people.
    pub(crate) fn text(&self, id: i64) -> String {
        match (self.by_session.get(&id), self.silent.is_empty()) {
            (Some(Connection { remote, server }), _) => format!("connected from {remote} to {server}"),
            (None, true) => format!(
                "no server has a connection of its session {}: it ends within its timeout",
                session(id)
            ),
            (None, false) => format!(
                "not known whether it is connected: {} did not answer",
                self.silent.join(", ")
            ),
        }
    }
}

/// What a server is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) tick: Duration,
    /// In ticks; AdminServers and servers alone do not say it.
    pub(crate) sync_limit: Option<u32>,
    /// The longest session that is granted.
    pub(crate) longest: Option<Duration>,
}

impl Settings {
    /// Those of the first server that says them, and the longest session that any grants.
    pub(crate) async fn ask(globals: &Globals) -> Result<Option<Self>, Failure> {
        let mut told: Option<Self> = None;
        for server in wanted(globals)? {
            let Some(found) = settings(&server).await else { continue };
            told = Some(match told {
                Some(first) => Self {
                    longest: first.longest.max(found.longest),
                    ..first
                },
                None => found,
            });
        }
        Ok(told)
    }

    /// From the lines of the four-letter word `conf`.
    fn word(conf: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = conf.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line?.trim().parse::<u32>().ok()
        };
        Some(Self {
            tick: Duration::from_millis(value("tickTime")?.into()),
            sync_limit: value("syncLimit"),
            longest: value("maxSessionTimeout").map(|millis| Duration::from_millis(millis.into())),
        })
    }
}

async fn settings(server: &str) -> Option<Settings> {
    let Some(address) = server.strip_prefix("http://") else {
        return Settings::word(&exchange(server, b"conf").await?);
    };
    let (address, path) = address.split_once('/').unwrap_or((address, "commands"));
    let answer = get(address, &format!("{}/configuration", path.trim_end_matches('/'))).await?;
    Some(Settings {
        tick: Duration::from_millis(answer["tick_time"].as_u64()?),
        sync_limit: None,
        longest: answer["max_session_timeout"].as_u64().map(Duration::from_millis),
    })
}

/// The servers that `--admin` names.
fn wanted(globals: &Globals) -> Result<Vec<String>, Failure> {
    Ok(match globals.admin.as_str() {
        "off" | "" => Vec::new(),
        "auto" => hosts(globals.cluster()?),
        list => list.split(',').map(str::to_owned).collect(),
    })
}

/// The servers of a connect string.
fn hosts(cluster: &str) -> Vec<String> {
    let (_, rest) = cluster.rsplit_once("://").unwrap_or(("", cluster));
    let hosts = rest.split('/').next().unwrap_or_default();
    let with_port = |host: &str| match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:2181"),
    };
    hosts.split(',').map(|host| with_port(host.trim())).collect()
}

/// The sessions that are connected to one server, and from where; none if it does not say.
async fn ask(server: &str) -> Option<Vec<(i64, String)>> {
    if let Some(address) = server.strip_prefix("http://") {
        let (address, path) = address.split_once('/').unwrap_or((address, "commands"));
        return http(address, path.trim_end_matches('/')).await;
    }
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    match http(&format!("{host}:{ADMIN_PORT}"), "commands").await {
        Some(found) => Some(found),
        None => Some(word(&exchange(server, b"cons").await?)),
    }
}

async fn http(address: &str, path: &str) -> Option<Vec<(i64, String)>> {
    listed(&get(address, &format!("{path}/connections")).await?)
}

/// The JSON that an AdminServer has there.
async fn get(address: &str, path: &str) -> Option<Value> {
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_good = head.split(' ').nth(1) == Some("200");
    is_good.then(|| serde_json::from_str(body).ok()).flatten()
}

/// The connections in the answer of an AdminServer.
fn listed(answer: &Value) -> Option<Vec<(i64, String)>> {
    let plain = answer["connections"].as_array()?;
    let secure = answer["secure_connections"].as_array().into_iter().flatten();
    let connection = |one: &Value| {
        let id = match &one["session_id"] {
            Value::String(text) => session_id(text)?,
            number => number.as_i64()?,
        };
        let remote = one["remote_socket_address"].as_str().unwrap_or("?");
        Some((id, remote.trim_start_matches('/').to_owned()))
    };
    Some(plain.iter().chain(secure).filter_map(connection).collect())
}

/// The connections in the answer to `cons`: ` /127.0.0.1:46512[1](queued=0,...,sid=0x1000,...)`.
fn word(answer: &str) -> Vec<(i64, String)> {
    let connection = |line: &str| {
        let (remote, rest) = line.trim().trim_start_matches('/').split_once('[')?;
        let id = rest
            .split(['(', ',', ')'])
            .find_map(|field| field.strip_prefix("sid="))?;
        Some((session_id(id)?, remote.to_owned()))
    };
    answer.lines().filter_map(connection).collect()
}

/// `0x1000...`, of 64 bits whose first one may be set.
pub(crate) fn session_id(text: &str) -> Option<i64> {
    let digits = text.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().map(u64::cast_signed)
}

async fn exchange(address: &str, request: &[u8]) -> Option<String> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()?;
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_from_both_answers() {
        let cons = " /127.0.0.1:46512[1](queued=0,recved=3,sent=3,sid=0x1000a1b2c3d0007,lop=PING,to=4000)\n \
                    /127.0.0.1:46514[0](queued=0,recved=1,sent=0)\n";
        assert_eq!(word(cons), [(0x0100_0a1b_2c3d_0007, "127.0.0.1:46512".to_owned())]);
        let answer = json!({"connections": [{"remote_socket_address": "/10.0.0.7:51234", "session_id": "0xf00000000000000a"}],
            "secure_connections": []});
        let first = listed(&answer).and_then(|all| all.into_iter().next());
        assert_eq!(
            first,
            Some((0xf000_0000_0000_000a_u64.cast_signed(), "10.0.0.7:51234".to_owned()))
        );
    }

    #[test]
    fn settings_are_read_from_conf() {
        let found = Settings::word("clientPort=2181\ntickTime=2000\nmaxSessionTimeout=40000\nsyncLimit=5\n");
        let expected = Settings {
            tick: Duration::from_secs(2),
            sync_limit: Some(5),
            longest: Some(Duration::from_secs(40)),
        };
        assert_eq!(found, Some(expected));
        let alone = Settings::word("tickTime=500\nserverId=0\n").map(|found| found.sync_limit);
        assert_eq!((alone, Settings::word("no idea")), (Some(None), None));
    }

    #[test]
    fn hosts_have_ports() {
        assert_eq!(hosts("tcp://a:1,b/chroot"), ["a:1", "b:2181"]);
    }
}
