//! What sessions tell: those without a connection, those of one process, and what the servers' ticks allow them.

use std::time::Duration;

use serde_json::Value;
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_testkit::{Fixture, ServerOptions, eventually};

use crate::harness::{Done, PATIENCE, Scratch, end, signal, start, zkr, zkr_json, zkr_ok};

/// A contender whose process is gone and whose session is not; its session.
async fn a_ghost(fixture: &Fixture, directory: &str) -> String {
    let client = fixture
        .connect_with(
            Client::connector()
                .with_detached()
                .with_session_timeout(Duration::from_secs(40)),
        )
        .await;
    let open = Acls::anyone_all();
    let parent = CreateMode::Persistent.with_acls(open);
    client.create(directory, b"", &parent).await.expect("it is new");
    let path = format!("{directory}/_c_5d3e8a70-1c0f-4b6e-9f5c-2a8f0f3f7c11-lock-0000000000");
    let contender = CreateMode::Ephemeral.with_acls(open);
    client.create(&path, b"gone:1", &contender).await.expect("it is new");
    client.session_id().to_string()
}

fn checks(found: &Value) -> Vec<&str> {
    let findings = found["findings"].as_array().expect("a list");
    findings
        .iter()
        .filter_map(|finding| finding["check"].as_str())
        .collect()
}

#[tokio::test]
async fn a_session_without_a_connection_is_a_ghost() {
    let fixture = Fixture::new("a_session_without_a_connection_is_a_ghost").await;
    let scratch = Scratch::new();
    let ready = scratch.file("ready").display().to_string();
    let alive = start(
        &fixture,
        &[
            "lock",
            "/g/alive",
            "--",
            "sh",
            "-c",
            &format!("echo x >{ready}; exec sleep 60"),
        ],
    );
    scratch.until_written("ready").await;
    let doctor = ["--admin", "auto", "doctor", "/g", "--check", "ghost", "--again", "0s"];
    let clean = zkr_json(&fixture, &doctor, 0).await;
    assert!(
        checks(&clean).is_empty() && clean["skipped"] == serde_json::json!([]),
        "{clean}"
    );

    let session = a_ghost(&fixture, "/g/dead").await;
    // Its connection is closed a moment later.
    eventually(PATIENCE, "it is told", async || {
        zkr(&fixture, &doctor).await.status == 1
    })
    .await;
    let found = zkr_json(&fixture, &doctor, 1).await;
    assert_eq!(checks(&found), ["ghost"], "{found}");
    assert_eq!(
        found["findings"][0]["contenders"][0]["session"],
        session.as_str(),
        "{found}"
    );
    let text = zkr(&fixture, &doctor).await;
    assert!(
        text.out.contains("warn   ghost  /g/dead/") && text.out.contains("of gone:1"),
        "{text:?}"
    );

    let unasked = zkr_json(&fixture, &doctor[2..], 0).await;
    assert_eq!(unasked["skipped"][0]["check"], "ghost", "{unasked}");
    let one_is_silent = [
        "--admin",
        &format!("{},127.0.0.1:1", fixture.server().addr()),
        "doctor",
        "/g",
    ];
    let one_is_silent = zkr_json(&fixture, &one_is_silent, 0).await;
    let because = one_is_silent["skipped"][0]["because"].as_str();
    assert!(
        because.is_some_and(|because| because.contains("127.0.0.1:1 did not answer")),
        "{one_is_silent}"
    );
    signal(&alive, "TERM");
    let _ = end(alive).await;
}

async fn doctor(fixture: &Fixture, admin: &str, again: &str) -> (Done, Value) {
    let arguments = [
        "--json", "--admin", admin, "doctor", "/g", "--check", "ghost", "--again", again,
    ];
    let done = zkr(fixture, &arguments).await;
    let found: Value = serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    crate::schema::check(&found);
    (done, found)
}

#[tokio::test]
async fn a_ghost_that_goes_is_no_fault() {
    let options = ServerOptions::new().max_session_timeout(Duration::from_secs(5));
    let fixture = Fixture::with_own_server_options("a_ghost_that_goes_is_no_fault", options).await;
    a_ghost(&fixture, "/g").await;
    eventually(PATIENCE, "its connection is closed", async || {
        doctor(&fixture, "auto", "0s").await.0.status == 1
    })
    .await;
    let (again, found) = doctor(&fixture, "auto", "100ms").await;
    assert!(
        again.err.contains("without a connection: 1 session; looking again in"),
        "{again:?}"
    );
    let finding = &found["findings"][0];
    assert_eq!(finding["severity"], "warn", "{found}");
    assert!(
        finding["remedy"]
            .as_str()
            .is_some_and(|text| text.contains("its session may last")),
        "{found}"
    );
    let (gone, found) = doctor(&fixture, "auto", "7s").await;
    assert_eq!((gone.status, checks(&found)), (0, vec![]), "{found}");
}

