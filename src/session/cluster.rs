//! [`Cluster`]: a connect string, parsed whole before anything is sent.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;

use futures::future;
use tokio::runtime::Handle;
use tracing::warn;

use super::options::ConnectError;

/// What clients take where no port is given.
const DEFAULT_PORT: u16 = 2181;

/// The servers of an ensemble, and the chroot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    servers: Vec<Server>,
    chroot: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    /// In front of the host, as given: `tcp://` or `tcp+tls://`.
    scheme: String,
    host: String,
    port: u16,
}

impl Cluster {
    /// Parses `host:port,host:port/chroot`. Blanks around commas are harmless.
    pub(super) fn parse(cluster: &str) -> Result<Self, ConnectError> {
        let malformed = |reason: String| ConnectError::ConnectString {
            cluster: cluster.to_owned(),
            reason,
        };
        let trimmed = cluster.trim();
        let hosts_at = trimmed.rfind("://").map_or(0, |at| at + 3);
        let chroot_at = trimmed[hosts_at..].find('/').map_or(trimmed.len(), |at| hosts_at + at);
        let (hosts, chroot) = trimmed.split_at(chroot_at);
        let servers: Result<Vec<_>, _> = hosts.split(',').map(|part| Server::parse(part.trim())).collect();
        let servers = servers.map_err(malformed)?;
        let chroot = match chroot {
            "/" => "",
            chroot => chroot,
        };
        if let Some(problem) = chroot_problem(chroot) {
            return Err(malformed(problem.to_owned()));
        }
        Ok(Self {
            servers,
            chroot: chroot.to_owned(),
        })
    }

    /// How many bytes the chroot adds to each path.
    pub(super) fn chroot_len(&self) -> usize {
        self.chroot.len()
    }

    /// Asks the resolver for every host.
    ///
    /// # Errors
    /// [`ConnectError::UnknownHost`] if none is known. Those that are not, where others are, are warned of.
    pub(super) async fn resolve(&self, runtime: &Handle) -> Result<(), ConnectError> {
        let asked = self.servers.iter().map(|server| {
            let address = (server.host.clone(), server.port);
            runtime.spawn_blocking(move || address.to_socket_addrs().map(|mut found| found.next().is_some()))
        });
        let (mut unknown, mut known) = (None, false);
        for (server, answer) in self.servers.iter().zip(future::join_all(asked).await) {
            match answer.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(true) => known = true,
                Ok(false) => unknown = unknown.or_else(|| Some((server, "no address".to_owned()))),
                Err(error) => unknown = unknown.or_else(|| Some((server, error.to_string()))),
            }
        }
        let Some((server, reason)) = unknown else { return Ok(()) };
        let host = server.host.clone();
        if known {
            warn!(
                host,
                reason, "a host of the connect string is unknown; the others are tried"
            );
            return Ok(());
        }
        Err(ConnectError::UnknownHost { host, reason })
    }
}

/// As the client takes it.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let Server { scheme, host, port } = server;
            match host.contains(':') {
                true => write!(f, "{separator}{scheme}[{host}]:{port}")?,
                false => write!(f, "{separator}{scheme}{host}:{port}")?,
            }
        }
        f.write_str(&self.chroot)
    }
}

impl Server {
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, address) = match text.split_once("://") {
            Some((scheme @ ("tcp" | "tcp+tls"), address)) => (format!("{scheme}://"), address),
            Some((scheme, _)) => return Err(format!("{scheme}:// is not known; use tcp:// or tcp+tls://")),
            None => (String::new(), text),
        };
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(port.strip_prefix(':').ok_or("a port follows the ']' and a ':'")?),
            ),
            None => address
                .rsplit_once(':')
                .map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() {
            return Err("a host is missing".to_owned());
        }
        if let Some(c) = host.chars().find(|c| !is_allowed(*c)) {
            return Err(format!("{host:?} is no host: it contains {c:?}"));
        }
        if host.contains(':') && !address.starts_with('[') {
            return Err(format!("{host:?} is no host; put an IPv6 address in brackets"));
        }
        let digits = port.filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = match (port, digits.map(str::parse)) {
            (None, _) => DEFAULT_PORT,
            (Some(_), Some(Ok(port))) if port != 0 => port,
            (Some(port), _) => return Err(format!("{port:?} is no port")),
        };
        let host = host.to_owned();
        Ok(Self { scheme, host, port })
    }
}

fn chroot_problem(chroot: &str) -> Option<&'static str> {
    match chroot.strip_prefix('/') {
        None => None,
        Some(relative) if relative.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Some("the chroot is no path: it has an empty part, '.' or '..'")
        }
        Some(relative) if relative.contains([',', '?', '\0']) => {
            Some("the chroot comes last, behind all hosts, and has no ',' or '?'")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cluster: &str) -> Option<String> {
        Cluster::parse(cluster).ok().map(|cluster| cluster.to_string())
    }

    #[test]
    fn a_connect_string_is_written_as_the_client_takes_it() {
        for (given, taken) in [
            ("h1:2181", "h1:2181"),
            ("h1", "h1:2181"),
            (" h1:1 , h2:2 ,h3 ", "h1:1,h2:2,h3:2181"),
            ("h1:1,h2:2/a/b", "h1:1,h2:2/a/b"),
            ("h1:1/", "h1:1"),
            ("[::1]:7,[fe80::1]", "[::1]:7,[fe80::1]:2181"),
            ("tcp://h1:1,tcp+tls://h2:2/a", "tcp://h1:1,tcp+tls://h2:2/a"),
            ("10.0.0.1:2181", "10.0.0.1:2181"),
        ] {
            assert_eq!(written(given).as_deref(), Some(taken), "{given:?}");
        }
    }

    #[test]
    fn a_malformed_connect_string_is_refused_whole() {
        for given in [
            "",
            " ",
            ",",
            "h1:1,",
            "h1:1,,h2:2",
            "hello world",
            "h1:0",
            "h1:+1",
            "h1:x",
            "h1:70000",
            "h1:1?backup=h2:2",
            "zookeeper://h1:2181?backup=h2:2181",
            "h1:1/a,h2:2/b",
            "h1:1//a",
            "h1:1/a/",
            "h1:1/..",
            "::1",
            "[::1",
            "h1:",
        ] {
            assert_eq!(written(given), None, "{given:?}");
        }
    }
}
