//! On a pseudo-terminal, which `script` of util-linux makes.

use tokio::io::AsyncWriteExt as _;
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end, on_terminal, start, zkr_ok};

#[tokio::test]
async fn an_interrupt_reaches_the_command_once() {
    let fixture = Fixture::new("an_interrupt_reaches_the_command_once").await;
    let scratch = Scratch::new();
    let file = scratch.file("log").display().to_string();
    let script = format!("trap 'echo int >> {file}; exit 4' INT; echo ready > {file}; while :; do sleep 0.05; done");
    let mut child = on_terminal(&fixture, (80, 24), &format!("$zkr lock /l -- sh -c \"{script}\""));
    scratch.until_written("log").await;
    let mut keys = child.stdin.take().expect("it is piped");
    keys.write_all(b"\x03").await.expect("it reads");
    let done = end(child).await;
    assert_eq!(done.status, 4, "{done:?}");
    assert_eq!(scratch.text("log"), "ready\nint\n");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_stopped_command_goes_on() {
    let fixture = Fixture::new("a_stopped_command_goes_on").await;
    let scratch = Scratch::new();
    let file = scratch.file("log").display().to_string();
    let script = format!("echo ready > {file}; read line; echo got $line");
    let mut child = on_terminal(&fixture, (80, 24), &format!("$zkr lock /l -- sh -c '{script}'"));
    scratch.until_written("log").await;
    let mut keys = child.stdin.take().expect("it is piped");
    keys.write_all(b"\x1a").await.expect("it reads");
    keys.write_all(b"text\n").await.expect("it reads");
    let done = end(child).await;
    assert!(done.status == 0 && done.out.contains("got text"), "{done:?}");
}

#[tokio::test]
async fn tables_fit_into_80_columns() {
    let fixture = Fixture::new("tables_fit_into_80_columns").await;
    let scratch = Scratch::new();
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let group = zookeeper_recipes::Group::new(&zk, "/g").expect("a path");
    let member = group
        .join(&"long-name-".repeat(8), vec![b'x'; 200])
        .await
        .expect("it serves");
    let queue = zookeeper_recipes::queue::WorkQueue::new(&zk, "/q").expect("a path");
    queue.push("a").await.expect("it serves");
    let reason = "the card network did not answer ".repeat(4);
    queue
        .pop()
        .await
        .expect("it serves")
        .reject(reason.as_str())
        .await
        .expect("it is held");
    let path = format!(
        "/{}",
        ["settlement", "of", "the", "accounts", "in", "the", "north"].join("/")
    );
    let id = "a-host-with-a-long-name.example:4711".repeat(2);
    let file = scratch.file("ready").display().to_string();
    let hold = format!("echo > {file}; exec sleep 60");
    let mut holder = start(
        &fixture,
        &[
            "lock", &path, "--id", &id, "--reason", "nightly", "--", "sh", "-c", &hold,
        ],
    );
    scratch.until_written("ready").await;
    let live = zkr_ok(&fixture, &["queue", "push", "/q", &"b ".repeat(150)]).await;
    let live = live.trim();
    let commands = [
        "group /g".to_owned(),
        "ls /".to_owned(),
        "ls / --tree".to_owned(),
        format!("who {path}"),
        "queue stats /q".to_owned(),
        "queue stats /q --fast".to_owned(),
        format!("queue show /q {live}"),
        "queue dead /q".to_owned(),
        "top / --once".to_owned(),
        "doctor / --max-hold 0s --fail-on error".to_owned(),
    ];
    for command in commands {
        let done = end(on_terminal(&fixture, (80, 24), &format!("$zkr {command}"))).await;
        assert_eq!(done.status, 0, "{command}: {done:?}");
        assert!(!done.out.trim().is_empty(), "{command}");
        for line in done.out.lines() {
            assert!(line.trim_end().chars().count() <= 80, "{command}: {line}");
        }
    }
    holder.start_kill().expect("it runs");
    let _ = end(holder).await;
    member.leave().await;
    queue.close().await;
    zk.close().await;
}
