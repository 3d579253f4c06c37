//! `value`, `barrier`, `leader`, `group`, `server`, `completion`, `man`.

use tokio::io::{AsyncBufReadExt as _, BufReader};
use zookeeper_recipes::{Group, connect};
use zookeeper_testkit::{Fixture, within};

use crate::harness::{PATIENCE, Scratch, end, signal, start, zkr, zkr_at, zkr_json, zkr_ok};

#[tokio::test]
async fn values_are_written_read_and_compared() {
    let fixture = Fixture::new("values_are_written_read_and_compared").await;
    let none = zkr(&fixture, &["value", "get", "/v"]).await;
    assert_eq!((none.status, none.out.as_str()), (1, ""), "{none:?}");
    zkr_json(&fixture, &["value", "set", "/v", "30", "--if-version", "-1"], 0).await;
    assert_eq!(zkr_ok(&fixture, &["value", "get", "/v"]).await, "30");
    let value = zkr_json(&fixture, &["value", "get", "/v"], 0).await;
    assert_eq!((&value["value"]["text"], &value["version"]), (&"30".into(), &0.into()));
    zkr_ok(&fixture, &["value", "set", "/v", "31", "--if-version", "0"]).await;
    for stale in ["0", "-1"] {
        let done = zkr(&fixture, &["value", "set", "/v", "32", "--if-version", stale]).await;
        assert_eq!(done.status, 1, "{done:?}");
    }
    zkr_ok(&fixture, &["value", "set", "/n", "-5", "--as", "long"]).await;
    assert_eq!(zkr_ok(&fixture, &["value", "get", "/n", "--as", "long"]).await, "-5\n");
    zkr_json(&fixture, &["value", "get", "/n", "--as", "long"], 0).await;
    assert_eq!(
        zkr(&fixture, &["value", "set", "/n", "x", "--as", "long"]).await.status,
        64
    );
}

#[tokio::test]
async fn a_watched_value_prints_each_change() {
    let fixture = Fixture::new("a_watched_value_prints_each_change").await;
    let mut child = start(&fixture, &["value", "watch", "/v"]);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let next = lines.next_line().await.expect("it can be read");
    assert_eq!(next.as_deref(), Some("-"));
    zkr_ok(&fixture, &["value", "set", "/v", "a\u{1b}[2J"]).await;
    let next = within(PATIENCE, "the change", lines.next_line())
        .await
        .expect("it can be read");
    assert_eq!(next.as_deref(), Some("0 a\\x1b[2J"));
    signal(&child, "TERM");
    assert_eq!(end(child).await.status, 143);
}

#[tokio::test]
async fn barriers_are_set_waited_for_and_lifted() {
    let fixture = Fixture::new("barriers_are_set_waited_for_and_lifted").await;
    let unasked = zkr(&fixture, &["barrier", "set", "/b"]).await;
    assert_eq!(unasked.status, 64, "{unasked:?}");
    let open = zkr_json(&fixture, &["barrier", "status", "/b"], 1).await;
    assert_eq!(open["closed"], false);
    zkr_json(&fixture, &["barrier", "set", "/b", "--yes"], 0).await;
    let closed = zkr_json(&fixture, &["barrier", "status", "/b"], 0).await;
    assert!(closed["since"].is_string(), "{closed}");
    let waited = zkr(&fixture, &["barrier", "wait", "/b", "--wait", "200ms"]).await;
    assert_eq!(waited.status, 1, "{waited:?}");
    let waiter = start(&fixture, &["barrier", "wait", "/b"]);
    zkr_ok(&fixture, &["barrier", "lift", "/b", "--yes"]).await;
    assert_eq!(end(waiter).await.status, 0);
    fixture.assert_no_nodes_left(&["/b"]).await;
}

