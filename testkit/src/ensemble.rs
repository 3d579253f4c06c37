//! An ensemble of plain processes.

use std::time::Duration;

use crate::server::Installation;
use crate::{RealServer, ServerOptions, background, eventually, four_letter, port};

/// Real servers that form one ensemble on this machine. Needs jars: containers are for the Compose files.
#[derive(Debug)]
pub struct RealEnsemble {
    servers: Vec<RealServer>,
}

impl RealEnsemble {
    /// Whether this machine has the jars. Where a server is a container, it has no ensemble of processes.
    pub async fn is_available() -> bool {
        background::blocking(|| matches!(Installation::find(), Installation::Jars(_))).await
    }

    /// Starts `size` servers with default options. Returns when each follows a leader or leads.
    pub async fn start(size: usize) -> Self {
        Self::start_with(size, ServerOptions::new()).await
    }

    /// Starts `size` servers with `options`.
    pub async fn start_with(size: usize, options: ServerOptions) -> Self {
        background::blocking(move || Self::start_blocking(size, &options)).await
    }

    fn start_blocking(size: usize, options: &ServerOptions) -> Self {
        for _ in 0..5 {
            let ensemble = Self::prepare(size, options.clone());
            ensemble.servers.iter().for_each(RealServer::launch);
            if ensemble.servers.iter().all(RealServer::await_service) {
                return ensemble;
            }
        }
        panic!("lost the race for a free port five times in a row");
    }

    fn prepare(size: usize, mut options: ServerOptions) -> Self {
        let Installation::Jars(classpath) = Installation::find() else {
            panic!("an ensemble of processes needs jars: run `scripts/test.sh` on a Debian or Ubuntu with root");
        };
        let client_ports: Vec<u16> = (0..size).map(|_| port::free()).collect();
        options = options.config("standaloneEnabled", "false");
        for (index, client_port) in client_ports.iter().enumerate() {
            let (quorum, election) = (port::free(), port::free());
            let member = format!("127.0.0.1:{quorum}:{election};127.0.0.1:{client_port}");
            options = options.config(&format!("server.{}", index + 1), &member);
        }
        let server = |(index, port): (usize, &u16)| RealServer::jvm(&options, &classpath, *port, Some(index + 1));
        Self {
            servers: client_ports.iter().enumerate().map(server).collect(),
        }
    }

    /// Waits until every server serves; panics after `deadline`.
    pub async fn serving(&self, deadline: Duration) {
        let addresses: Vec<_> = self.servers.iter().map(RealServer::addr).collect();
        eventually(deadline, "every server of the ensemble serves", || async {
            for addr in &addresses {
                if four_letter::mode(*addr).await.is_none() {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// `host:port` of all servers, comma separated.
    pub fn connect_string(&self) -> String {
        self.servers
            .iter()
            .map(RealServer::connect_string)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The servers, to be frozen, killed and restarted one by one.
    pub fn servers(&self) -> &[RealServer] {
        &self.servers
    }

    /// Index of the server that leads now, if one does.
    pub async fn leader(&self) -> Option<usize> {
        self.in_mode("leader").await.first().copied()
    }

    /// Indexes of the servers that follow now.
    pub async fn followers(&self) -> Vec<usize> {
        self.in_mode("follower").await
    }

    async fn in_mode(&self, wanted: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            if four_letter::mode(server.addr()).await.as_deref() == Some(wanted) {
                found.push(index);
            }
        }
        found
    }
}
