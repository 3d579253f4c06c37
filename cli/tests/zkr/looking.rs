//! `ls`, `who`, `ask`, `break`, `doctor`.

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{FairLock, connect};
use zookeeper_testkit::Fixture;

use crate::harness::{Scratch, end, signal, start, zkr, zkr_json, zkr_ok};

/// Holds `/pay/l` and waits for it behind that.
pub(crate) async fn a_line(fixture: &Fixture, scratch: &Scratch) -> [tokio::process::Child; 2] {
    let file = scratch.file("ready").display().to_string();
    let script = format!("echo > {file}; exec sleep 60");
    let hold = [
        "lock",
        "/pay/l",
        "--id",
        "web-3:4711",
        "--reason",
        "nightly",
        "--on-ask",
        "term",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let holder = start(fixture, &hold);
    scratch.until_written("ready").await;
    let waiter = start(fixture, &["lock", "/pay/l", "--id", "batch-1:812", "--", "true"]);
    fixture.until_children("/pay/l", 2).await;
    [holder, waiter]
}

#[tokio::test]
async fn a_line_is_listed_with_holder_and_waiters() {
    let fixture = Fixture::new("a_line_is_listed_with_holder_and_waiters").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    let listed = zkr_json(&fixture, &["ls", "/pay"], 0).await;
    let place = &listed["places"][0];
    assert_eq!(
        (&place["place"], &place["waiting"]),
        (&"lock".into(), &1.into()),
        "{listed}"
    );
    assert_eq!(place["holders"][0]["identity"]["text"], "web-3:4711");
    assert_eq!(
        (&place["holders"][0]["host"], &place["holders"][0]["pid"]),
        (&"web-3".into(), &4711.into())
    );
    let table = zkr_ok(&fixture, &["ls", "/"]).await;
    assert!(
        table.starts_with("PATH") && table.contains("/pay/l") && table.contains("web-3:4711"),
        "{table}"
    );
    let none = zkr_ok(&fixture, &["ls", "/pay", "--waiters", "2"]).await;
    assert!(!none.contains("/pay/l"), "{none}");
    zkr_json(&fixture, &["ls", "/pay", "--counts"], 0).await;

    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    assert_eq!(who["contenders"].as_array().map(Vec::len), Some(2), "{who}");
    assert_eq!(who["contenders"][0]["reason"], "nightly");
    let text = zkr_ok(&fixture, &["who", "/pay/l"]).await;
    assert!(text.contains("#0 nightly") && text.contains("batch-1:812"), "{text}");
    // The waiter first, or it would be granted.
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        assert_eq!(end(child).await.status, 143);
    }
    assert_eq!(zkr(&fixture, &["who", "/pay/l"]).await.status, 1);
    fixture.assert_no_nodes_left(&["/pay/l"]).await;
}

#[tokio::test]
async fn a_holder_that_is_asked_makes_way() {
    let fixture = Fixture::new("a_holder_that_is_asked_makes_way").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let wrong = zkr(&fixture, &["ask", "/pay/l", "--token", "1", "--reason", "deploy"]).await;
    assert_eq!(wrong.status, 1, "{wrong:?}");
    let asked = zkr_json(&fixture, &["ask", "/pay/l", "--reason", "deploy", "--wait", "20s"], 0).await;
    assert_eq!(
        (&asked["gone"], &asked["asked"][0]["identity"]["text"]),
        (&true.into(), &"web-3:4711".into())
    );
    let done = end(holder).await;
    assert_eq!(done.status, 143, "{done:?}");
    assert!(done.err.contains("deploy"), "{done:?}");
    assert_eq!(end(waiter).await.status, 0);
    assert_eq!(zkr(&fixture, &["ask", "/pay/l", "--reason", "deploy"]).await.status, 1);
}

#[tokio::test]
async fn nobody_who_does_not_listen_is_written_to() {
    let fixture = Fixture::new("nobody_who_does_not_listen_is_written_to").await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create("/k", b"", &persistent).await.expect("it is new");
    let kazoo = format!("/k/{}__lock__0000000000", "ab".repeat(16));
    fixture
        .raw()
        .create(&kazoo, b"kazoo-1", &ephemeral)
        .await
        .expect("it is new");
    let done = zkr(&fixture, &["ask", "/k", "--reason", "deploy"]).await;
    assert_eq!(done.status, 65, "{done:?}");
    let (data, _) = fixture.raw().get_data(&kazoo).await.expect("it is there");
    assert_eq!(data, b"kazoo-1");
    let held = zkr(&fixture, &["lock", "/k", "-n", "--", "true"]).await;
    assert_eq!(held.status, 1, "{held:?}");
}

#[tokio::test]
async fn what_is_no_line_is_told() {
    let fixture = Fixture::new("what_is_no_line_is_told").await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in ["/d", "/d/a\u{202e}b"] {
        fixture.raw().create(path, b"x", &persistent).await.expect("it is new");
    }
    assert_eq!(zkr(&fixture, &["who", "/d"]).await.status, 65);
    assert_eq!(zkr(&fixture, &["who", "/nowhere"]).await.status, 1);
    zkr_json(&fixture, &["ls", "/", "--all"], 0).await;
}

