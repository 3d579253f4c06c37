//! A real ZooKeeper server as a child process.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const INSTALL: &str = "the conformance test compares with a real ZooKeeper and cannot start one; on Debian and Ubuntu \
    `apt-get install default-jdk-headless libzookeeper-java` installs it, elsewhere name its jars in ZOOKEEPER_CLASSPATH";
const DEBIAN_JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";

/// Ends with this value, and also when this process dies: it waits for the end of its standard input.
pub(crate) struct RealServer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    directory: PathBuf,
}

impl RealServer {
    /// `sync` is whether each write waits for the disk, as in production.
    pub(crate) fn start(sync: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "zookeeper-conformance-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("temporary directory");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/RealServer.java");
        let mut child = Command::new("java")
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args([
                "-Dzookeeper.extendedTypesEnabled=true",
                "-Dzookeeper.4lw.commands.whitelist=*",
            ])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"])
            .arg(format!("-Dzookeeper.forceSync={}", if sync { "yes" } else { "no" }))
            .arg("-cp")
            .arg(std::env::var("ZOOKEEPER_CLASSPATH").unwrap_or_else(|_| DEBIAN_JARS.to_owned()))
            .arg(source)
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("java: {error}: {INSTALL}"));
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("readable");
        let Some(port) = line
            .trim()
            .strip_prefix("ready ")
            .and_then(|port| port.parse::<u16>().ok())
        else {
            let _ = child.kill();
            panic!("it said {line:?}: {INSTALL}");
        };
        Self {
            child,
            stdin,
            stdout,
            address: ([127, 0, 0, 1], port).into(),
            directory,
        }
    }

    /// Makes `next` the number of the next sequential child of `path`.
    #[allow(dead_code, reason = "the bench has no use for it")]
    pub(crate) fn set_sequence(&mut self, path: &str, next: i32) {
        let stdin = self.stdin.as_mut().expect("running");
        writeln!(stdin, "sequence {path} {next}").expect("running");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("running");
        assert_eq!(line.trim(), "done");
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