/// As the ensemble should not be: a server that knows of no connection, and a session that stays.
#[tokio::test]
async fn a_ghost_that_stays_is_an_error() {
    let fixture = Fixture::new("a_ghost_that_stays_is_an_error").await;
    let brief = ServerOptions::new().max_session_timeout(Duration::from_secs(1));
    let other = Fixture::with_own_server_options("a_server_that_knows_nobody", brief).await;
    let client = fixture.connect().await;
    let open = Acls::anyone_all();
    let parent = CreateMode::Persistent.with_acls(open);
    client.create("/g", b"", &parent).await.expect("it is new");
    let contender = CreateMode::EphemeralSequential.with_acls(open);
    let name = "/g/_c_5d3e8a70-1c0f-4b6e-9f5c-2a8f0f3f7c11-lock-";
    client.create(name, b"gone:1", &contender).await.expect("it is new");
    let nobody = other.server().addr().to_string();
    let (_, told) = doctor(&fixture, &nobody, "0s").await;
    assert_eq!(told["findings"][0]["severity"], "warn", "{told}");
    let (again, found) = doctor(&fixture, &nobody, "6s").await;
    assert_eq!(
        (again.status, &found["findings"][0]["severity"]),
        (1, &"error".into()),
        "{found}"
    );
    let (no_room, found) = doctor(&fixture, &nobody, "40s").await;
    assert!(no_room.err.contains("--timeout: raise it"), "{no_room:?}");
    assert_eq!(found["findings"][0]["severity"], "warn", "{found}");
}

#[tokio::test]
async fn the_margin_is_held_against_the_tick() {
    let fixture = Fixture::new("the_margin_is_held_against_the_tick").await;
    let doctor = ["--admin", "auto", "doctor", "/", "--check", "timeouts"];
    let text = zkr_ok(&fixture, &doctor).await;
    assert!(
        text.contains("info   timeouts  session 10000 ms, tick 500 ms"),
        "{text}"
    );
    assert!(text.contains("a hold outlives a cut of 2800 ms"), "{text}");
    // Half a tick and one per cent are 350 ms.
    let tight = [&["--lease-margin", "300ms"], &doctor[..]].concat();
    let found = zkr_json(&fixture, &tight, 1).await;
    assert_eq!(found["findings"][0]["severity"], "warn", "{found}");
    let wide = [&["--lease-margin", "350ms"], &doctor[..]].concat();
    assert!(
        zkr_ok(&fixture, &wide)
            .await
            .contains("a hold outlives a cut of 5050 ms")
    );
}

#[tokio::test]
async fn sessions_of_one_process_are_named_as_such() {
    let fixture = Fixture::new("sessions_of_one_process_are_named_as_such").await;
    let open = Acls::anyone_all();
    let parent = CreateMode::Persistent.with_acls(open);
    fixture.raw().create("/p", b"", &parent).await.expect("it is new");
    let sessions = [
        fixture.connect().await,
        fixture.connect().await,
        fixture.connect().await,
    ];
    // The guids of one coordinator begin alike, and are of version 8.
    for (client, guid) in sessions.iter().zip([
        "aabbccdd-eeff-8000-8000-000000000001",
        "aabbccdd-eeff-8000-8000-000000000002",
        "11223344-5566-8000-8000-000000000003",
    ]) {
        let contender = CreateMode::EphemeralSequential.with_acls(open);
        let name = format!("/p/_c_{guid}-lock-");
        client.create(&name, b"web:1", &contender).await.expect("it is new");
    }
    let who = zkr_json(&fixture, &["who", "/p"], 0).await;
    let processes: Vec<_> = (0..3)
        .map(|index| who["contenders"][index]["process"].clone())
        .collect();
    assert_eq!(processes, ["aabbccddeeff", "aabbccddeeff", "112233445566"], "{who}");
    let text = zkr_ok(&fixture, &["who", "/p"]).await;
    assert!(text.contains("#1 another session of the process of #0"), "{text}");
    assert_eq!(text.matches("another session").count(), 1, "{text}");
}