#[tokio::test]
async fn one_contender_is_broken_by_its_token() {
    let fixture = Fixture::new("one_contender_is_broken_by_its_token").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    let token = who["contenders"][0]["token"].to_string();
    let wrong = zkr(&fixture, &["break", "/pay/l", "--token", "1", "--yes"]).await;
    assert!(
        wrong.status == 1 && wrong.err.contains("is now held by web-3:4711"),
        "{wrong:?}"
    );
    let unasked = zkr(&fixture, &["break", "/pay/l", "--token", &token]).await;
    assert_eq!(unasked.status, 64, "{unasked:?}");
    let dry = zkr_json(&fixture, &["break", "/pay/l", "--token", &token, "--dry-run"], 0).await;
    assert_eq!(dry["done"], false);
    fixture.until_children("/pay/l", 2).await;
    let broken = zkr_json(&fixture, &["break", "/pay/l", "--token", &token, "--yes"], 0).await;
    assert_eq!(
        (&broken["done"], &broken["target"]["identity"]["text"]),
        (&true.into(), &"web-3:4711".into())
    );
    let done = end(holder).await;
    assert_eq!(done.status, 75, "{done:?}");
    assert_eq!(end(waiter).await.status, 0);
    fixture.assert_no_nodes_left(&["/pay/l"]).await;
}

#[tokio::test]
async fn one_who_is_not_told_is_broken_on_purpose_alone() {
    let fixture = Fixture::new("one_who_is_not_told_is_broken_on_purpose_alone").await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create("/c", b"", &persistent).await.expect("it is new");
    let curator = "/c/_c_6f1bc3a2-38e3-4a1c-9b6c-0f1f7f3c2d11-lock-0000000000";
    let (stat, _) = fixture
        .raw()
        .create(curator, b"10.0.0.9", &ephemeral)
        .await
        .expect("it is new");
    let token = stat.czxid.to_string();
    let done = zkr(&fixture, &["break", "/c", "--token", &token, "--yes"]).await;
    assert!(done.status == 64 || done.status == 65, "{done:?}");
    fixture.until_children("/c", 1).await;
}

#[tokio::test]
async fn a_dead_lock_is_found_and_broken() {
    let fixture = Fixture::new("a_dead_lock_is_found_and_broken").await;
    let doctor = ["doctor", "/d", "--check", "deadlock", "--min-age", "0s"];
    let clean = zkr_json(&fixture, &doctor, 0).await;
    assert_eq!(clean["findings"].as_array().map(Vec::len), Some(0), "{clean}");
    let zk: Vec<_> = {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(connect(&fixture.connect_string()).await.expect("it serves"));
        }
        all
    };
    let paths = ["/d/x", "/d/y", "/d/z"];
    let mut guards = Vec::new();
    for (zk, path) in zk.iter().zip(paths) {
        guards.push(
            FairLock::new(zk, path)
                .expect("a path")
                .acquire()
                .await
                .expect("it serves"),
        );
    }
    let mut parties = Vec::new();
    for (index, guard) in guards.into_iter().enumerate() {
        let next = FairLock::new(&zk[index], paths[(index + 1) % 3]).expect("a path");
        parties.push(tokio::spawn(async move {
            let last = next.acquire().await.expect("it serves");
            let _ = last.release().await;
            let _ = guard.release().await;
        }));
    }
    for path in paths {
        fixture.until_children(path, 2).await;
    }
    let found = zkr_json(&fixture, &doctor, 1).await;
    let finding = &found["findings"][0];
    assert_eq!(
        (&finding["check"], &finding["severity"]),
        (&"deadlock".into(), &"error".into()),
        "{found}"
    );
    assert_eq!(finding["cycle"].as_array().map(Vec::len), Some(3), "{found}");
    let text = zkr(&fixture, &doctor).await;
    assert!(text.status == 1 && text.out.contains("waits for /d/x"), "{text:?}");
    for format in ["dot", "mermaid"] {
        let graph = zkr(&fixture, &["doctor", "/d", "--format", format, "--min-age", "0s"]).await;
        assert!(graph.out.contains("/d/x"), "{graph:?}");
    }
    let member = &finding["cycle"][0]["holds"];
    let place = member["path"]
        .as_str()
        .and_then(|path| path.rsplit_once('/'))
        .expect("a path")
        .0;
    zkr_ok(
        &fixture,
        &["break", place, "--token", &member["token"].to_string(), "--yes"],
    )
    .await;
    for party in parties {
        zookeeper_testkit::within(crate::harness::PATIENCE, "all are granted", party)
            .await
            .expect("no panic");
    }
    for zk in zk {
        zk.close().await;
    }
    fixture.assert_no_nodes_left(&paths).await;
}

