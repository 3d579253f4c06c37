//! Whole processes that end: their places are free at once.

use std::env;
use std::error::Error;
use std::future::pending;
use std::io::{BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock};
use zookeeper_testkit::Fixture;

use super::HAND_OVER;
use crate::support::{LONG, PATIENCE, connect, granted, join_line, lock};

const HOW: &str = "LIFECYCLE_CHILD_ENDS";
const SERVERS: &str = "LIFECYCLE_CHILD_SERVERS";

/// The process that the tests below start: it holds a lock in a scope, and ends in the way that it is told.
#[test]
fn a_process_holds_until_it_ends() {
    let (Ok(how), Ok(servers)) = (env::var(HOW), env::var(SERVERS)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (go, mut gone) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().lock().read_line(&mut String::new());
        let _ = go.send(());
    });
    let options = ConnectOptions::new().session_timeout(LONG);
    match how.as_str() {
        "dropped runtime" => {
            runtime.spawn(async move { options.scope(&servers, |zk| hold(zk, pending())).await });
            gone.blocking_recv();
            drop(runtime);
        }
        "cancelled" => runtime.block_on(async {
            tokio::select! {
                _ = options.scope(&servers, |zk| hold(zk, pending())) => {}
                _ = gone.recv() => {}
            }
        }),
        "SIGTERM" => runtime.block_on(async {
            let mut terminated = signal(SignalKind::terminate()).unwrap();
            let end = async { _ = terminated.recv().await };
            let _ = options.scope(&servers, |zk| hold(zk, end)).await;
        }),
        "panic" => runtime.block_on(async {
            let work = |zk| async move {
                hold(zk, async { _ = gone.recv().await }).await.unwrap();
                panic!("on purpose");
            };
            let _ = options.scope(&servers, work).await;
        }),
        // An early return of `main` with an error.
        _ => runtime.block_on(async {
            let work = |zk: Coordinator| async move {
                let guard = FairLock::new(&zk, "/l")?.acquire().await?;
                gone.recv().await;
                "no number".parse::<u8>()?;
                guard.release().await?;
                Ok::<(), Box<dyn Error>>(())
            };
            let _ = options.scope(&servers, work).await;
        }),
    }
    std::process::exit(0);
}

async fn hold(zk: Coordinator, end: impl Future<Output = ()>) -> Result<(), zookeeper_recipes::Error> {
    let _guard = FairLock::new(&zk, "/l")?.acquire().await?;
    end.await;
    Ok(())
}

fn start(how: &str, servers: &str) -> Child {
    let test = "session::lifecycle::processes::a_process_holds_until_it_ends";
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOW, how)
        .env(SERVERS, servers)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How long it takes from the cause of the end to the next grant.
async fn hand_over(how: &str) -> Duration {
    let fixture = Fixture::new(how).await;
    let mut child = start(how, &fixture.connect_string());
    fixture.until_children("/l", 1).await;
    let next = join_line(&fixture, &lock(&connect(&fixture).await, "/l"), 2).await;
    let began = Instant::now();
    if how == "SIGTERM" {
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    } else {
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    let guard = granted(next).await;
    let took = began.elapsed();
    assert!(
        took < PATIENCE / 3,
        "{how}: it waited for the session to expire: {took:?}"
    );
    guard.release().await.unwrap();
    tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
    took
}

#[tokio::test]
async fn a_process_hands_over_however_it_ends() {
    for how in ["?", "SIGTERM", "panic", "dropped runtime", "cancelled"] {
        let mut best = PATIENCE;
        for _ in 0..3 {
            best = best.min(hand_over(how).await);
        }
        println!("measured: {how}: the next one granted {best:?} after the cause, at best of three");
        assert!(best < HAND_OVER, "{how}: {best:?}");
    }
}
