//! A real ZooKeeper server in a process of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::launcher::{Launcher, Word};
use crate::{ServerOptions, background, four_letter, port};

const INSTALL: &str = "run `scripts/test.sh`, which installs one (Debian: openjdk-17-jre-headless libzookeeper-java)";
/// Beside Debian's server: what it logs with, and parts of Netty that it needs for TLS and does not name.
const DEBIAN_JARS: [&str; 3] = [
    "/usr/share/java/slf4j-simple.jar",
    "/usr/share/java/netty-codec.jar",
    "/usr/share/java/netty-resolver.jar",
];
const START_PATIENCE: Duration = Duration::from_secs(60);

/// A running real ZooKeeper, ended and its data removed on drop, or at the latest with the test process.
///
/// It is a child JVM with the jars of `ZK_TEST_CLASSPATH`, or a Docker container of `ZK_TEST_IMAGE`. With neither set, it
/// is a JVM with the jars of Debian's `libzookeeper-java`, or where they are missing a container of `zookeeper:3.9`.
#[derive(Debug)]
pub struct RealServer {
    port: u16,
    dir: PathBuf,
    launcher: Arc<Launcher>,
}

impl RealServer {
    /// Starts a standalone server with the default [`ServerOptions`].
    pub async fn start() -> Self {
        Self::options().start().await
    }

    /// Settings to start a server with.
    pub fn options() -> ServerOptions {
        ServerOptions::new()
    }

