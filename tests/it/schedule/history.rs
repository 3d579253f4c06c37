//! Due times under leaders that stop, are cut off and vanish, and under a server that is restarted; `SCHEDULE_RUNS` is how
//! many due times there are at least.

use std::future;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time;
use zookeeper_recipes::{Coordinator, DueRun, LeaderElection, Misfire, Schedule, ScheduleError, Starts};
use zookeeper_testkit::{Fixture, Proxy, eventually, within};

use super::{LEADER, every};
use crate::support::{PATIENCE, connect, connect_here};

const TIMEOUT: Duration = Duration::from_secs(4);
const OUTAGE: Duration = Duration::from_secs(6);
const WORKERS: usize = 3;
const PERIOD: u64 = 25;

/// The jobs: each due time, at least once; and the latest of what was missed, at most once.
const ALL: &str = "/jobs/all";
const LATEST: &str = "/jobs/latest";

#[derive(Debug)]
enum Fault {
    /// As SIGSTOP: neither work nor session are served.
    Stop,
    /// As SIGKILL: all is dropped with its runtime, and another process starts.
    Kill,
}

#[derive(Default)]
struct Books {
    all: Mutex<Vec<DueRun>>,
    latest: Mutex<Vec<DueRun>>,
}

fn jobs(zk: &Coordinator) -> [Schedule; 2] {
    let all = every(zk, ALL, PERIOD).misfire(Misfire::RunAll);
    let latest = every(zk, LATEST, PERIOD).starts(Starts::AtMostOnce);
    [all.build().unwrap(), latest.build().unwrap()]
}

/// The process that leads now.
type Leader = watch::Sender<usize>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_due_time_is_recorded_once_under_faults() {
    let least: u64 = std::env::var("SCHEDULE_RUNS").map_or(600, |runs| runs.parse().unwrap());
    let fixture = Fixture::with_own_server("schedule history").await;
    let (books, leader, over) = (
        Arc::new(Books::default()),
        Leader::new(usize::MAX),
        watch::Sender::new(false),
    );
    let mut workers = Vec::new();
    for who in 0..WORKERS {
        let (proxy, servers) = fixture.proxied().await;
        let (books, leader, over) = (Arc::clone(&books), leader.clone(), over.subscribe());
        let (order, orders) = mpsc::unbounded_channel();
        let thread = thread::spawn(move || process(who, &servers, &books, &leader, over, orders));
        workers.push((proxy, order, thread));
    }
    let bystander = connect(&fixture).await;
    let [all, latest] = jobs(&bystander);
    // So that long histories take minutes: some forty faults, however many due times.
    let pace = (least / 40).max(20);
    for round in 0.. {
        let before = all.progress().await.unwrap().started;
        if before >= least && round >= 4 {
            break;
        }
        let moves_on = || async { all.progress().await.unwrap().started > before + pace };
        eventually(4 * PATIENCE, "the job runs", moves_on).await;
        let (proxy, order, _) = &workers[*leader.borrow()];
        match round % 4 {
            0 => order.send(Fault::Stop).unwrap(),
            1 => order.send(Fault::Kill).unwrap(),
            2 => {
                proxy.black_hole();
                time::sleep(OUTAGE).await;
                proxy.heal();
            }
            _ => fixture.server().restart().await,
        }
    }
    workers.iter().map(|(proxy, ..)| proxy).for_each(Proxy::heal);
    over.send_replace(true);
    for (.., thread) in workers {
        let joined = tokio::task::spawn_blocking(move || thread.join().unwrap());
        within(PATIENCE, "the process ends", joined).await.unwrap();
    }
    finish(&bystander, &all, &books).await;
    check(&books, &all, &latest).await;
    fixture.assert_no_nodes_left(&[ALL, LATEST]).await;
}

/// Leads once more, for the run that was recorded by a leader lost at the end.
async fn finish(zk: &Coordinator, all: &Schedule, books: &Books) {
    let election = LeaderElection::new(zk, LEADER).unwrap();
    let leadership = within(PATIENCE, "elected", election.campaign("last")).await.unwrap();
    let begun = Notify::new();
    let ended = all.run_until(&leadership, begun.notified(), |run| {
        begun.notify_one();
        work(run, &books.all)
    });
    within(PATIENCE, "the last run", ended).await.unwrap();
    leadership.resign().await.unwrap();
}

