//! `lock`, `read`, `write`, `permit`, `elect`: what passes through, and what stays.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end, is_alive, signal, start, zkr, zkr_at, zkr_ok};

/// A command that says that it runs and goes on until it is told to end.
const WAITS: &str = "echo $$ > $F; exec sleep 60";

fn waiting<'a>(scratch: &Scratch, name: &str, verb: &[&'a str]) -> (Vec<&'a str>, String) {
    let script = WAITS.replace("$F", &scratch.file(name).display().to_string());
    (verb.to_vec(), script)
}

/// Starts a command that holds, and waits until it runs.
async fn hold(fixture: &Fixture, scratch: &Scratch, name: &str, verb: &[&str]) -> (tokio::process::Child, u32) {
    let (mut arguments, script) = waiting(scratch, name, verb);
    arguments.extend(["--", "sh", "-c", &script]);
    let child = start(fixture, &arguments);
    let pid = scratch
        .until_written(name)
        .await
        .trim()
        .parse()
        .expect("it wrote its id");
    (child, pid)
}

#[tokio::test]
async fn status_and_environment_pass_through() {
    let fixture = Fixture::new("status_and_environment_pass_through").await;
    let script = "echo $ZK_LOCK_PATH $ZK_LOCK_MODE $ZK_LOCK_TOKEN $ZK_LOCK_NODE; echo \"$ZK_LOCKS\"; exit 7";
    let verbs: [(&[&str], &str); 5] = [
        (&["lock", "/l"], "exclusive"),
        (&["read", "/r"], "shared"),
        (&["write", "/r"], "exclusive"),
        (&["permit", "/s", "--of", "2"], "permit"),
        (&["elect", "/e"], "leader"),
    ];
    for (verb, mode) in verbs {
        let mut arguments = verb.to_vec();
        arguments.extend(["--", "sh", "-c", script]);
        let done = zkr(&fixture, &arguments).await;
        assert_eq!(done.status, 7, "{done:?}");
        assert_eq!(done.err, "", "{verb:?}");
        let lines: Vec<&str> = done.out.lines().collect();
        let words: Vec<&str> = lines[0].split(' ').collect();
        assert_eq!(words[..2], [verb[1], mode]);
        assert!(words[2].parse::<i64>().is_ok_and(|token| token > 0), "{words:?}");
        assert!(words[3].starts_with(verb[1]), "{words:?}");
        let locks: Value = serde_json::from_str(lines[1]).expect("ZK_LOCKS is JSON");
        assert_eq!(locks[0]["path"], verb[1]);
    }
    fixture
        .assert_no_nodes_left(&["/l", "/r", "/s/leases", "/s/locks", "/e"])
        .await;
}