#[tokio::test]
async fn leaders_and_members_are_shown() {
    let fixture = Fixture::new("leaders_and_members_are_shown").await;
    assert_eq!(zkr(&fixture, &["leader", "/e"]).await.status, 1);
    assert_eq!(zkr(&fixture, &["group", "/g"]).await.status, 1);
    let exe = env!("CARGO_BIN_EXE_zkr");
    let led = zkr_ok(&fixture, &["elect", "/e", "--id", "s-1", "--", exe, "leader", "/e"]).await;
    assert_eq!(led, "s-1\n");
    let led = zkr_json(
        &fixture,
        &["elect", "/e", "--id", "s-1", "--", exe, "leader", "/e", "--json"],
        0,
    )
    .await;
    assert_eq!(led["leader"]["identity"]["text"], "s-1");
    let because = ["elect", "/e", "--id", "s-1", "--reason", "deploy", "--", exe];
    let who = zkr_ok(&fixture, &[&because[..], &["who", "/e"]].concat()).await;
    assert!(who.contains("#0 deploy"), "{who}");
    let led = zkr_ok(&fixture, &[&because[..], &["leader", "/e"]].concat()).await;
    assert_eq!(led, "s-1\n");

    let zk = connect(&fixture.connect_string()).await.expect("it serves");
    let group = Group::new(&zk, "/g").expect("a path");
    let member = group.join("w7", "data").await.expect("it serves");
    let shown = zkr_json(&fixture, &["group", "/g"], 0).await;
    assert_eq!(shown["members"][0]["id"], "w7");
    assert!(zkr_ok(&fixture, &["group", "/g"]).await.contains("w7"));
    member.leave().await;
    zk.close().await;
    fixture.assert_no_nodes_left(&["/e", "/g"]).await;
}

#[tokio::test]
async fn the_embedded_server_serves_a_command() {
    let exe = env!("CARGO_BIN_EXE_zkr");
    let run = [
        "server",
        "start",
        "--listen",
        "127.0.0.1:0",
        "--",
        exe,
        "lock",
        "/l",
        "--",
        "sh",
        "-c",
        "exit 3",
    ];
    let done = end(zkr_at("", &run).spawn().expect("zkr was built")).await;
    assert_eq!(done.status, 3, "{done:?}");
    let mut server = zkr_at("", &["server", "start", "--listen", "127.0.0.1:0", "--json"])
        .spawn()
        .expect("built");
    let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    let ready = lines.next_line().await.expect("it can be read").expect("a line");
    let ready = serde_json::from_str(&ready).expect("it is JSON");
    crate::schema::check(&ready);
    let address = ready["connect"].as_str().expect("text");
    let taken = end(zkr_at("", &["server", "start", "--listen", address])
        .spawn()
        .expect("built"))
    .await;
    assert_eq!(taken.status, 69, "{taken:?}");
    signal(&server, "TERM");
    assert_eq!(end(server).await.status, 0);
    let open = end(zkr_at("", &["server", "start", "--listen", "0.0.0.0:0"])
        .spawn()
        .expect("built"))
    .await;
    assert_eq!(open.status, 64, "{open:?}");
}

#[tokio::test]
async fn completions_and_pages_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = end(zkr_at("", &["completion", shell]).spawn().expect("built")).await;
        assert!(done.status == 0 && done.out.contains("zkr"), "{shell}: {done:?}");
    }
    let scratch = Scratch::new();
    let directory = scratch.path().display().to_string();
    let done = end(zkr_at("", &["man", &directory]).spawn().expect("built")).await;
    assert_eq!(done.status, 0, "{done:?}");
    assert!(scratch.text("zkr.1").contains("zkr") && scratch.text("zkr-lock.1").contains("grace"));
    let help = end(zkr_at("", &["--help"]).spawn().expect("built")).await;
    assert_eq!(help.status, 0, "{help:?}");
}

#[tokio::test]
async fn a_closed_pipe_ends_it_silently() {
    let fixture = Fixture::new("a_closed_pipe_ends_it_silently").await;
    let mut child = start(&fixture, &["value", "watch", "/v"]);
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let _ = lines.next_line().await;
    drop(lines);
    zkr_ok(&fixture, &["value", "set", "/v", "1"]).await;
    let done = end(child).await;
    assert_eq!((done.status, done.err.as_str()), (141, ""));
}
