//! What it takes to hand leadership over: `LeaderElection`, whose leader resigns, beside Curator's `LeaderLatch`, whose
//! leader closes, in one run against one server: `cargo bench --bench election`.
//!
//! Both hand over between two sessions of one process, in turns, so that noise of the machine hits them alike. The peer
//! is Debian's Curator (`libcurator-recipes-java`, with `javac` from a JDK); where it is missing, that is said and only
//! ours is measured. The server is the one that `ZOOKEEPER_CONNECT` names, or a real one of its own whose transactions
//! wait for the disk as in production.

#[path = "common/quantiles.rs"]
mod quantiles;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator, LeaderElection, Leadership};
use zookeeper_testkit::RealServer;

use self::quantiles::Quantiles;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 500;
/// Until the peer's code is compiled.
const WARM_UP: usize = 300;
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/curator/LatchHandOff.java");
const JARS: [&str; 6] = [
    "curator-recipes",
    "curator-framework",
    "curator-client",
    "zookeeper",
    "guava",
    "slf4j-simple",
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Anything but `cargo bench` only wants to see that it runs.
    let (rounds, warm_up) = match std::env::args().any(|argument| argument == "--bench") {
        true => (ROUNDS, WARM_UP),
        false => (1, 1),
    };
    let given = std::env::var("ZOOKEEPER_CONNECT")
        .ok()
        .filter(|given| !given.is_empty());
    let own = match given {
        Some(_) => None,
        None => Some(RealServer::options().force_sync(true).start().await),
    };
    let cluster = given
        .or_else(|| own.as_ref().map(RealServer::connect_string))
        .unwrap_or_default();
    println!(
        "server: {cluster}{}",
        if own.is_some() {
            ", started for this, with fsync"
        } else {
            ""
        }
    );

    let root = Client::connect(&cluster).await?;
    let dir = format!("/bench-{}", Uuid::new_v4());
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in [&dir, &format!("{dir}/ours"), &format!("{dir}/theirs")] {
        root.create(path, b"", &persistent).await?;
    }
    let mut ours = Ours::start(&root, &cluster, &format!("{dir}/ours")).await?;
    let mut theirs = Theirs::start(&cluster, &format!("{dir}/theirs"));
    if let Err(reason) = &theirs {
        println!("without Curator: {reason}");
    }
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..warm_up + rounds {
        let our_time = ours.hand_over().await?;
        let their_time = theirs.as_mut().ok().map(Theirs::hand_over).transpose()?;
        if round >= warm_up {
            our_times.push(our_time);
            their_times.extend(their_time);
        }
    }
    ours.end().await?;
    drop(theirs);
    report(our_times, their_times);
    for path in [&format!("{dir}/ours"), &format!("{dir}/theirs"), &dir] {
        // What a killed peer leaves goes with its sessions.
        let _ = root.delete(path, None).await;
    }
    Ok(())
}

fn report(ours: Vec<Duration>, theirs: Vec<Duration>) {
    println!("{:<28} {:>10} {:>10} {:>8}", "hand-over", "median", "p95", "/ ours");
    let ours = Quantiles::of(ours);
    ours.print("Leadership::resign", &ours);
    if !theirs.is_empty() {
        Quantiles::of(theirs).print("Curator LeaderLatch.close", &ours);
    }
}

/// Two sessions of ours that lead in turns.
struct Ours {
    root: Client,
    path: String,
    sessions: [Coordinator; 2],
    turn: usize,
    leadership: Option<Leadership>,
}

impl Ours {
    async fn start(root: &Client, cluster: &str, path: &str) -> Result<Self, Failure> {
        let connect = || ConnectOptions::new().session_timeout(SESSION_TIMEOUT).connect(cluster);
        let sessions = [connect().await?, connect().await?];
        let leadership = LeaderElection::new(&sessions[0], path)?.campaign("bench").await?;
        Ok(Self {
            root: root.clone(),
            path: path.to_owned(),
            sessions,
            turn: 0,
            leadership: Some(leadership),
        })
    }

    /// From before the leader resigns to the return of the other's campaign.
    async fn hand_over(&mut self) -> Result<Duration, Failure> {
        self.turn += 1;
        let election = LeaderElection::new(&self.sessions[self.turn % 2], &self.path)?;
        let next = tokio::spawn(async move {
            let leadership = election.campaign("bench").await;
            (leadership, Instant::now())
        });
        while self.root.list_children(&self.path).await?.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // It is in line and about to set its watch.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let leadership = self.leadership.take().ok_or("nobody leads")?;
        let resigned = Instant::now();
        leadership.resign().await?;
        let (leadership, elected) = next.await?;
        self.leadership = Some(leadership?);
        Ok(elected - resigned)
    }

    async fn end(mut self) -> Result<(), Failure> {
        if let Some(leadership) = self.leadership.take() {
            leadership.resign().await?;
        }
        for session in self.sessions {
            session.close().await;
        }
        Ok(())
    }
}

/// Two sessions of Curator that lead in turns, in a JVM.
struct Theirs {
    jvm: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Theirs {
    fn start(cluster: &str, path: &str) -> Result<Self, Failure> {
        let jars = JARS.map(|jar| format!("/usr/share/java/{jar}.jar"));
        if let Some(missing) = jars.iter().find(|jar| !Path::new(jar).exists()) {
            return Err(format!("no {missing}; apt-get install libcurator-recipes-java default-jdk-headless").into());
        }
        let classes = std::env::temp_dir().join(format!("bench-{}", Uuid::new_v4()));
        let classpath = format!("{}:{}", jars.join(":"), classes.display());
        let compiled = Command::new("javac")
            .args(["-cp", &classpath, "-d"])
            .arg(&classes)
            .arg(PEER)
            .status()?;
        if !compiled.success() {
            return Err(format!("javac: {compiled}").into());
        }
        let mut jvm = Command::new("java")
            .args([
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
                "-cp",
                &classpath,
                "LatchHandOff",
                cluster,
                path,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = jvm.stdin.take().ok_or("no input")?;
        let answers = BufReader::new(jvm.stdout.take().ok_or("no output")?);
        let mut theirs = Self { jvm, orders, answers };
        theirs.answer()?;
        // The classes are loaded.
        std::fs::remove_dir_all(classes)?;
        Ok(theirs)
    }

    fn hand_over(&mut self) -> Result<Duration, Failure> {
        writeln!(self.orders)?;
        Ok(Duration::from_nanos(self.answer()?.trim().parse()?))
    }

    fn answer(&mut self) -> Result<String, Failure> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // It ends without being asked twice.
        let _ = self.jvm.kill();
        let _ = self.jvm.wait();
    }
}
