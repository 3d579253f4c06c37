//! Another library's client in a process of its own: takes an order a line, and answers each with a line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A peer that has not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(90);

const JARS: [&str; 7] = [
    "curator-recipes",
    "curator-framework",
    "curator-client",
    "zookeeper",
    "zookeeper-jute",
    "guava",
    "slf4j-simple",
];

/// Dropping it ends the process.
pub(crate) struct Peer {
    process: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    classes: Option<PathBuf>,
}

impl Peer {
    /// Compiles and runs `benches/curator/<class>.java` with Debian's Curator.
    pub(crate) fn curator(class: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let jars = JARS.map(|jar| format!("/usr/share/java/{jar}.jar"));
        if let Some(missing) = jars.iter().find(|jar| !Path::new(jar).exists()) {
            return Err(format!("no {missing}; apt-get install libcurator-recipes-java default-jdk-headless").into());
        }
        let classes = std::env::temp_dir().join(format!("bench-{}", Uuid::new_v4()));
        let classpath = format!("{}:{}", jars.join(":"), classes.display());
        let source = format!("{}/benches/curator/{class}.java", env!("CARGO_MANIFEST_DIR"));
        let compiled = Command::new("javac")
            .args(["-cp", &classpath, "-d"])
            .arg(&classes)
            .arg(source)
            .status()
            .map_err(|error| format!("javac: {error}; apt-get install default-jdk-headless"))?;
        if !compiled.success() {
            return Err(format!("javac: {compiled}").into());
        }
        let mut java = Command::new("java");
        java.args([
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
            &classpath,
            class,
        ]);
        let mut peer = Self::start(java.args(arguments))?;
        peer.classes = Some(classes);
        Ok(peer)
    }

    /// Returns when the process has said its first line.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().ok_or("no input")?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let (answer, answers) = mpsc::channel();
        // It ends with the process.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| answer.send(line)));
        let peer = Self {
            process,
            orders,
            answers,
            classes: None,
        };
        peer.answer()?;
        Ok(peer)
    }

    /// The answer to an order. Blocks the thread until it comes, for [`PATIENCE`] at most.
    pub(crate) fn ask(&mut self, order: &str) -> Result<String, Failure> {
        writeln!(self.orders, "{order}")?;
        self.answer()
    }

    fn answer(&self) -> Result<String, Failure> {
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => Ok(answer.trim_end().to_owned()),
            Err(RecvTimeoutError::Timeout) => Err(format!("no answer within {PATIENCE:?}").into()),
            Err(RecvTimeoutError::Disconnected) => Err("it has ended".into()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends without being asked twice.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(classes) = &self.classes {
            // What is left lies in the system's directory for temporary files.
            let _ = std::fs::remove_dir_all(classes);
        }
    }
}