/// What the ensemble recorded, and what the processes have started.
async fn check(books: &Books, all: &Schedule, latest: &Schedule) {
    let recorded = all.progress().await.unwrap();
    let mut dues: Vec<_> = books.all.lock().unwrap().iter().map(|run| run.due).collect();
    let starts = dues.len();
    dues.sort_unstable();
    dues.dedup();
    assert_eq!(
        (recorded.started, recorded.skipped),
        (dues.len() as u64, 0),
        "each is recorded and started"
    );
    let period = Duration::from_millis(PERIOD);
    assert!(
        dues.windows(2)
            .all(|pair| pair[1].duration_since(pair[0]).unwrap() == period),
        "none is missing"
    );

    let recorded = latest.progress().await.unwrap();
    let runs = books.latest.lock().unwrap();
    let mut once: Vec<_> = runs.iter().map(|run| run.due).collect();
    once.dedup();
    assert_eq!(once.len(), runs.len(), "none starts twice");
    assert!(once.is_sorted() && once.len() as u64 <= recorded.started);
    println!(
        "{} due times recorded once, {starts} starts; at most once: {} recorded, {} started, {} skipped",
        dues.len(),
        recorded.started,
        runs.len(),
        recorded.skipped
    );
}

/// A process, and the next one after a kill.
fn process(
    who: usize,
    servers: &str,
    books: &Books,
    leader: &Leader,
    mut over: watch::Receiver<bool>,
    mut orders: mpsc::UnboundedReceiver<Fault>,
) {
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ended = runtime.block_on(async {
            tokio::select! {
                ended = live(who, servers, books, leader, over.clone()) => ended,
                () = suffer(&mut orders) => false,
            }
        });
        // Nothing is closed: what served the session ends here.
        runtime.shutdown_background();
        if ended || *over.borrow_and_update() {
            return;
        }
    }
}

/// Returns at a kill.
async fn suffer(orders: &mut mpsc::UnboundedReceiver<Fault>) {
    while let Some(fault) = orders.recv().await {
        match fault {
            Fault::Stop => thread::sleep(OUTAGE),
            Fault::Kill => return,
        }
    }
    future::pending::<()>().await;
}

async fn live(who: usize, servers: &str, books: &Books, leader: &Leader, over: watch::Receiver<bool>) -> bool {
    let zk = connect_here(servers, TIMEOUT).await;
    let jobs = jobs(&zk);
    let election = LeaderElection::new(&zk, LEADER).unwrap();
    let is_over = |mut over: watch::Receiver<bool>| async move {
        let _ = over.wait_for(|over| *over).await;
    };
    let led = election.run(who.to_string(), |leadership| {
        leader.send_replace(who);
        let (jobs, over) = (&jobs, over.clone());
        async move {
            let all = jobs[0].run_until(&leadership, is_over(over.clone()), |run| work(run, &books.all));
            let latest = jobs[1].run_until(&leadership, is_over(over), |run| work(run, &books.latest));
            match futures::future::join(all, latest).await {
                (Ok(()), Ok(())) => ControlFlow::Break(()),
                (all, latest) => {
                    let ended = [all, latest];
                    assert!(
                        ended
                            .iter()
                            .all(|ended| ended.as_ref().err().is_none_or(ScheduleError::is_lost)),
                        "{ended:?}"
                    );
                    ControlFlow::Continue(())
                }
            }
        }
    });
    tokio::select! {
        led = led => led.unwrap(),
        // Those who wait; the leader finishes its run.
        () = async { is_over(over.clone()).await; time::sleep(TIMEOUT).await } => {}
    }
    zk.close().await;
    true
}

async fn work(run: DueRun, book: &Mutex<Vec<DueRun>>) {
    assert!(run.now >= run.due, "{run:?} is early by the ensemble's time");
    // The server of this test runs on this machine, by the same clock.
    assert!(SystemTime::now() >= run.due, "{run:?} is early");
    let takes_long = run
        .due
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .is_multiple_of(1_000);
    book.lock().unwrap().push(run);
    time::sleep(Duration::from_millis(if takes_long { 3 * PERIOD } else { 1 })).await;
}
