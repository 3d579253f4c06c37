//! The command is dead before the ensemble can give its place away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::process::Child;
use zookeeper_testkit::{Fixture, eventually};

use crate::harness::{PATIENCE, Scratch, end, is_alive, kill, signal, start, zkr_at};

/// A command that does not listen to SIGTERM and writes each few milliseconds that it still runs.
fn stubborn(scratch: &Scratch) -> String {
    let directory = scratch.path().display();
    format!(
        "trap '' TERM; echo $PPID > {directory}/monitor; echo $$ > {directory}/pid; \
         while :; do date +%s%N > {directory}/next; mv {directory}/next {directory}/alive; sleep 0.02; done"
    )
}

const HOLDER: [&str; 6] = ["-t", "4s", "lock", "/l", "--", "sh"];

/// Starts the stubborn command through `connect`, and waits until it runs.
async fn hold(connect: &str, scratch: &Scratch) -> (Child, u32) {
    let script = stubborn(scratch);
    let mut arguments = HOLDER.to_vec();
    arguments.extend(["-c", &script]);
    let child = zkr_at(connect, &arguments).spawn().expect("zkr was built");
    scratch.until_written("alive").await;
    let pid = scratch.text("pid").trim().parse().expect("an id");
    (child, pid)
}

/// Waits in line behind it; prints when it was granted.
async fn successor(fixture: &Fixture) -> Child {
    let child = start(fixture, &["lock", "/l", "--", "date", "+%s%N"]);
    fixture.until_children("/l", 2).await;
    child
}

/// Fails unless the command was dead before the other one was granted; returns how long before.
async fn assert_dead_before(scratch: &Scratch, pid: u32, successor: Child) -> Duration {
    let granted = end(successor).await;
    assert_eq!(granted.status, 0, "{granted:?}");
    assert!(!is_alive(pid), "the command lives after the other one was granted");
    let granted: u64 = granted.out.trim().parse().expect("a moment");
    let last: u64 = scratch.text("alive").trim().parse().expect("a moment");
    assert!(
        last < granted,
        "it worked for {} ms after the grant",
        (last - granted) / 1_000_000
    );
    Duration::from_nanos(granted - last)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[tokio::test]
async fn a_dead_link_kills_the_command_in_time() {
    let fixture = Fixture::new("a_dead_link_kills_the_command_in_time").await;
    let (proxy, connect) = fixture.proxied().await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&connect, &scratch).await;
    let successor = successor(&fixture).await;
    proxy.black_hole();
    let cut = now();
    let ahead = assert_dead_before(&scratch, pid, successor).await;
    let done = end(holder).await;
    assert_eq!(done.status, 75, "{done:?}");
    assert!(
        done.err.contains("SIGTERM to sh") && done.err.contains("SIGKILL to sh"),
        "{done:?}"
    );
    println!(
        "dead {} ms before the next grant, {} ms after the cut",
        ahead.as_millis(),
        (now() - cut).as_millis()
    );
    fixture
        .assert_no_nodes_left_within(Duration::from_secs(20), &["/l"])
        .await;
}

