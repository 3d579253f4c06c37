//! What it takes to hand leadership over: `LeaderElection`, whose leader resigns, beside Curator's `LeaderLatch`, whose
//! leader closes, in one run against one server: `cargo bench --bench election`.
//!
//! Both hand over between two sessions of one process, in turns, so that noise of the machine hits them alike. The peer
//! is Debian's Curator (`libcurator-recipes-java`, with `javac` from a JDK); where it is missing, that is said and only
//! ours is measured. The server is the one that `ZOOKEEPER_CONNECT` names, or a real one of its own whose transactions
//! wait for the disk as in production.

#[path = "common/peer.rs"]
mod peer;
#[path = "common/quantiles.rs"]
mod quantiles;
#[path = "common/server.rs"]
mod server;

use std::time::{Duration, Instant};

use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator, LeaderElection, Leadership};
use zookeeper_testkit::RealServer;

use self::peer::Peer;
use self::quantiles::Quantiles;
use self::server::BenchServer;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 500;
/// Until the peer's code is compiled.
const WARM_UP: usize = 300;
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Anything but `cargo bench` only wants to see that it runs.
    let (rounds, warm_up) = match std::env::args().any(|argument| argument == "--bench") {
        true => (ROUNDS, WARM_UP),
        false => (1, 1),
    };
    let server = BenchServer::find_or_start(RealServer::options()).await;
    let cluster = server.cluster();

    let root = Client::connect(cluster).await?;
    let dir = format!("/bench-{}", Uuid::new_v4());
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in [&dir, &format!("{dir}/ours"), &format!("{dir}/theirs")] {
        root.create(path, b"", &persistent).await?;
    }
    let mut ours = Ours::start(&root, cluster, &format!("{dir}/ours")).await?;
    let mut theirs = Theirs::start(cluster, &format!("{dir}/theirs"));
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
struct Theirs(Peer);

impl Theirs {
    fn start(cluster: &str, path: &str) -> Result<Self, Failure> {
        Peer::curator("LatchHandOff", &[cluster, path]).map(Self)
    }

    fn hand_over(&mut self) -> Result<Duration, Failure> {
        Ok(Duration::from_nanos(self.0.ask("")?.parse()?))
    }
}
