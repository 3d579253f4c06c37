//! `zkr watch`: a line for each event.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use zookeeper_testkit::{Fixture, within};

use crate::harness::{PATIENCE, Scratch, end, signal, start, zkr_ok};
use crate::looking::a_line;

type Printed = Lines<BufReader<ChildStdout>>;

fn watch(fixture: &Fixture, arguments: &[&str]) -> (Child, Printed) {
    let mut child = start(fixture, arguments);
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    (child, lines)
}

async fn next(lines: &mut Printed) -> String {
    let line = within(PATIENCE, "the next event", lines.next_line()).await;
    line.expect("it can be read").expect("it goes on")
}

async fn event(lines: &mut Printed) -> Value {
    let line = next(lines).await;
    let object = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    crate::schema::check(&object);
    object
}

/// The line without the moment in front of it.
async fn told(lines: &mut Printed) -> String {
    let line = next(lines).await;
    let (moment, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    assert_eq!((moment.len(), &moment[8..9]), (12, "."), "{line}");
    rest.to_owned()
}

#[tokio::test]
async fn a_watched_line_tells_each_event() {
    let fixture = Fixture::new("a_watched_line_tells_each_event").await;
    let (child, mut lines) = watch(&fixture, &["watch", "/pay/l"]);
    assert_eq!(told(&mut lines).await, "empty there is no node");
    let hold = |id| {
        start(
            &fixture,
            &["lock", "/pay/l", "--id", id, "--reason", "nightly", "--", "sleep", "60"],
        )
    };
    let one = hold("one");
    let granted = told(&mut lines).await;
    assert!(
        granted.starts_with("granted") && granted.contains("one waited 0s"),
        "{granted}"
    );
    let joined = told(&mut lines).await;
    assert!(
        joined.starts_with("joined") && joined.ends_with("one (nightly)"),
        "{joined}"
    );
    let two = hold("two");
    let joined = told(&mut lines).await;
    assert!(
        joined.starts_with("joined") && joined.ends_with("two (nightly)"),
        "{joined}"
    );
    zkr_ok(&fixture, &["ask", "/pay/l", "--reason", "deploy"]).await;
    let asked = told(&mut lines).await;
    assert!(asked.starts_with("asked") && asked.ends_with("(deploy)"), "{asked}");
    signal(&one, "TERM");
    let left = told(&mut lines).await;
    assert!(left.starts_with("left") && left.contains("one held"), "{left}");
    let granted = told(&mut lines).await;
    assert!(
        granted.starts_with("granted") && granted.contains("two waited"),
        "{granted}"
    );
    signal(&two, "TERM");
    let left = told(&mut lines).await;
    assert!(left.starts_with("left") && left.contains("two"), "{left}");
    for held in [one, two] {
        assert_eq!(end(held).await.status, 143);
    }
    signal(&child, "TERM");
    assert_eq!(end(child).await.status, 143);
    fixture.assert_no_nodes_left(&["/pay/l"]).await;
}

#[tokio::test]
async fn events_are_objects() {
    let fixture = Fixture::new("events_are_objects").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    let (child, mut lines) = watch(&fixture, &["--json", "watch", "/pay/l"]);
    let (holds, waits) = (event(&mut lines).await, event(&mut lines).await);
    assert_eq!((&holds["event"], &waits["event"]), (&"holds".into(), &"waits".into()));
    assert_eq!(holds["contender"]["identity"]["text"], "web-3:4711");
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
        let left = event(&mut lines).await;
        assert_eq!(left["event"], "left", "{left}");
    }
    signal(&child, "INT");
    assert_eq!(end(child).await.status, 130);
}

#[tokio::test]
async fn a_watched_queue_tells_its_depth() {
    let fixture = Fixture::new("a_watched_queue_tells_its_depth").await;
    zkr_ok(&fixture, &["queue", "push", "/q", "a"]).await;
    let (child, mut lines) = watch(&fixture, &["--json", "watch", "/q", "--every", "100ms"]);
    let depth = async |lines: &mut Printed, ready: u64| {
        let mut object = event(lines).await;
        while object["event"] != "queue" || object["ready"] != ready {
            object = event(lines).await;
        }
    };
    depth(&mut lines, 1).await;
    zkr_ok(&fixture, &["queue", "push", "/q", "b"]).await;
    depth(&mut lines, 2).await;
    signal(&child, "TERM");
    let _ = end(child).await;
}

#[tokio::test]
async fn a_watched_value_tells_its_versions() {
    let fixture = Fixture::new("a_watched_value_tells_its_versions").await;
    zkr_ok(&fixture, &["value", "set", "/v", "one"]).await;
    let (child, mut lines) = watch(&fixture, &["watch", "/v"]);
    assert_eq!(told(&mut lines).await, "data version 0, 3 bytes");
    zkr_ok(&fixture, &["value", "set", "/v", "three"]).await;
    assert_eq!(told(&mut lines).await, "data version 1, 5 bytes");
    signal(&child, "TERM");
    let _ = end(child).await;
}

#[tokio::test]
async fn a_watch_ends_with_its_pipe() {
    let fixture = Fixture::new("a_watch_ends_with_its_pipe").await;
    let (child, mut lines) = watch(&fixture, &["watch", "/l"]);
    assert_eq!(told(&mut lines).await, "empty there is no node");
    drop(lines);
    zkr_ok(&fixture, &["value", "set", "/l", "x"]).await;
    let done = end(child).await;
    assert_eq!((done.status, done.err.as_str()), (141, ""));
}