#[tokio::test]
async fn a_session_is_shown_with_all_that_it_has() {
    let fixture = Fixture::new("a_session_is_shown_with_all_that_it_has").await;
    let zk = connect(&fixture.connect_string()).await.expect("it serves");
    let mut guards = Vec::new();
    for path in ["/s/a", "/s/b"] {
        let lock = FairLock::new(&zk, path).expect("a path");
        guards.push(lock.acquire().await.expect("it serves"));
    }
    let who = zkr_json(&fixture, &["who", "/s/a"], 0).await;
    let session = who["contenders"][0]["session"].as_str().expect("text");
    let all = zkr_json(&fixture, &["who", "--session", session], 0).await;
    assert_eq!(all["contenders"].as_array().map(Vec::len), Some(2), "{all}");
    let text = zkr_ok(&fixture, &["who", "/s", "--session", session]).await;
    assert!(text.contains("/s/a") && text.contains("/s/b"), "{text}");
    assert_eq!(zkr(&fixture, &["who", "--session", "0x7"]).await.status, 1);
    assert_eq!(zkr(&fixture, &["who", "--session", "seven"]).await.status, 64);
    assert_eq!(zkr(&fixture, &["who"]).await.status, 64);
    for guard in guards {
        guard.release().await.expect("it is held");
    }
    zk.close().await;
}

#[tokio::test]
async fn the_servers_tell_where_a_holder_is_connected() {
    let fixture = Fixture::new("the_servers_tell_where_a_holder_is_connected").await;
    let scratch = Scratch::new();
    let line = a_line(&fixture, &scratch).await;
    let unasked = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    assert!(unasked["contenders"][0].get("connection").is_none(), "{unasked}");
    let asked = zkr_json(&fixture, &["--admin", "auto", "who", "/pay/l"], 0).await;
    let remote = asked["contenders"][0]["connection"]["remote"].as_str();
    assert!(remote.is_some_and(|remote| remote.contains("127.0.0.1:")), "{asked}");
    let text = zkr_ok(&fixture, &["--admin", "auto", "who", "/pay/l"]).await;
    assert!(text.contains("#0 connected from"), "{text}");

    // An AdminServer that knows only the waiter.
    let session = asked["contenders"][1]["session"].as_str().expect("text");
    let body =
        format!("{{\"connections\":[{{\"remote_socket_address\":\"10.0.0.7:51234\",\"session_id\":\"{session}\"}}]}}");
    let admin = admin_server(body).await;
    let text = zkr_ok(&fixture, &["--admin", &admin, "who", "/pay/l"]).await;
    assert!(text.contains("#0 no server has a connection of its session"), "{text}");
    assert!(text.contains("#1 connected from 10.0.0.7:51234"), "{text}");
    let silent = zkr(&fixture, &["--admin", "http://127.0.0.1:1", "who", "/pay/l"]).await;
    assert_eq!(silent.status, 69, "{silent:?}");
    for child in line.into_iter().rev() {
        signal(&child, "TERM");
        let _ = end(child).await;
    }
}

/// Answers each request with this body; returns its URL.
async fn admin_server(body: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap_or(0);
            assert!(request[..read].starts_with(b"GET /commands/connections "));
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn one_who_makes_way_is_not_broken() {
    let fixture = Fixture::new("one_who_makes_way_is_not_broken").await;
    let scratch = Scratch::new();
    let [holder, waiter] = a_line(&fixture, &scratch).await;
    let who = zkr_json(&fixture, &["who", "/pay/l"], 0).await;
    let token = who["contenders"][0]["token"].to_string();
    let broken = zkr_ok(
        &fixture,
        &["break", "/pay/l", "--token", &token, "--ask", "20s", "--yes"],
    )
    .await;
    assert_eq!(broken, "it made way; nothing was removed\n");
    // As its command ended by the signal, and not as one whose place was lost.
    assert_eq!(end(holder).await.status, 143);
    assert_eq!(end(waiter).await.status, 0);
    fixture.assert_no_nodes_left(&["/pay/l"]).await;
}

#[tokio::test]
async fn a_probe_tells_timeouts_and_the_clock() {
    let fixture = Fixture::new("a_probe_tells_timeouts_and_the_clock").await;
    let probed = zkr_json(&fixture, &["doctor", "--probe"], 0).await;
    let of = |name: &str| probed["probe"][name].as_f64().expect("a number");
    assert!(
        of("smallest_timeout_s") <= 10.0 && of("largest_timeout_s") >= 10.0,
        "{probed}"
    );
    assert!(of("clock_ahead_s").abs() < 1.0, "{probed}");
    let text = zkr_ok(&fixture, &["doctor", "--probe"]).await;
    assert!(
        text.contains("timeouts  the ensemble grants") && text.contains("clock"),
        "{text}"
    );
    assert!(
        fixture
            .children("/")
            .await
            .iter()
            .all(|name| !name.starts_with("zkr-probe"))
    );
}