    /// `host:port` for clients.
    pub fn connect_string(&self) -> String {
        self.addr().to_string()
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// Stops the process (SIGSTOP): its connections stay open and silent, and the kernel accepts new ones.
    pub async fn freeze(&self) {
        assert!(
            self.tell(Word::Freeze).await,
            "cannot freeze {}: is it running?",
            self.connect_string()
        );
    }

    /// Continues a frozen process.
    pub async fn thaw(&self) {
        assert!(
            self.tell(Word::Thaw).await,
            "cannot thaw {}: is it running?",
            self.connect_string()
        );
    }

    /// Kills the process (SIGKILL), frozen or not. Returns when it is gone.
    pub async fn kill(&self) {
        assert!(self.tell(Word::Kill).await, "cannot kill {}", self.connect_string());
    }

    /// Kills the process if it runs, starts it again on the same port and data, and returns when it serves.
    pub async fn restart(&self) {
        self.kill().await;
        self.relaunch().await;
        let addr = self.addr();
        crate::eventually(START_PATIENCE, "a restarted server serves", || async move {
            four_letter::mode(addr).await.is_some()
        })
        .await;
    }

    /// Starts the process of a killed server again on the same port and data, without waiting until it serves.
    pub async fn relaunch(&self) {
        assert!(
            self.tell(Word::Start).await,
            "cannot start {} again",
            self.connect_string()
        );
    }

    /// The answer to the four-letter `word`.
    pub async fn four_letter(&self, word: &str) -> std::io::Result<String> {
        four_letter::ask(self.addr(), word).await
    }

    /// The server's metrics.
    pub async fn mntr(&self) -> BTreeMap<String, String> {
        four_letter::mntr(self.addr())
            .await
            .expect("a running server answers mntr")
    }

    /// Packets received since the start of the process, with pings, connects and one for each asking, this one included.
    /// See [`Proxy::requests`](crate::Proxy::requests) for the exact requests of one client.
    pub async fn packets_received(&self) -> u64 {
        self.mntr().await["zk_packets_received"]
            .parse()
            .expect("zk_packets_received is a number")
    }

    /// The memory that the process has of the machine's, in bytes. `None` where the server is a container.
    pub async fn resident_memory(&self) -> Option<u64> {
        let launcher = Arc::clone(&self.launcher);
        background::blocking(move || launcher.resident_memory()).await
    }

    async fn tell(&self, word: Word) -> bool {
        let launcher = Arc::clone(&self.launcher);
        background::blocking(move || launcher.tell(word)).await
    }

    /// A server that is not started yet. An ensemble gives the id, and its members through the options.
    pub(crate) fn jvm(options: &ServerOptions, classpath: &str, port: u16, id: Option<usize>) -> Self {
        let dir = temporary_dir();
        if let Some(id) = id {
            std::fs::write(dir.join("myid"), id.to_string()).expect("a fresh directory is writable");
        }
        let config = dir.join("zoo.cfg");
        std::fs::write(&config, options.config_file(&dir, port)).expect("a fresh directory is writable");
        let heap = format!("-Xmx{}m", options.heap_mib.unwrap_or(128));
        let mut command: Vec<String> = ["java", &heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
            .map(str::to_owned)
            .into_iter()
            .chain(options.system_properties())
            .collect();
        command.extend([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned(),
            "-cp".to_owned(),
            classpath.to_owned(),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned(),
            config.display().to_string(),
        ]);
        let launcher = Arc::new(Launcher::jvm(&dir, &command));
        Self { port, dir, launcher }
    }

    pub(crate) fn container(options: &ServerOptions, image: &str, port: u16) -> Self {
        let dir = temporary_dir();
        let mut extra = format!(
            "minSessionTimeout={} maxSessionTimeout={}",
            options.min_session_timeout.as_millis(),
            options.max_session_timeout.as_millis()
        );
        for (key, value) in &options.config {
            let _ = write!(extra, " {key}={value}");
        }
        let mut flags = options.system_properties();
        flags.extend(options.heap_mib.map(|mib| format!("-Xmx{mib}m")));
        let environment = [
            format!("ZOO_TICK_TIME={}", options.tick_time.as_millis()),
            "ZOO_MAX_CLIENT_CNXNS=0".to_owned(),
            "ZOO_STANDALONE_ENABLED=true".to_owned(),
            "ZOO_ADMINSERVER_ENABLED=false".to_owned(),
            "ZOO_4LW_COMMANDS_WHITELIST=*".to_owned(),
            format!("ZOO_CFG_EXTRA={extra}"),
            format!("JVMFLAGS={}", flags.join(" ")),
        ];
        let mut run = vec!["-p".to_owned(), format!("127.0.0.1:{port}:2181")];
        for variable in environment {
            run.extend(["-e".to_owned(), variable]);
        }
        run.push(image.to_owned());
        let launcher = Arc::new(Launcher::docker(&dir, &run));
        Self { port, dir, launcher }
    }

    /// Starts the process. Docker may fail here and the JVM later: [`await_service`](Self::await_service) tells.
    pub(crate) fn launch(&self) {
        self.launcher.tell(Word::Start);
    }

    /// Waits until a launched server serves. False if another process has taken its port.
    pub(crate) fn await_service(&self) -> bool {
        let started = Instant::now();
        loop {
            if four_letter::mode_blocking(self.addr()).is_some() && self.is_this_server() {
                return true;
            }
            if !self.launcher.tell(Word::Alive) {
                let log = self.launcher.log_tail();
                if ["BindException", "already in use", "already allocated"]
                    .iter()
                    .any(|sign| log.contains(sign))
                {
                    return false;
                }
                panic!("the ZooKeeper server ended at its start; if it is not installed, {INSTALL}. Its log:\n{log}");
            }
            let log = || self.launcher.log_tail();
            assert!(
                started.elapsed() < START_PATIENCE,
                "no server after {START_PATIENCE:?}. Its log:\n{}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Another process may have taken the port and be a ZooKeeper too. Only ours has its data in our directory.
    fn is_this_server(&self) -> bool {
        let in_container = !self.dir.join("zoo.cfg").exists();
        let ours = self.dir.display().to_string();
        in_container || four_letter::ask_blocking(self.addr(), "conf").is_ok_and(|conf| conf.contains(&ours))
    }
}

/// Where a real ZooKeeper is found on this machine.
pub(crate) enum Installation {
    /// The class path of its jars.
    Jars(String),
    /// The name of a Docker image.
    Image(String),
}

impl Installation {
    /// Panics with the command to install one where there is none.
    pub(crate) fn find() -> Self {
        let server = "/usr/share/java/zookeeper.jar";
        if let Some(classpath) = variable("ZK_TEST_CLASSPATH") {
            return Self::Jars(classpath);
        }
        let chosen = variable("ZK_TEST_IMAGE");
        if chosen.is_none() && Path::new(server).exists() && succeeds("java", &["-version"]) {
            return Self::Jars([server].into_iter().chain(DEBIAN_JARS).collect::<Vec<_>>().join(":"));
        }
        let image = chosen.unwrap_or_else(|| "zookeeper:3.9".to_owned());
        if succeeds("docker", &["image", "inspect", &image]) || succeeds("docker", &["pull", "--quiet", &image]) {
            return Self::Image(image);
        }
        panic!("no ZooKeeper server on this machine: no jars, and no Docker image {image}; {INSTALL}");
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn temporary_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("zookeeper-testkit-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir).unwrap_or_else(|err| panic!("cannot create {}: {err}", dir.display()));
    dir
}
