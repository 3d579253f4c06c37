//! `zkr queue`.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end, signal, start, zkr, zkr_at, zkr_json, zkr_ok};

#[tokio::test]
async fn a_key_is_pushed_once() {
    let fixture = Fixture::new("a_key_is_pushed_once").await;
    let first = zkr_ok(&fixture, &["queue", "push", "/q", "a", "--key", "k"]).await;
    let again = zkr_json(&fixture, &["queue", "push", "/q", "a", "--key", "k"], 0).await;
    assert_eq!(again["ids"][0], first.trim());
    let stats = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    assert_eq!((&stats["ready"], &stats["claimed"]), (&1.into(), &0.into()));
}

#[tokio::test]
async fn lines_become_items_in_order() {
    let fixture = Fixture::new("lines_become_items_in_order").await;
    let mut command = zkr_at(&fixture.connect_string(), &["queue", "push", "/q", "--lines"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("built");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"one\ntwo\nthree\n").await.expect("it reads");
    drop(input);
    let done = end(child).await;
    assert_eq!((done.status, done.out.lines().count()), (0, 3), "{done:?}");
    for word in ["one", "two", "three"] {
        assert_eq!(zkr_ok(&fixture, &["queue", "pop", "/q", "-n"]).await, word);
    }
    let empty = zkr(&fixture, &["queue", "pop", "/q", "-n"]).await;
    assert_eq!(empty.status, 1, "{empty:?}");
    let empty = zkr(&fixture, &["queue", "pop", "/q", "--wait", "200ms"]).await;
    assert_eq!(empty.status, 1, "{empty:?}");
}

#[tokio::test]
async fn a_command_acknowledges_what_it_has_done() {
    let fixture = Fixture::new("a_command_acknowledges_what_it_has_done").await;
    let id = zkr_ok(&fixture, &["queue", "push", "/q", "payload", "--key", "k"]).await;
    let script = "cat; echo \" $ZK_ITEM_ID $ZK_ITEM_ATTEMPT $ZK_ITEM_KEY $ZK_ITEM_QUEUE\"; exit 9";
    let failed = zkr(&fixture, &["queue", "pop", "/q", "-n", "--", "sh", "-c", script]).await;
    assert_eq!(failed.status, 9, "{failed:?}");
    assert_eq!(failed.out, format!("payload {} 1 k /q\n", id.trim()));
    let done = zkr(&fixture, &["queue", "pop", "/q", "--wait", "20s", "--", "cat"]).await;
    assert_eq!((done.status, done.out.as_str()), (0, "payload"), "{done:?}");
    let stats = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    assert_eq!(
        (&stats["ready"], &stats["claimed"], &stats["dead"]),
        (&0.into(), &0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_repeated_pop_finishes_the_item_it_has() {
    let fixture = Fixture::new("a_repeated_pop_finishes_the_item_it_has").await;
    let scratch = Scratch::new();
    let file = scratch.file("items").display().to_string();
    zkr_ok(&fixture, &["queue", "push", "/q", "a"]).await;
    zkr_ok(&fixture, &["queue", "push", "/q", "b"]).await;
    let script = format!("cat >> {file}; echo >> {file}");
    let child = start(&fixture, &["queue", "pop", "/q", "--repeat", "--", "sh", "-c", &script]);
    zookeeper_testkit::eventually(crate::harness::PATIENCE, "both are handled", async || {
        scratch.text("items") == "a\nb\n"
    })
    .await;
    signal(&child, "TERM");
    let done = end(child).await;
    assert!([0, 143].contains(&done.status), "{done:?}");
    let stats = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    assert_eq!(stats["claimed"], 0);
}

#[tokio::test]
async fn a_paused_queue_delivers_nothing() {
    let fixture = Fixture::new("a_paused_queue_delivers_nothing").await;
    zkr_ok(&fixture, &["queue", "push", "/q", "a"]).await;
    zkr_json(&fixture, &["queue", "pause", "/q", "--reason", "the cards are away"], 0).await;
    let stats = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    assert_eq!(
        (&stats["paused"], &stats["pause_reason"]),
        (&true.into(), &"the cards are away".into())
    );
    assert!(stats["paused_by"].as_str().is_some_and(|by| !by.is_empty()), "{stats}");
    assert_eq!(
        zkr(&fixture, &["queue", "pop", "/q", "--wait", "300ms"]).await.status,
        1
    );
    let text = zkr_ok(&fixture, &["queue", "stats", "/q"]).await;
    assert!(
        text.contains(", paused by ") && text.contains(": the cards are away\n"),
        "{text}"
    );
    zkr_json(&fixture, &["queue", "resume", "/q"], 0).await;
    assert_eq!(zkr_ok(&fixture, &["queue", "pop", "/q", "--wait", "20s"]).await, "a");
}

#[tokio::test]
async fn dead_letters_are_shown_and_repaired() {
    let fixture = Fixture::new("dead_letters_are_shown_and_repaired").await;
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let queue = WorkQueue::new(&zk, "/q").expect("a path");
    let mut ids = Vec::new();
    for payload in ["bad", "worse"] {
        ids.push(queue.push(payload).await.expect("it serves").to_string());
        let delivery = queue.pop().await.expect("it serves");
        delivery.reject("not JSON").await.expect("it is held");
    }
    let page = zkr_json(&fixture, &["queue", "dead", "/q", "--limit", "1"], 0).await;
    assert_eq!(
        (page["items"].as_array().map(Vec::len), page["next"].is_string()),
        (Some(1), true),
        "{page}"
    );
    let table = zkr_ok(&fixture, &["queue", "dead", "/q"]).await;
    assert!(table.contains("not JSON") && table.contains("2 of 2"), "{table}");
    let shown = zkr_json(&fixture, &["queue", "show", "/q", &ids[0]], 0).await;
    assert_eq!(
        (&shown["status"], &shown["payload"]["text"]),
        (&"dead".into(), &"bad".into())
    );
    assert_eq!(
        zkr_ok(&fixture, &["queue", "show", "/q", &ids[0], "--raw"]).await,
        "bad"
    );
    let unasked = zkr(&fixture, &["queue", "purge", "/q", "--all"]).await;
    assert_eq!(unasked.status, 64, "{unasked:?}");
    let redriven = zkr_json(&fixture, &["queue", "redrive", "/q", &ids[0]], 0).await;
    assert_eq!(redriven["count"], 1);
    let purged = zkr_json(&fixture, &["queue", "purge", "/q", "--all", "--yes"], 0).await;
    assert_eq!(purged["count"], 1);
    let gone = zkr(&fixture, &["queue", "redrive", "/q", &ids[1]]).await;
    assert_eq!(gone.status, 1, "{gone:?}");
    queue.close().await;
    zk.close().await;
}

#[tokio::test]
async fn a_peek_shows_what_is_next_and_claims_nothing() {
    let fixture = Fixture::new("a_peek_shows_what_is_next_and_claims_nothing").await;
    let peek = ["queue", "pop", "/q", "--peek"];
    let missing = zkr(&fixture, &peek).await;
    assert_eq!((missing.status, missing.out.as_str()), (1, ""), "{missing:?}");
    assert!(fixture.tree().await.is_empty(), "no queue is made");
    zkr_ok(&fixture, &["queue", "push", "/q", "later", "--delay", "10m"]).await;
    let delayed = zkr(&fixture, &peek).await;
    assert_eq!(delayed.status, 1, "{delayed:?}");
    assert!(delayed.err.contains("zkr queue stats"), "{delayed:?}");
    let first = zkr_ok(&fixture, &["queue", "push", "/q", "first", "--key", "k"]).await;
    zkr_ok(&fixture, &["queue", "push", "/q", "an\x1b[2J escape"]).await;
    // Directories of ledgers are containers, which come and go.
    let nodes = async || {
        let all = fixture.tree().await.into_iter();
        let lasting = all.filter(|(path, _)| !path.contains("/ledgers"));
        lasting.map(|(path, stat)| (path, stat.mzxid)).collect::<Vec<_>>()
    };
    let before = nodes().await;
    for _ in 0..2 {
        assert_eq!(zkr_ok(&fixture, &peek).await, "first");
    }
    let item = zkr_json(&fixture, &peek, 0).await;
    assert_eq!((&item["id"], &item["status"]), (&first.trim().into(), &"ready".into()));
    assert_eq!(
        (&item["key"], &item["attempt"], &item["payload"]["text"]),
        (&"k".into(), &0.into(), &"first".into())
    );
    let list = zkr_ok(&fixture, &["queue", "pop", "/q", "--peek=5"]).await;
    let rows: Vec<&str> = list.lines().collect();
    assert_eq!(rows.len(), 3, "{list}");
    assert!(
        rows[1].ends_with("first") && rows[2].ends_with(r"an\x1b[2J escape"),
        "{list}"
    );
    assert_eq!(nodes().await, before);
    assert_eq!(zkr_ok(&fixture, &["queue", "pop", "/q", "-n"]).await, "first");
}

#[tokio::test]
async fn a_peek_with_what_pops_is_refused() {
    let fixture = Fixture::new("a_peek_with_what_pops_is_refused").await;
    for extra in [
        &["-n"][..],
        &["--wait", "1s"],
        &["--", "true"],
        &["--peek=0"],
        &["--peek=513"],
    ] {
        let arguments = [&["queue", "pop", "/q", "--peek"][..], extra].concat();
        let refused = zkr(&fixture, &arguments).await;
        assert_eq!(refused.status, 64, "{arguments:?}: {refused:?}");
    }
    zkr_ok(&fixture, &["value", "set", "/v", "text"]).await;
    let foreign = zkr(&fixture, &["queue", "pop", "/v", "--peek"]).await;
    assert_eq!(foreign.status, 65, "{foreign:?}");
}

#[tokio::test]
async fn fast_numbers_tell_claims_and_count_nothing() {
    let fixture = Fixture::new("fast_numbers_tell_claims_and_count_nothing").await;
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let queue = WorkQueue::new(&zk, "/q").expect("a path");
    for payload in ["a", "b", "c"] {
        queue.push(payload).await.expect("it serves");
    }
    let held = queue.pop().await.expect("it serves");
    let client = zk.client().await.expect("it serves");
    let session = format!("{:#x}", client.session_id().0);
    queue.pause_because("deploy").await.expect("it serves");
    let fast = zkr_json(&fixture, &["queue", "stats", "/q", "--fast"], 0).await;
    for uncounted in ["ready", "delayed", "claimed", "dead", "oldest_ready_s", "turnover"] {
        assert!(fast[uncounted].is_null(), "{uncounted}: {fast}");
    }
    assert_eq!((&fast["counted"], &fast["paused"]), (&false.into(), &true.into()));
    let consumer = &fast["consumers"][0];
    assert_eq!(
        (&consumer["claims"], &consumer["session"]),
        (&1.into(), &session.as_str().into()),
        "{fast}"
    );
    assert!(consumer["deadline_s"].is_null(), "{fast}");
    let all = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    assert_eq!((&all["counted"], &all["ready"]), (&true.into(), &2.into()));
    let text = zkr_ok(&fixture, &["queue", "stats", "/q", "--fast"]).await;
    assert!(
        text.contains("paused by ") && text.contains("claimed at least 1"),
        "{text}"
    );
    assert!(text.contains("not counted") && !text.contains("ready"), "{text}");
    held.ack().await.expect("it is held");
    queue.close().await;
    zk.close().await;
}

#[tokio::test]
async fn consumers_are_told_with_their_deadlines() {
    let fixture = Fixture::new("consumers_are_told_with_their_deadlines").await;
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let limit = Duration::from_secs(60);
    let queue = WorkQueue::builder(&zk, "/q")
        .claim_timeout(limit)
        .build()
        .expect("a path");
    let mut held = Vec::new();
    for payload in ["a", "b"] {
        queue.push(payload).await.expect("it serves");
        held.push(queue.pop().await.expect("it serves"));
    }
    let stats = zkr_json(&fixture, &["queue", "stats", "/q"], 0).await;
    let consumers = stats["consumers"].as_array().expect("an array");
    assert_eq!((consumers.len(), &consumers[0]["claims"]), (1, &2.into()), "{stats}");
    let left = consumers[0]["deadline_s"].as_f64().expect("a number");
    assert!(left > 0.0 && left <= 61.0, "{stats}");
    let text = zkr_ok(&fixture, &["queue", "stats", "/q"]).await;
    assert!(text.contains("OLDEST CLAIM  DEADLINE"), "{text}");
    for delivery in held {
        delivery.ack().await.expect("it is held");
    }
    queue.close().await;
    zk.close().await;
}

#[tokio::test]
async fn a_live_item_is_shown_in_each_state() {
    let fixture = Fixture::new("a_live_item_is_shown_in_each_state").await;
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let queue = WorkQueue::new(&zk, "/q").expect("a path");
    let id = queue.push("an\x1b[2J escape").await.expect("it serves").to_string();
    let later = zkr_ok(
        &fixture,
        &["queue", "push", "/q", "late", "--delay", "10m", "--key", "k"],
    )
    .await;
    let show = async |id: &str| zkr_json(&fixture, &["queue", "show", "/q", id], 0).await;
    let delayed = show(later.trim()).await;
    assert_eq!((&delayed["status"], &delayed["key"]), (&"delayed".into(), &"k".into()));
    assert_eq!(delayed["payload"]["text"], "late");
    let ready = show(&id).await;
    assert_eq!((&ready["status"], &ready["attempt"]), (&"ready".into(), &0.into()));
    assert_eq!(ready["payload"]["text"], "an\x1b[2J escape");
    queue.pop().await.expect("it serves").nack().await.expect("it is held");
    let held = queue.pop().await.expect("it serves");
    held.progress("half").await.expect("it is held");
    let claimed = show(&id).await;
    assert_eq!(
        (&claimed["status"], &claimed["attempt"]),
        (&"claimed".into(), &2.into())
    );
    assert_eq!(claimed["history"][0]["outcome"], "given back", "{claimed}");
    assert_eq!(claimed["progress"]["text"], "half", "{claimed}");
    let text = zkr_ok(&fixture, &["queue", "show", "/q", &id]).await;
    for wanted in [
        "claimed by ",
        "priority 100  2 attempts",
        "progress  half",
        "  given back",
        r"  payload  an\x1b[2J escape",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let raw = zkr_ok(&fixture, &["queue", "show", "/q", &id, "--raw"]).await;
    assert_eq!(raw, "an\x1b[2J escape");
    held.ack().await.expect("it is held");
    let gone = zkr_json(&fixture, &["queue", "show", "/q", &id], 1).await;
    assert_eq!(gone["status"], "unknown");
    let raw = zkr(&fixture, &["queue", "show", "/q", &id, "--raw"]).await;
    assert_eq!((raw.status, raw.out.as_str()), (1, ""), "{raw:?}");
    queue.close().await;
    zk.close().await;
}
