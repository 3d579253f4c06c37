//! `ls`: the depth of queues, and a hint of findings.

use serde_json::Value;
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end, signal, zkr, zkr_json, zkr_ok};
use crate::looking::a_line;

fn place<'a>(listed: &'a Value, path: &str) -> &'a Value {
    let places = listed["places"].as_array().expect("it is a list");
    let found = places.iter().find(|place| place["path"] == path);
    found.unwrap_or_else(|| panic!("{path} is not listed: {listed}"))
}

fn row<'a>(table: &'a str, path: &str) -> Vec<&'a str> {
    let row = table.lines().find(|line| line.starts_with(path));
    let row = row.unwrap_or_else(|| panic!("{path} is not listed: {table}"));
    row.split_whitespace().collect()
}

#[tokio::test]
async fn a_list_tells_the_depth_of_queues() {
    let fixture = Fixture::new("a_list_tells_the_depth_of_queues").await;
    let zk = zookeeper_recipes::connect(&fixture.connect_string())
        .await
        .expect("it serves");
    let queue = zookeeper_recipes::queue::WorkQueue::new(&zk, "/pay/orders").expect("a path");
    for payload in ["a", "b", "c"] {
        queue.push(payload).await.expect("it serves");
    }
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "late", "--delay", "10m"]).await;
    let held = queue.pop().await.expect("it serves");
    let fifo = zookeeper_recipes::queue::FifoQueue::new(&zk, "/pay/fifo").expect("a path");
    fifo.push("x").await.expect("it serves");

    let listed = zkr_json(&fixture, &["ls", "/pay"], 0).await;
    let depth = &place(&listed, "/pay/orders")["queue"];
    let numbers = ["ready", "delayed", "claimed", "dead", "consumers"].map(|name| depth[name].as_u64());
    assert_eq!(numbers, [2, 1, 1, 0, 1].map(Some), "{depth}");
    assert_eq!(listed["findings"], 0, "{listed}");
    let table = zkr_ok(&fixture, &["ls", "/pay"]).await;
    let cells = row(&table, "/pay/orders");
    assert_eq!(cells[1..6], ["queue/2", "1", "consumer", "-", "2"], "{table}");
    assert_eq!(row(&table, "/pay/fifo")[4..], ["1", "-"], "{table}");

    let counts = zkr_json(&fixture, &["ls", "/pay", "--counts"], 0).await;
    assert!(place(&counts, "/pay/orders")["queue"].is_null(), "{counts}");
    assert!(counts["findings"].is_null(), "{counts}");
    let table = zkr_ok(&fixture, &["ls", "/pay", "--counts"]).await;
    assert_eq!(row(&table, "/pay/orders")[2..], ["-", "-", "-", "-"], "{table}");
    held.ack().await.expect("it is held");
    queue.close().await;
    zk.close().await;
}

#[tokio::test]
async fn a_list_hints_at_findings() {
    let fixture = Fixture::new("a_list_hints_at_findings").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    zkr_ok(&fixture, &["queue", "push", "/pay/orders", "a"]).await;
    let quiet = zkr(&fixture, &["ls", "/pay"]).await;
    assert!(quiet.status == 0 && !quiet.err.contains("zkr doctor"), "{quiet:?}");
    assert!(!quiet.out.contains('!'), "{quiet:?}");

    zkr_ok(&fixture, &["queue", "pause", "/pay/orders"]).await;
    let listed = zkr_json(&fixture, &["ls", "/pay"], 0).await;
    assert_eq!(listed["findings"], 1, "{listed}");
    let hinting = zkr(&fixture, &["ls", "/pay"]).await;
    assert!(hinting.err.contains("! 1 finding: zkr doctor /pay"), "{hinting:?}");
    assert_eq!(row(&hinting.out, "/pay/orders")[1..3], ["queue/2", "!"], "{hinting:?}");
    assert_ne!(row(&hinting.out, "/pay/l")[2], "!", "{hinting:?}");
    // The hint is what the doctor finds.
    let doctor = zkr_json(&fixture, &["doctor", "/pay"], 1).await;
    assert_eq!(doctor["findings"].as_array().map(Vec::len), Some(1), "{doctor}");
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}
