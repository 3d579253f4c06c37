//! On a pseudo-terminal, which `script` of util-linux makes.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end};

/// Runs a shell command on a terminal of 80 columns.
fn on_terminal(fixture: &Fixture, command: &str) -> Child {
    let line = format!("stty cols 80 rows 24; {command}");
    Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("ZOOKEEPER_CONNECT", fixture.connect_string())
        .env("zkr", env!("CARGO_BIN_EXE_zkr"))
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script of util-linux is there")
}

#[tokio::test]
async fn an_interrupt_reaches_the_command_once() {
    let fixture = Fixture::new("an_interrupt_reaches_the_command_once").await;
    let scratch = Scratch::new();
    let file = scratch.file("log").display().to_string();
    let script = format!("trap 'echo int >> {file}; exit 4' INT; echo ready > {file}; while :; do sleep 0.05; done");
    let mut child = on_terminal(&fixture, &format!("$zkr lock /l -- sh -c \"{script}\""));
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
    let mut child = on_terminal(&fixture, &format!("$zkr lock /l -- sh -c '{script}'"));
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
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let group = zookeeper_recipes::Group::new(&zk, "/g").expect("a path");
    let member = group
        .join(&"long-name-".repeat(8), vec![b'x'; 200])
        .await
        .expect("it serves");
    let done = end(on_terminal(&fixture, "$zkr group /g")).await;
    assert_eq!(done.status, 0, "{done:?}");
    for line in done.out.lines() {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
    }
    member.leave().await;
    zk.close().await;
}
