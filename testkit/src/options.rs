//! What a server is started with.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::server::{Installation, RealServer};
use crate::{background, port};

/// Settings of a [`RealServer`], and of an embedded one as far as it has them.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub(crate) tick_time: Duration,
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
    container_check_interval: Duration,
    extended_types: bool,
    force_sync: bool,
    pub(crate) heap_mib: Option<u32>,
    request_limit: Option<usize>,
    pub(crate) config: Vec<(String, String)>,
    properties: Vec<(String, String)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            tick_time: Duration::from_millis(500),
            min_session_timeout: Duration::from_secs(1),
            max_session_timeout: Duration::from_secs(60),
            container_check_interval: Duration::from_millis(500),
            extended_types: true,
            force_sync: false,
            heap_mib: None,
            request_limit: None,
            config: Vec::new(),
            properties: Vec::new(),
        }
    }
}

impl ServerOptions {
    /// A tick of 500 ms, sessions of 1 s to 60 s, containers checked each 500 ms, TTL nodes allowed, no `fsync`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tick, in which sessions expire. Default: 500 ms.
    pub fn tick_time(mut self, tick: Duration) -> Self {
        self.tick_time = tick;
        self
    }

    /// The shortest session timeout that the server grants. Default: 1 s.
    pub fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.min_session_timeout = timeout;
        self
    }

    /// The longest session timeout that the server grants. Default: 60 s.
    pub fn max_session_timeout(mut self, timeout: Duration) -> Self {
        self.max_session_timeout = timeout;
        self
    }

    /// How often empty container nodes are looked for. Default: 500 ms.
    pub fn container_check_interval(mut self, interval: Duration) -> Self {
        self.container_check_interval = interval;
        self
    }

    /// Whether TTL nodes are allowed. Default: true.
    pub fn extended_types(mut self, allowed: bool) -> Self {
        self.extended_types = allowed;
        self
    }

    /// Whether each transaction waits for the disk, as in production. Default: false; data survives a killed process
    /// all the same, only not a killed machine. Benchmarks say true.
    pub fn force_sync(mut self, sync: bool) -> Self {
        self.force_sync = sync;
        self
    }

    /// How large the server's heap may grow, in MiB. Default: 128, or what the Docker image says.
    pub fn heap_mib(mut self, mib: u32) -> Self {
        self.heap_mib = Some(mib);
        self
    }

    /// The longest request in bytes (`jute.maxbuffer`). At a longer one the server closes the connection. Default:
    /// 1,048,575.
    pub fn request_limit(mut self, bytes: usize) -> Self {
        self.request_limit = Some(bytes);
        self
    }

    /// One more line of the server's configuration file.
    pub fn config(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// One more system property of the server's JVM.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts a standalone server with these settings. Returns when it serves.
    pub async fn start(self) -> RealServer {
        background::blocking(move || self.start_blocking()).await
    }

    /// Starts an embedded server with what it has of these settings.
    pub(crate) async fn start_embedded(&self) -> zookeeper_embedded::Server {
        for _ in 0..5 {
            // Not a port of the system's choice: it could be given away while the server does not listen.
            let mut builder = zookeeper_embedded::Server::builder();
            if let Some(bytes) = self.request_limit {
                builder = builder.request_limit(bytes);
            }
            let started = builder
                .address(port::local(port::free()).to_string())
                .tick_time(self.tick_time)
                .min_session_timeout(self.min_session_timeout)
                .max_session_timeout(self.max_session_timeout)
                .container_check_interval(self.container_check_interval)
                .start();
            if let Ok(server) = started.await {
                return server;
            }
        }
        panic!("lost the race for a free port five times in a row");
    }

    fn start_blocking(&self) -> RealServer {
        // A free port may be lost to another process before the server has it.
        for _ in 0..5 {
            let server = match Installation::find() {
                Installation::Jars(classpath) => RealServer::jvm(self, &classpath, port::free(), None),
                Installation::Image(image) => RealServer::container(self, &image, port::free()),
            };
            server.launch();
            if server.await_service() {
                return server;
            }
        }
        panic!("lost the race for a free port five times in a row");
    }

    pub(crate) fn system_properties(&self) -> Vec<String> {
        let mut properties = vec![
            "-Dzookeeper.admin.enableServer=false".to_owned(),
            format!("-Dzookeeper.extendedTypesEnabled={}", self.extended_types),
            format!("-Dzookeeper.forceSync={}", if self.force_sync { "yes" } else { "no" }),
            format!(
                "-Dznode.container.checkIntervalMs={}",
                self.container_check_interval.as_millis()
            ),
            "-Dzookeeper.preAllocSize=4096".to_owned(),
        ];
        properties.extend(self.request_limit.map(|bytes| format!("-Djute.maxbuffer={bytes}")));
        properties.extend(self.properties.iter().map(|(key, value)| format!("-D{key}={value}")));
        properties
    }

    pub(crate) fn config_file(&self, dir: &Path, port: u16) -> String {
        let mut file = format!(
            "dataDir={dir}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime={tick}\ninitLimit=20\nsyncLimit=4\n\
             minSessionTimeout={min}\nmaxSessionTimeout={max}\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\n",
            dir = dir.display(),
            tick = self.tick_time.as_millis(),
            min = self.min_session_timeout.as_millis(),
            max = self.max_session_timeout.as_millis(),
        );
        for (key, value) in &self.config {
            let _ = writeln!(file, "{key}={value}");
        }
        file
    }
}