#[tokio::test]
async fn standard_input_reaches_the_command() {
    let fixture = Fixture::new("standard_input_reaches_the_command").await;
    let mut command = zkr_at(&fixture.connect_string(), &["lock", "/l", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("zkr was built");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"a\0b\nc").await.expect("it reads");
    drop(input);
    let done = end(child).await;
    assert_eq!((done.status, done.out.as_str()), (0, "a\0b\nc"));
}

#[tokio::test]
async fn a_held_lock_is_not_acquired() {
    let fixture = Fixture::new("a_held_lock_is_not_acquired").await;
    let scratch = Scratch::new();
    let (holder, _) = hold(&fixture, &scratch, "pid", &["lock", "/l", "--id", "batch-1"]).await;
    let refused = zkr(&fixture, &["lock", "/l", "-n", "-E", "9", "--", "true"]).await;
    assert_eq!(refused.status, 9, "{refused:?}");
    let late = zkr(&fixture, &["lock", "/l", "--wait", "8s", "--", "true"]).await;
    assert_eq!(late.status, 1, "{late:?}");
    assert!(
        late.err.contains("batch-1") && late.err.starts_with("zkr: /l"),
        "{late:?}"
    );
    signal(&holder, "TERM");
    assert_eq!(end(holder).await.status, 143);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn signals_while_waiting_leave_the_line() {
    let fixture = Fixture::new("signals_while_waiting_leave_the_line").await;
    let scratch = Scratch::new();
    let (holder, _) = hold(&fixture, &scratch, "pid", &["lock", "/l"]).await;
    for (name, status) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let waiter = start(&fixture, &["lock", "/l", "--", "true"]);
        fixture.until_children("/l", 2).await;
        signal(&waiter, name);
        assert_eq!(end(waiter).await.status, status);
        fixture.until_children("/l", 1).await;
    }
    signal(&holder, "INT");
    assert_eq!(end(holder).await.status, 130);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_command_may_end_a_signal_as_it_likes() {
    let fixture = Fixture::new("a_command_may_end_a_signal_as_it_likes").await;
    let scratch = Scratch::new();
    let file = scratch.file("ready").display().to_string();
    let script =
        format!("trap 'exit 5' TERM; trap 'echo usr1; exit 6' USR1; echo > {file}; while :; do sleep 0.05; done");
    for (name, status) in [("TERM", 5), ("USR1", 6)] {
        let _ = std::fs::remove_file(&file);
        let child = start(&fixture, &["lock", "/l", "--", "sh", "-c", &script]);
        scratch.until_written("ready").await;
        signal(&child, name);
        assert_eq!(end(child).await.status, status);
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn what_a_command_leaves_is_ended_before_the_release() {
    let fixture = Fixture::new("what_a_command_leaves_is_ended_before_the_release").await;
    let scratch = Scratch::new();
    let file = scratch.file("pids").display().to_string();
    // In its group, and in a session of its own.
    let script = format!(
        "sleep 60 & echo $! >> {file}; setsid sh -c 'echo $$ >> {file}; trap \"\" TERM; while :; do sleep 1; done' & until [ $(wc -l < {file}) = 2 ]; do sleep 0.02; done; exit 3"
    );
    let done = zkr(&fixture, &["lock", "/l", "--grace", "300ms", "--", "sh", "-c", &script]).await;
    assert_eq!(done.status, 3, "{done:?}");
    assert!(done.err.contains("has ended and left"), "{done:?}");
    for pid in scratch.text("pids").lines() {
        assert!(!is_alive(pid.parse().expect("an id")), "{pid} lives");
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn orphans_may_be_left_on_purpose() {
    let fixture = Fixture::new("orphans_may_be_left_on_purpose").await;
    let scratch = Scratch::new();
    let file = scratch.file("pid").display().to_string();
    let script = format!("sleep 60 >/dev/null 2>&1 & echo $! > {file}");
    let done = zkr(&fixture, &["lock", "/l", "--leave-orphans", "--", "sh", "-c", &script]).await;
    assert_eq!(done.status, 0, "{done:?}");
    let pid = scratch.text("pid").trim().parse().expect("an id");
    assert!(is_alive(pid));
    crate::harness::kill(pid, "KILL");
}

#[tokio::test]
async fn an_ancestor_of_the_command_holds_the_lock() {
    let fixture = Fixture::new("an_ancestor_of_the_command_holds_the_lock").await;
    let exe = env!("CARGO_BIN_EXE_zkr");
    let nested = [
        "lock", "/a", "--", exe, "lock", "/b", "--", exe, "lock", "/a", "--", "true",
    ];
    let done = zkr(&fixture, &nested).await;
    assert_eq!(done.status, 64, "{done:?}");
    assert!(
        done.err
            .contains("an ancestor of this command; locks are not reentrant"),
        "{done:?}"
    );
    let readers = [
        "read",
        "/r",
        "--",
        exe,
        "read",
        "/r",
        "--",
        "sh",
        "-c",
        "echo $ZK_LOCKS",
    ];
    assert!(zkr_ok(&fixture, &readers).await.matches("shared").count() == 2);
    fixture.assert_no_nodes_left(&["/a", "/b", "/r"]).await;
}

#[tokio::test]
async fn commands_that_cannot_start_are_told_as_by_a_shell() {
    let fixture = Fixture::new("commands_that_cannot_start_are_told_as_by_a_shell").await;
    let missing = zkr(&fixture, &["lock", "/l", "--", "no-such-command"]).await;
    assert_eq!(missing.status, 127, "{missing:?}");
    let forbidden = zkr(&fixture, &["lock", "/l", "--", "/etc/passwd"]).await;
    assert_eq!(forbidden.status, 126, "{forbidden:?}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn permits_are_counted_and_agreed_on() {
    let fixture = Fixture::new("permits_are_counted_and_agreed_on").await;
    let exe = env!("CARGO_BIN_EXE_zkr");
    let full = [
        "permit", "/s", "--of", "2", "--take", "2", "--", exe, "permit", "/s", "--of", "2", "-n", "--", "true",
    ];
    assert_eq!(zkr(&fixture, &full).await.status, 1);
    let other = zkr(&fixture, &["permit", "/s", "--of", "3", "--", "true"]).await;
    assert_eq!(other.status, 65, "{other:?}");
    let too_many = zkr(&fixture, &["permit", "/s", "--of", "2", "--take", "3", "--", "true"]).await;
    assert_eq!(too_many.status, 64, "{too_many:?}");
}

#[tokio::test]
async fn a_grace_that_does_not_fit_is_refused() {
    let fixture = Fixture::new("a_grace_that_does_not_fit_is_refused").await;
    let done = zkr(&fixture, &["lock", "/l", "--grace", "5s", "--", "true"]).await;
    assert_eq!(done.status, 64, "{done:?}");
    assert!(
        done.err.contains("at most 2.00s") && done.err.contains("--session-timeout 25s"),
        "{done:?}"
    );
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_hold_without_a_command_ends_with_its_input() {
    let fixture = Fixture::new("a_hold_without_a_command_ends_with_its_input").await;
    let mut command = zkr_at(&fixture.connect_string(), &["lock", "/l", "--hold"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("zkr was built");
    let input = child.stdin.take().expect("it is piped");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let held = lines.next_line().await.expect("it can be read").expect("a line");
    assert!(held.starts_with("held token=") && held.contains("node=/l/"), "{held}");
    drop(input);
    assert_eq!(end(child).await.status, 0);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_report_tells_how_it_ended() {
    let fixture = Fixture::new("a_report_tells_how_it_ended").await;
    let scratch = Scratch::new();
    let file = scratch.file("report").display().to_string();
    for (command, outcome, status) in [("exit 0", "released", 0), ("kill -9 $$", "signalled", 137)] {
        let done = zkr(&fixture, &["lock", "/l", "--report", &file, "--", "sh", "-c", command]).await;
        assert_eq!(done.status, status, "{done:?}");
        let report: Value = serde_json::from_str(&scratch.text("report")).expect("it is JSON");
        crate::schema::check(&report);
        assert_eq!(report["outcome"], outcome);
    }
}

#[tokio::test]
async fn credentials_are_not_inherited() {
    let fixture = Fixture::new("credentials_are_not_inherited").await;
    let show = ["--", "sh", "-c", "echo got:$ZOOKEEPER_AUTH"];
    for (extra, got) in [(&[][..], "got:\n"), (&["--pass-auth"][..], "got:digest:u:p\n")] {
        let mut arguments = vec!["lock", "/l"];
        arguments.extend(extra);
        arguments.extend(show);
        let mut command = zkr_at(&fixture.connect_string(), &arguments);
        let child = command
            .env("ZOOKEEPER_AUTH", "digest:u:p")
            .spawn()
            .expect("zkr was built");
        assert_eq!(end(child).await.out, got);
    }
}

#[tokio::test]
async fn several_locks_are_held_together() {
    let fixture = Fixture::new("several_locks_are_held_together").await;
    let exe = env!("CARGO_BIN_EXE_zkr");
    let both = ["lock", "/a", "--also", "/b", "--"];
    let mut tries = both.to_vec();
    tries.extend(["sh", "-c", "ZK_LOCKS= exec $0 lock /b -n -- true", exe]);
    let refused = zkr(&fixture, &tries).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    let mut nested = both.to_vec();
    nested.extend([exe, "lock", "/b", "--", "true"]);
    let refused = zkr(&fixture, &nested).await;
    assert_eq!(refused.status, 64, "{refused:?}");
    // None where one is held.
    let all_or_none = [
        "lock",
        "/b",
        "--",
        "sh",
        "-c",
        "ZK_LOCKS= $0 lock /a --also /b -n -- true; echo $?",
        exe,
    ];
    assert_eq!(zkr_ok(&fixture, &all_or_none).await, "1\n");
    fixture.assert_no_nodes_left(&["/a", "/b"]).await;
}
