//! No server, wrong paths, no rights, foreign nodes.

use serde_json::Value;
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_testkit::Fixture;

use crate::harness::{end, zkr, zkr_at};

#[tokio::test]
async fn no_server_is_told_with_its_status() {
    let arguments = ["-t", "1s", "lock", "/l", "--", "true"];
    let done = end(zkr_at("127.0.0.1:1", &arguments).spawn().expect("built")).await;
    assert_eq!(done.status, 69, "{done:?}");
    assert!(done.err.contains("127.0.0.1:1"), "{done:?}");
    let mut as_json = vec!["--json"];
    as_json.extend(["-t", "1s", "value", "get", "/v"]);
    let done = end(zkr_at("127.0.0.1:1", &as_json).spawn().expect("built")).await;
    let error: Value = serde_json::from_str(done.err.lines().last().unwrap_or_default()).expect("it is JSON");
    crate::schema::check(&error);
    assert_eq!((done.status, &error["status"]), (69, &69.into()));
}

#[tokio::test]
async fn no_ensemble_is_a_fault_of_the_command_line() {
    let done = end(zkr_at("", &["lock", "/l", "--", "true"]).spawn().expect("built")).await;
    assert_eq!(done.status, 64, "{done:?}");
    assert!(
        done.err.contains("ZOOKEEPER_CONNECT") && done.err.contains("zkr server start"),
        "{done:?}"
    );
}

#[tokio::test]
async fn wrong_paths_are_told_with_the_right_one() {
    for (path, right) in [("l", "/l"), ("/a//b", "/a/b"), ("/a/", "/a"), ("/./a", "/a")] {
        let done = end(zkr_at("127.0.0.1:1", &["lock", path, "--", "true"])
            .spawn()
            .expect("built"))
        .await;
        assert_eq!(done.status, 64, "{done:?}");
        assert!(done.err.contains(&format!("did you mean {right}?")), "{done:?}");
    }
    for wrong in [
        &["lock"][..],
        &["lock", "/l"],
        &["nonsense"],
        &["permit", "/s", "--", "true"],
    ] {
        let done = end(zkr_at("127.0.0.1:1", wrong).spawn().expect("built")).await;
        assert_eq!(done.status, 64, "{wrong:?}: {done:?}");
    }
}

#[tokio::test]
async fn missing_rights_are_told_with_the_path() {
    let fixture = Fixture::new("missing_rights_are_told_with_the_path").await;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_read());
    fixture.raw().create("/l", b"", &options).await.expect("it is new");
    let done = zkr(&fixture, &["lock", "/l", "--", "true"]).await;
    assert_eq!(done.status, 77, "{done:?}");
    assert!(done.err.contains("/l"), "{done:?}");
    let done = zkr(&fixture, &["value", "set", "/l", "1"]).await;
    assert_eq!(done.status, 77, "{done:?}");
}

#[tokio::test]
async fn a_missing_chroot_is_not_made() {
    let fixture = Fixture::new("a_missing_chroot_is_not_made").await;
    let connect = format!("{}/nowhere", fixture.connect_string());
    let done = end(zkr_at(&connect, &["value", "get", "/v"]).spawn().expect("built")).await;
    assert_eq!(done.status, 65, "{done:?}");
}

#[tokio::test]
async fn foreign_nodes_are_refused() {
    let fixture = Fixture::new("foreign_nodes_are_refused").await;
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture
        .raw()
        .create("/q", b"something else", &options)
        .await
        .expect("it is new");
    for command in [
        &["queue", "stats", "/q"][..],
        &["queue", "pause", "/q"],
        &["queue", "purge", "/q", "--all", "--yes"],
    ] {
        let done = zkr(&fixture, command).await;
        assert_eq!(done.status, 65, "{done:?}");
    }
}
