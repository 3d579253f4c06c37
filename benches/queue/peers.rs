//! The queues of others, in processes of their own.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::peer::Peer;
use crate::table::Rates;

/// Curator's queue of its safe mode: an item is locked while it is consumed.
pub(crate) const SAFE: &str = "Curator DistributedQueue, lockPath";

const KAZOO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/kazoo/locking_queue.py");
const KAZOO_VERSION: &str = "2.11.0";

/// What each queue is, and how its peer knows it.
const CURATOR: [(&str, &str); 3] = [
    (SAFE, "safe"),
    ("  the same with an executor of 8 threads", "safe8"),
    ("Curator SimpleDistributedQueue, unsafe", "simple"),
];
const LOCKING: [(&str, &str); 2] = [
    ("kazoo LockingQueue", "put"),
    ("  the same with put_all of 100", "put_all"),
];

/// Of those that can be had here.
pub(crate) struct Peers {
    curator: Option<Peer>,
    kazoo: Option<Peer>,
}

impl Peers {
    /// Says which are missing.
    pub(crate) fn start(cluster: &str, dir: &str) -> Self {
        let said = |library: &str, peer: Result<Peer, Failure>| match peer {
            Ok(peer) => Some(peer),
            Err(reason) => {
                println!("without {library}: {reason}");
                None
            }
        };
        if env::args().any(|argument| argument == "--ours") {
            return Self {
                curator: None,
                kazoo: None,
            };
        }
        Self {
            curator: said("Curator", Peer::curator("Queues", &[cluster, dir])),
            kazoo: said("kazoo", kazoo(cluster, dir)),
        }
    }

    /// All queues of all peers: what they are, and their rates. A peer that fails, or hangs, is left out from then on.
    pub(crate) fn run(&mut self, items: usize) -> Vec<(&'static str, Rates)> {
        let curator = run_all(&mut self.curator, &CURATOR, items);
        curator
            .into_iter()
            .chain(run_all(&mut self.kazoo, &LOCKING, items))
            .collect()
    }
}

fn run_all(peer: &mut Option<Peer>, queues: &[(&'static str, &str)], items: usize) -> Vec<(&'static str, Rates)> {
    let mut rates = Vec::new();
    for (name, queue) in queues {
        let Some(running) = peer else { break };
        match run(running, queue, items) {
            Ok(measured) => rates.push((*name, measured)),
            Err(error) => {
                println!("{}, from here on without: {error}", name.trim());
                *peer = None;
            }
        }
    }
    rates
}

fn run(peer: &mut Peer, queue: &str, items: usize) -> Result<Rates, Failure> {
    let mut time = |order: &str| -> Result<Duration, Failure> {
        let answer = peer.ask(&format!("{queue} {order} {items}"))?;
        let nanos = answer.parse().map_err(|_| format!("{queue} {order}: {answer}"))?;
        Ok(Duration::from_nanos(nanos))
    };
    let (push, consume) = (time("push")?, time("consume")?);
    Ok(Rates::of(items, push, consume))
}

fn kazoo(cluster: &str, dir: &str) -> Result<Peer, Failure> {
    Peer::start(Command::new(python()?).args([KAZOO, cluster, dir]))
}

/// A Python that has kazoo: of `INTEROP_PYTHON`, or in the venv of `scripts/interop-test.sh`, which is made if need be.
fn python() -> Result<PathBuf, Failure> {
    if let Some(given) = env::var_os("INTEROP_PYTHON") {
        return Ok(given.into());
    }
    let program = env::current_exe()?;
    // <target>/release/deps/queue-<hash>
    let target = program.ancestors().nth(3).ok_or("no target directory")?;
    let venv = target.join("interop/venv");
    let python = venv.join("bin/python");
    let version = "import kazoo.version as v; print(v.__version__)";
    let found = Command::new(&python).args(["-c", version]).output();
    if found.is_ok_and(|found| found.stdout.trim_ascii() == KAZOO_VERSION.as_bytes()) {
        return Ok(python);
    }
    println!("installing kazoo {KAZOO_VERSION} (pip)");
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"];
    succeed(Command::new(&python).args(pip).arg(format!("kazoo=={KAZOO_VERSION}")))?;
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(())
}
