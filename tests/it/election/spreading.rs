//! Of many elections each process leads about its share.

use std::collections::BTreeMap;
use std::future::pending;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future;
use tokio::task::JoinHandle;
use zookeeper_recipes::{LeaderElection, Leadership};
use zookeeper_testkit::{Fixture, eventually};

use crate::support::connect;
use crate::support::sessions::session_of;

const ELECTIONS: usize = 100;
const PROCESSES: usize = 5;

/// Who leads which election.
type Leaders = Arc<Mutex<BTreeMap<usize, usize>>>;

struct Process {
    session: zookeeper_client::SessionInfo,
    running: Vec<JoinHandle<()>>,
}

struct Leads(Leaders, usize, usize);

impl Drop for Leads {
    fn drop(&mut self) {
        let mut leaders = self.0.lock().unwrap();
        if leaders.get(&self.1) == Some(&self.2) {
            leaders.remove(&self.1);
        }
    }
}

fn path(election: usize) -> String {
    format!("/shards/shard-{election}")
}

async fn start(fixture: &Fixture, process: usize, leaders: &Leaders) -> Process {
    let zk = connect(fixture).await;
    let session = session_of(&zk).await;
    let running = (0..ELECTIONS).map(|index| {
        let builder = LeaderElection::builder(&zk, &path(index)).spread_as(format!("worker-{process}"));
        let builder = builder
            .hold_down(Duration::from_secs(2))
            .rank_grace(Duration::from_millis(100));
        let (election, leaders) = (builder.build().unwrap(), Arc::clone(leaders));
        tokio::spawn(async move {
            let work = |_: Arc<Leadership>| {
                leaders.lock().unwrap().insert(index, process);
                let leads = Leads(Arc::clone(&leaders), index, process);
                async move {
                    let _leads = leads;
                    pending::<ControlFlow<()>>().await
                }
            };
            let _ = election.run(format!("worker-{process}"), work).await;
        })
    });
    Process {
        session,
        running: running.collect(),
    }
}

/// What rendezvous hashing gives over these processes.
fn expected(processes: &[usize]) -> BTreeMap<usize, usize> {
    let rank = |election: usize, process: &usize| spread_rank(&path(election), &format!("worker-{process}"));
    let winner = |election| *processes.iter().max_by_key(|process| rank(election, process)).unwrap();
    (0..ELECTIONS).map(|election| (election, winner(election))).collect()
}

/// The rule of the docs, written a second time: processes of all versions have to agree on it.
fn spread_rank(path: &str, id: &str) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path.bytes().chain([0]).chain(id.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb_u64] {
        hash = (hash ^ (hash >> if factor == 0xbf58_476d_1ce4_e5b9 { 30 } else { 27 })).wrapping_mul(factor);
    }
    ((hash ^ (hash >> 31)) >> 32) as u32
}

fn shares(leaders: &BTreeMap<usize, usize>) -> Vec<usize> {
    let share = |process| leaders.values().filter(|leader| **leader == process).count();
    (0..PROCESSES).map(share).collect()
}

async fn settles(when: &str, leaders: &Leaders, processes: &[usize]) {
    let expected = expected(processes);
    let settled = || async { *leaders.lock().unwrap() == expected };
    eventually(Duration::from_secs(60), format!("spread {when}"), settled).await;
    let (led, hashed) = (shares(&leaders.lock().unwrap()), shares(&expected));
    let largest = |shares: &[usize]| shares.iter().max().copied().unwrap_or_default();
    println!(
        "{ELECTIONS} elections, {} processes, {when}: shares {led:?}, the largest {}; by rendezvous hashing {hashed:?}, the \
         largest {}",
        processes.len(),
        largest(&led),
        largest(&hashed)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_lead_their_share_despite_a_crash() {
    let fixture = Fixture::new("spreading").await;
    let leaders = Leaders::default();
    let started = (0..PROCESSES).map(|process| start(&fixture, process, &leaders));
    let mut processes: Vec<_> = future::join_all(started).await;
    let all: Vec<_> = (0..PROCESSES).collect();
    settles("at the start", &leaders, &all).await;

    let crashed = processes.remove(2);
    fixture.expire(&crashed.session).await;
    crashed.running.iter().for_each(JoinHandle::abort);
    settles("after a crash", &leaders, &[0, 1, 3, 4]).await;

    processes.push(start(&fixture, 2, &leaders).await);
    settles("after a restart", &leaders, &all).await;
    for process in &processes {
        process.running.iter().for_each(JoinHandle::abort);
    }
    let dirs: Vec<_> = (0..ELECTIONS)
        .flat_map(|index| [path(index), format!("{}-__election__", path(index))])
        .collect();
    let dirs: Vec<_> = std::iter::once("/shards")
        .chain(dirs.iter().map(String::as_str))
        .collect();
    fixture.assert_no_nodes_left(&dirs).await;
}