#[tokio::test]
async fn a_short_cut_costs_nothing() {
    let fixture = Fixture::new("a_short_cut_costs_nothing").await;
    let (proxy, connect) = fixture.proxied().await;
    let scratch = Scratch::new();
    let file = scratch.file("go").display().to_string();
    let script = format!("until [ -e {file} ]; do sleep 0.02; done; exit 4");
    let holder = zkr_at(&connect, &["-t", "4s", "lock", "/l", "--", "sh", "-c", &script]).spawn();
    let holder = holder.expect("zkr was built");
    fixture.until_children("/l", 1).await;
    proxy.cut();
    eventually(PATIENCE, "it is connected again", async || proxy.connections() > 0).await;
    std::fs::write(&file, "").expect("it can be written");
    let done = end(holder).await;
    assert_eq!(done.status, 4, "{done:?}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_stopped_zkr_does_not_keep_the_command_alive() {
    let fixture = Fixture::new("a_stopped_zkr_does_not_keep_the_command_alive").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let successor = successor(&fixture).await;
    signal(&holder, "STOP");
    assert_dead_before(&scratch, pid, successor).await;
    signal(&holder, "CONT");
    let done = end(holder).await;
    assert_eq!(done.status, 75, "{done:?}");
    fixture
        .assert_no_nodes_left_within(Duration::from_secs(20), &["/l"])
        .await;
}

#[tokio::test]
async fn a_killed_zkr_takes_the_command_along() {
    let fixture = Fixture::new("a_killed_zkr_takes_the_command_along").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let monitor: u32 = scratch.text("monitor").trim().parse().expect("an id");
    let successor = successor(&fixture).await;
    signal(&holder, "KILL");
    assert_dead_before(&scratch, pid, successor).await;
    assert!(!is_alive(monitor), "the monitor lives");
    assert_eq!(end(holder).await.status, 137);
    fixture
        .assert_no_nodes_left_within(Duration::from_secs(20), &["/l"])
        .await;
}

#[tokio::test]
async fn a_killed_monitor_takes_the_command_along() {
    let fixture = Fixture::new("a_killed_monitor_takes_the_command_along").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let successor = successor(&fixture).await;
    kill(scratch.text("monitor").trim().parse().expect("an id"), "KILL");
    assert_dead_before(&scratch, pid, successor).await;
    let done = end(holder).await;
    assert_eq!(done.status, 70, "{done:?}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn both_killed_leave_no_command() {
    let fixture = Fixture::new("both_killed_leave_no_command").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let successor = successor(&fixture).await;
    signal(&holder, "STOP");
    kill(scratch.text("monitor").trim().parse().expect("an id"), "KILL");
    signal(&holder, "KILL");
    assert_dead_before(&scratch, pid, successor).await;
    drop(holder);
    fixture
        .assert_no_nodes_left_within(Duration::from_secs(20), &["/l"])
        .await;
}

#[tokio::test]
async fn a_removed_node_kills_the_command_at_once() {
    let fixture = Fixture::new("a_removed_node_kills_the_command_at_once").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let node = fixture.children("/l").await.remove(0);
    fixture
        .raw()
        .delete(&format!("/l/{node}"), None)
        .await
        .expect("it is there");
    let done = end(holder).await;
    assert_eq!(done.status, 75, "{done:?}");
    assert!(done.err.contains("removed by somebody else"), "{done:?}");
    assert!(!is_alive(pid));
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn an_expired_session_kills_the_command() {
    let fixture = Fixture::new("an_expired_session_kills_the_command").await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&fixture.connect_string(), &scratch).await;
    let successor = successor(&fixture).await;
    let name = fixture.children("/l").await;
    let owner = fixture
        .ephemerals()
        .await
        .into_iter()
        .find(|(path, _)| path.contains(&name[0]));
    assert!(owner.is_some());
    // Nothing answers any more, and the server counts the session out.
    signal(&holder, "STOP");
    assert_dead_before(&scratch, pid, successor).await;
    signal(&holder, "CONT");
    assert_eq!(end(holder).await.status, 75);
}

#[tokio::test]
async fn no_process_escapes_the_ladder() {
    let fixture = Fixture::new("no_process_escapes_the_ladder").await;
    let (proxy, connect) = fixture.proxied().await;
    let scratch = Scratch::new();
    let escaped = stubborn(&scratch);
    let script = format!("setsid sh -c \"{}\" & wait", escaped.replace('$', "\\$"));
    let holder = zkr_at(&connect, &["-t", "4s", "lock", "/l", "--", "sh", "-c", &script]).spawn();
    let holder = holder.expect("zkr was built");
    scratch.until_written("alive").await;
    let pid = scratch.text("pid").trim().parse().expect("an id");
    let successor = successor(&fixture).await;
    proxy.black_hole();
    assert_dead_before(&scratch, pid, successor).await;
    assert_eq!(end(holder).await.status, 75);
}

#[tokio::test]
async fn a_stopped_command_is_killed_in_time() {
    let fixture = Fixture::new("a_stopped_command_is_killed_in_time").await;
    let (proxy, connect) = fixture.proxied().await;
    let scratch = Scratch::new();
    let (holder, pid) = hold(&connect, &scratch).await;
    let successor = successor(&fixture).await;
    kill(pid, "STOP");
    proxy.black_hole();
    assert_dead_before(&scratch, pid, successor).await;
    assert_eq!(end(holder).await.status, 75);
}
