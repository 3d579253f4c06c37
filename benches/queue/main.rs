//! What a queue can do: `WorkQueue` beside the transactions that it is made of, Curator's `DistributedQueue` with a
//! lock path and `SimpleDistributedQueue`, and kazoo's `LockingQueue`, in one run against one server:
//!
//! ```text
//! cargo bench --bench queue                          # the table
//! cargo bench --bench queue -- --ours               # without the peers
//! cargo bench --bench queue -- --backlog 1000000     # what a backlog of so many items costs (scripts/backlog.sh)
//! ```
//!
//! Items of 100 bytes. In each round every variant pushes its items and then consumes them, one variant after the other,
//! so that noise of the machine hits them alike; the table has the medians. Curator is Debian's
//! (`libcurator-recipes-java`, with `javac` from a JDK), kazoo comes from PyPI; where one is missing, that is said and
//! the others are measured. The server is the one that `ZOOKEEPER_CONNECT` names, or a real one of its own whose
//! transactions wait for the disk as in production.

mod backlog;
mod floor;
mod ours;
#[path = "../common/peer.rs"]
mod peer;
mod peers;
#[path = "../common/server.rs"]
mod server;
mod table;

use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::queue::Order;
use zookeeper_testkit::RealServer;

use self::floor::Floor;
use self::ours::{Ours, SESSIONS};
use self::peers::{Peers, SAFE};
use self::server::BenchServer;
use self::table::Table;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As many bytes as every item has.
const PAYLOAD: [u8; 100] = [b'i'; 100];
/// Enough for 100,000 items.
const HEAP_MIB: u32 = 512;
/// Enough for a million.
const BACKLOG_HEAP_MIB: u32 = 2048;

const FLOOR_ONE: &str = "raw multis of 100, one in flight";
const FLOOR: &str = "raw multis of 100, four in flight";
const OURS: &str = "WorkQueue, 1 session";
const OURS_EIGHT: &str = "WorkQueue, 8 sessions";
const WORKERS: [(&str, usize, Order); 3] = [
    ("  workers, 1 session", 1, Order::Strict),
    ("  workers, 8 sessions", SESSIONS, Order::Strict),
    ("  workers, 8 sessions, window of 16", SESSIONS, Order::Window(16)),
];
const OURS_SERIAL: &str = "  one push, one pop and ack after the other";

const OURS_AHEAD: &str = "  the same with 16 items fetched ahead";

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Per round, of ours and of the floor.
    items: usize,
    /// Per round, of a peer.
    peer_items: usize,
    /// Until a peer's code is compiled.
    warm_up: usize,
    /// By which backlogs are divided.
    scale: usize,
}

impl Effort {
    /// Anything but `cargo bench` only wants to see that it runs.
    fn from_args() -> Self {
        if std::env::args().any(|argument| argument == "--bench") {
            Self {
                rounds: 5,
                items: 20_000,
                peer_items: 500,
                warm_up: 500,
                scale: 1,
            }
        } else {
            Self {
                rounds: 1,
                items: 200,
                peer_items: 10,
                warm_up: 1,
                scale: 100,
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let backlog = backlog_from_args()?;
    let heap = if backlog.is_some() { BACKLOG_HEAP_MIB } else { HEAP_MIB };
    let server = BenchServer::find_or_start(RealServer::options().heap_mib(heap)).await;
    let root = Client::connect(server.cluster()).await?;
    let dir = format!("/bench-{}", Uuid::new_v4());
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    root.create(&dir, b"", &persistent).await?;
    match backlog {
        Some(items) => backlog::show(&server, &dir, items).await?,
        None => measure(server.cluster(), &dir, Effort::from_args()).await?,
    }
    clean_up(&root, &dir).await
}

/// What follows `--backlog`.
fn backlog_from_args() -> Result<Option<usize>, Failure> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--backlog").skip(1);
    Ok(arguments.next().map(|items| items.parse()).transpose()?)
}

async fn measure(cluster: &str, dir: &str, effort: Effort) -> Result<(), Failure> {
    let floor = Floor::set_up(cluster, dir).await?;
    let ours = Ours::connect(cluster, dir).await?;
    let mut peers = Peers::start(cluster, dir);
    peers.run(effort.warm_up);

    let mut table = Table::default();
    for _ in 0..effort.rounds {
        for (name, in_flight) in [(FLOOR_ONE, 1), (FLOOR, 4)] {
            table.note(name, floor.run(effort.items, in_flight).await?);
        }
        for (name, sessions) in [(OURS, 1), (OURS_EIGHT, SESSIONS)] {
            table.note(name, ours.run(effort.items, sessions).await?);
        }
        for (name, sessions, order) in WORKERS {
            table.note(name, ours.work(effort.items / 2, sessions, order).await?);
        }
        table.note(OURS_SERIAL, ours.one_by_one(effort.peer_items).await?);
        table.note(OURS_AHEAD, ours.one_by_one_ahead(effort.peer_items).await?);
        for (name, rates) in peers.run(effort.peer_items) {
            table.note(name, rates);
        }
    }
    drop(peers);
    ours.close().await;
    table.print("/ raw", FLOOR);
    let growth = backlog::compare(cluster, dir, effort.scale, 3 * effort.rounds).await?;

    let rates = |name| table.rates(name).ok_or("not measured");
    let (one, eight) = (rates(OURS)?, rates(OURS_EIGHT)?);
    let workers = |place: usize| rates(WORKERS[place].0);
    let alone = workers(0)?.consume;
    at_least("workers of 8 sessions / 1 session", workers(1)?.consume / alone, 0.6);
    at_least("the same with a window of 16", workers(2)?.consume / alone, 1.5);
    at_least("WorkQueue push/s, 1 session", one.push, 20_000.0);
    at_least("WorkQueue push/s, 8 sessions", eight.push, 20_000.0);
    if let Some(safe) = table.rates(SAFE) {
        let what = |sessions| format!("pop + ack of {sessions} / Curator's safe consume");
        at_least(&what("1 session"), one.consume / safe.consume, 20.0);
        at_least(&what("8 sessions"), eight.consume / safe.consume, 20.0);
        let serial = rates(OURS_SERIAL)?.consume;
        at_least(
            "one pop and ack after the other / Curator's safe consume",
            serial / safe.consume,
            2.0,
        );
        at_least(
            "the same with items fetched ahead",
            rates(OURS_AHEAD)?.consume / safe.consume,
            2.0,
        );
    }
    at_most("time per item at 100,000 / at 1,000", growth, 1.3);
    Ok(())
}

fn at_least(what: &str, value: f64, limit: f64) {
    let verdict = if value >= limit { "met" } else { "MISSED" };
    println!("{what}: {value:.1}, aim at least {limit}: {verdict}");
}

fn at_most(what: &str, value: f64, limit: f64) {
    let verdict = if value <= limit { "met" } else { "MISSED" };
    println!("{what}: {value:.2}, aim at most {limit:.1}: {verdict}");
}

async fn clean_up(root: &Client, dir: &str) -> Result<(), Failure> {
    // Depth first, and what is gone already is well.
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        for name in root.list_children(&path).await.unwrap_or_default() {
            open.push(format!("{path}/{name}"));
        }
        found.push(path);
    }
    for path in found.iter().rev() {
        let _ = root.delete(path, None).await;
    }
    Ok(())
}
