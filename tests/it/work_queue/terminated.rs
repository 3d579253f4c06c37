//! A worker in a process of its own, which is told to end (SIGTERM) in full work.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use zookeeper_recipes::ConnectOptions;
use zookeeper_recipes::queue::{Job, WorkQueue};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, claims, clean, queue, text};
use crate::support::{PATIENCE, connect};

const ITEMS: usize = 400;
/// The item whose handler never ends.
const HANGING: &str = "005";
const DRAIN: Duration = Duration::from_secs(1);
/// Longer than all of that, so that its end ends nothing here.
const SESSION: Duration = Duration::from_secs(6);

/// The time to drain, as long again to write what was done; and a busy machine.
const RUN: Duration = Duration::from_millis(2_000 + 1_500);
/// And a third of a session to close it.
const BOUND: Duration = Duration::from_millis(2_000 + 2_000 + 2_000);

/// Where the process of the worker finds its servers.
const SERVERS: &str = "ZK_WORKER_SERVERS";

/// A worker's process, and what it has said. It is killed when this is dropped.
struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    fn start(servers: &str) -> Self {
        let this = std::env::current_exe().unwrap();
        let body = ["--exact", "work_queue::terminated::worker_process"];
        let mut child = Command::new(this)
            .args(body.iter().chain(&["--ignored", "--nocapture"]))
            .env(SERVERS, servers)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match line.strip_prefix("> ") {
                    Some(said) => heard.lock().unwrap().push(said.to_owned()),
                    None => eprintln!("the worker's process: {line}"),
                }
            }
        });
        Self { child, said }
    }

    /// The items of which it said this.
    fn said(&self, word: &str) -> BTreeSet<String> {
        let said = self.said.lock().unwrap();
        let words = said.iter().filter_map(|line| line.split_once(' '));
        words
            .filter(|(said, _)| *said == word)
            .map(|(_, item)| item.to_owned())
            .collect()
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What its summary said: how many were done, aborted and lost.
    async fn summary(&self) -> [usize; 3] {
        eventually(PATIENCE, "a summary", || async { !self.said("ended").is_empty() }).await;
        let summary = self.said("ended").pop_first().unwrap();
        let counts: Vec<usize> = summary.split(' ').map(|count| count.parse().unwrap()).collect();
        counts.try_into().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the body of the worker's process, which other tests start"]
fn worker_process() {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let servers = std::env::var(SERVERS).expect("this is no test, but what other tests start");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).unwrap();
        let options = ConnectOptions::new().session_timeout(SESSION);
        let zk = options.connect(&servers).await.unwrap();
        let worker = WorkQueue::new(&zk, PATH).unwrap().worker();
        let worker = worker.concurrency(16).prefetch(64).drain(DRAIN);
        let worker = worker.shutdown(async move {
            terminated.recv().await;
        });
        let ran = worker.run(|job: Job| async move {
            let item = String::from_utf8(job.payload().to_vec()).unwrap();
            eprintln!("> began {item}");
            if item == HANGING {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            eprintln!("> worked {item}");
            Ok::<_, String>(())
        });
        let summary = ran.await.unwrap();
        eprintln!("> returned");
        assert_eq!((summary.failed, summary.panicked, summary.rejected), (0, 0, 0));
        zk.close().await;
        eprintln!("> ended {} {} {}", summary.done, summary.aborted, summary.lost);
    });
}

/// Ends a worker in full work, and returns its summary, what it began, and what is left in the queue, with the attempts.
async fn terminate(fixture: &Fixture, theirs: &WorkQueue, frozen: bool) -> (Process, Vec<(String, u32)>) {
    theirs
        .push_all((0..ITEMS).map(|number| format!("{number:03}")))
        .await
        .unwrap();
    let mut process = Process::start(&fixture.connect_string());
    eventually(PATIENCE, "full work", || async { process.said("worked").len() > 60 }).await;
    if frozen {
        fixture.server().freeze().await;
    }
    let told = Instant::now();
    process.terminate();
    let returned = async || process.said.lock().unwrap().iter().any(|line| line == "returned");
    eventually(PATIENCE, "the worker returns", returned).await;
    let ran = told.elapsed();
    let status = within(PATIENCE, "the process ends", process.ended()).await;
    let took = told.elapsed();
    if frozen {
        fixture.server().thaw().await;
    }
    assert!(status.success(), "{status}");
    assert!(
        ran < RUN && took < BOUND,
        "it took {ran:?} to return, and {took:?} to end"
    );
    println!(
        "frozen: {frozen}; returned after {ran:?}, ended after {took:?}: {:?}",
        process.summary().await
    );
    eventually(PATIENCE, "its claims are gone", || async {
        claims(fixture, PATH).await == 0
    })
    .await;
    let mut left = Vec::new();
    while let Some(delivery) = within(PATIENCE, "an answer", theirs.try_pop()).await.unwrap() {
        left.push((text(&delivery), delivery.attempt()));
        delivery.ack().await.unwrap();
    }
    (process, left)
}

#[tokio::test]
async fn sigterm_ends_a_worker_without_losing_items() {
    let fixture = Fixture::with_own_server("sigterm").await;
    let theirs = queue(&connect(&fixture).await);
    let (process, left) = terminate(&fixture, &theirs, false).await;
    let [done, aborted, lost] = process.summary().await;
    let (began, worked) = (process.said("began"), process.said("worked"));
    assert_eq!((done, aborted, lost), (began.len() - 1, 1, 0));
    let expected: Vec<(String, u32)> = (0..ITEMS)
        .map(|number| format!("{number:03}"))
        .filter(|item| !worked.contains(item))
        .map(|item| (item.clone(), 1 + u32::from(item == HANGING)))
        .collect();
    assert_eq!(left, expected, "what was not handed out is untried, in order");
    clean(&fixture, [theirs]).await;
}

#[tokio::test]
async fn sigterm_ends_a_worker_beside_a_frozen_server() {
    let fixture = Fixture::with_own_server("sigterm, frozen").await;
    let theirs = queue(&connect(&fixture).await);
    let (process, left) = terminate(&fixture, &theirs, true).await;
    let [done, aborted, lost] = process.summary().await;
    let (began, worked) = (process.said("began"), process.said("worked"));
    assert_eq!(done + aborted + lost, began.len());
    let acknowledged = ITEMS - left.len();
    assert!(
        (done..=done + lost).contains(&acknowledged),
        "{acknowledged} of {done} and {lost}"
    );
    let left_items: BTreeSet<String> = left.iter().map(|(item, _)| item.clone()).collect();
    assert_eq!(left_items.len(), left.len(), "none comes twice");
    let all = (0..ITEMS).map(|number| format!("{number:03}"));
    let neither: Vec<String> = all
        .filter(|item| !left_items.contains(item) && !worked.contains(item))
        .collect();
    assert_eq!(neither, [""; 0], "these are gone, and were not worked on");
    assert!(left.iter().all(|(_, attempt)| *attempt <= 2), "{left:?}");
    clean(&fixture, [theirs]).await;
}
