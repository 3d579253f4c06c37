//! The three servers in containers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use zookeeper_recipes::{ConnectOptions, Coordinator};
use zookeeper_testkit::{Fixture, Proxy, background, eventually, eventually_some, four_letter};

/// The tick and the `syncLimit` that `scripts/ensemble-test.sh` configures, together: for so long a follower that is cut
/// off from its leader goes on serving its clients.
pub(crate) const SYNC_LIMIT: Duration = Duration::from_millis(500 * 16);

/// A session timeout shorter than that.
pub(crate) const SESSION: Duration = Duration::from_secs(5);

const HEAL_PATIENCE: Duration = Duration::from_secs(90);

/// The ensemble, for one test at a time.
pub(crate) struct Ensemble {
    project: String,
    network: String,
    servers: Vec<Server>,
    _alone: MutexGuard<'static, ()>,
}

struct Server {
    addr: SocketAddr,
    container: String,
    /// Its address among the servers.
    address: String,
}

impl Ensemble {
    /// Waits for the tests before, and heals what they left.
    pub(crate) async fn take() -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let project = variable("ZK_ENSEMBLE_PROJECT");
        let of_project = format!("label=com.docker.compose.project={project}");
        let addresses = variable("ZOOKEEPER_CONNECT");
        let filters = [
            "--filter",
            &of_project,
            "--filter",
            "label=com.docker.compose.network=quorum",
        ];
        let network = docker(&[&["network", "ls", "--format", "{{.Name}}"], &filters[..]].concat()).await;
        let mut servers = Vec::new();
        for (index, addr) in addresses.split(',').enumerate() {
            let service = format!("label=com.docker.compose.service=zoo{}", index + 1);
            let container = docker(&["ps", "-aq", "--filter", &of_project, "--filter", &service]).await;
            let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAMConfig.IPv4Address}}}}");
            // Of a server that a failed test left out of the network, it is not to be had any more.
            static ADDRESSES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
            let known = ADDRESSES
                .lock()
                .expect("no panic while it is locked")
                .get(index)
                .cloned();
            let address = match known {
                Some(address) => address,
                None => {
                    let address = docker(&["inspect", "--format", &format, &container]).await;
                    ADDRESSES
                        .lock()
                        .expect("no panic while it is locked")
                        .push(address.clone());
                    address
                }
            };
            let addr = addr.parse().expect("ZOOKEEPER_CONNECT is a list of address:port");
            servers.push(Server {
                addr,
                container,
                address,
            });
        }
        assert_eq!(servers.len(), 3, "{addresses} is no ensemble of three");
        let ensemble = Self {
            project,
            network,
            servers,
            _alone: alone,
        };
        ensemble.heal().await;
        ensemble
    }

    /// The Compose project, whose label is on everything that is to be removed in the end.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// A fresh chroot.
    pub(crate) async fn fixture(&self, name: &str) -> Fixture {
        Fixture::on_ensemble(name, &self.connect_string(&[0, 1, 2])).await
    }

    /// Connects to all servers.
    pub(crate) async fn connect(&self, fixture: &Fixture, session: Duration) -> Coordinator {
        self.connect_to(&[0, 1, 2], fixture, session).await
    }

    /// Connects to some of the servers.
    pub(crate) async fn connect_to(&self, servers: &[usize], fixture: &Fixture, session: Duration) -> Coordinator {
        connect(
            &format!("{}{}", self.connect_string(servers), fixture.chroot()),
            session,
        )
        .await
    }

    /// One proxy in front of each server, and the connect string through them.
    pub(crate) async fn proxied(&self, fixture: &Fixture) -> (Vec<Proxy>, String) {
        let mut proxies = Vec::new();
        for server in &self.servers {
            proxies.push(Proxy::start_with_chroot(server.addr, fixture.chroot()).await);
        }
        let servers: Vec<String> = proxies.iter().map(Proxy::connect_string).collect();
        let connect_string = format!("{}{}", servers.join(","), fixture.chroot());
        (proxies, connect_string)
    }

    /// `host:port,host:port`.
    pub(crate) fn connect_string(&self, servers: &[usize]) -> String {
        let servers: Vec<String> = servers
            .iter()
            .map(|index| self.servers[*index].addr.to_string())
            .collect();
        servers.join(",")
    }

    /// Which server leads.
    pub(crate) async fn leader(&self) -> usize {
        let leaders = self.in_mode("leader").await;
        *leaders.first().expect("a healed ensemble has a leader")
    }

    /// Which servers follow.
    pub(crate) async fn followers(&self) -> Vec<usize> {
        self.in_mode("follower").await
    }

    /// The leader and the two followers of a healed ensemble. A busy machine may be slow to say so.
    pub(crate) async fn leader_and_followers(&self) -> (usize, Vec<usize>) {
        eventually_some(HEAL_PATIENCE, "a leader and two followers", || async {
            let (leaders, followers) = (self.in_mode("leader").await, self.followers().await);
            (leaders.len() == 1 && followers.len() == 2).then(|| (leaders[0], followers))
        })
        .await
    }

    async fn in_mode(&self, wanted: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            if four_letter::mode(server.addr).await.as_deref() == Some(wanted) {
                found.push(index);
            }
        }
        found
    }

    /// Kills the process (SIGKILL). [`heal`](Self::heal) starts it again, with its data.
    pub(crate) async fn kill(&self, server: usize) {
        docker(&["kill", &self.servers[server].container]).await;
    }

    /// Freezes it: silence. Docker goes on accepting connections in its place.
    pub(crate) async fn pause(&self, server: usize) {
        // Where the kernel has cgroups of version 1, runc gives up on a container in which a process is just being
        // started, as the health check does now and then: "unable to freeze".
        eventually(HEAL_PATIENCE, "the server is paused", || async {
            match try_docker(&["pause", &self.servers[server].container]).await {
                Ok(_) => true,
                Err(error) if error.contains("unable to freeze") => false,
                Err(error) => panic!("docker pause: {error}"),
            }
        })
        .await;
    }

    /// Cuts it off from the other servers; its clients stay connected to it.
    pub(crate) async fn cut_from_quorum(&self, server: usize) {
        docker(&["network", "disconnect", &self.network, &self.servers[server].container]).await;
    }

    /// Undoes whatever was done. Returns when there are a leader and two followers.
    pub(crate) async fn heal(&self) {
        for server in &self.servers {
            let format = format!(
                "{{{{.State.Status}}}} {{{{index .NetworkSettings.Networks \"{}\"}}}}",
                self.network
            );
            let state = docker(&["inspect", "--format", &format, &server.container]).await;
            if state.ends_with("<nil>") || state.ends_with("<no value>") {
                docker(&[
                    "network",
                    "connect",
                    "--ip",
                    &server.address,
                    &self.network,
                    &server.container,
                ])
                .await;
            }
            match state.split(' ').next() {
                Some("running") => {}
                Some("paused") => _ = docker(&["unpause", &server.container]).await,
                _ => _ = docker(&["start", &server.container]).await,
            }
        }
        eventually(HEAL_PATIENCE, "a leader and two followers serve", || async {
            self.in_mode("leader").await.len() == 1 && self.in_mode("follower").await.len() == 2
        })
        .await;
    }
}

/// Connects with a session timeout.
pub(crate) async fn connect(servers: &str, session: Duration) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(session);
    let connected = options.connect(servers).await;
    connected.unwrap_or_else(|err| panic!("no session on {servers}: {err}"))
}

/// Runs `docker` and returns what it says.
pub(crate) async fn docker(arguments: &[&str]) -> String {
    let said = try_docker(arguments).await;
    said.unwrap_or_else(|error| panic!("docker {}: {error}", arguments.join(" ")))
}

/// Runs `docker` and returns what it says, or what went wrong.
async fn try_docker(arguments: &[&str]) -> Result<String, String> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    background::blocking(move || {
        let output = Command::new("docker").args(&arguments).output();
        let output = output.unwrap_or_else(|err| panic!("docker {}: {err}", arguments.join(" ")));
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        }
    })
    .await
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by scripts/ensemble-test.sh"))
}
