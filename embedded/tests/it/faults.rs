//! Each fault does what it says, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use zookeeper_client::{Client, CreateMode, Error, EventType};
use zookeeper_embedded::{Op, Scope, Server};

use crate::support::{PATIENCE, TICK, connect, connect_for, create, options, quick_server, until, within};

#[tokio::test]
async fn expire_session_removes_its_nodes_at_once_and_ends_its_client() {
    let server = quick_server().await;
    let (victim, other) = (connect(&server).await, connect(&server).await);
    create(&victim, "/victim", CreateMode::Ephemeral).await;
    create(&other, "/other", CreateMode::Ephemeral).await;
    assert!(server.faults().expire_session(victim.session_id().0));
    assert_eq!(server.nodes("/"), ["/", "/other"]);
    assert!(!server.faults().expire_session(victim.session_id().0));
    until("the client knows", || victim.state().is_terminated()).await;
    other.get_data("/other").await.unwrap();
}

#[tokio::test]
async fn drop_before_apply_leaves_no_trace() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let rule = server.faults().on(Op::CREATES).path("/a").drop_before_apply();
    let result = client.create("/a", b"", &options(CreateMode::Persistent)).await;
    assert!(result.is_err());
    assert_eq!(rule.hits(), 1);
    assert!(server.nodes("/a").is_empty());
    // Once is the default.
    create(&client, "/a", CreateMode::Persistent).await;
}

#[tokio::test]
async fn drop_after_apply_loses_the_reply_and_keeps_the_session() {
    let server = quick_server().await;
    let client = connect(&server).await;
    server.faults().on(Op::CREATES).path_prefix("/e-").drop_after_apply();
    let result = client
        .create("/e-", b"", &options(CreateMode::EphemeralSequential))
        .await;
    assert_eq!(result.err(), Some(Error::ConnectionLoss));
    assert_eq!(server.nodes("/"), ["/", "/e-0000000000"]);
    let stat = client.check_stat("/e-0000000000").await.unwrap().unwrap();
    assert_eq!(stat.ephemeral_owner, client.session_id().0);
}

#[tokio::test]
async fn a_throttled_request_is_answered_and_not_applied() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let rule = server.faults().on_any().times(2).throttle();
    let throttled = client.create("/a", b"", &options(CreateMode::Persistent)).await;
    assert_eq!(throttled.err(), Some(Error::Throttled));
    assert_eq!(client.check_stat("/a").await, Err(Error::Throttled));
    assert_eq!(client.check_stat("/a").await, Ok(None));
    assert_eq!(rule.hits(), 2);
}

#[tokio::test]
async fn requests_before_a_dropped_one_are_answered() {
    let server = quick_server().await;
    let client = connect(&server).await;
    server.faults().on(Op::CREATES).path("/b").drop_before_apply();
    let persistent = options(CreateMode::Persistent);
    let (a, b, c) = (
        client.create("/a", b"", &persistent),
        client.create("/b", b"", &persistent),
        client.create("/c", b"", &persistent),
    );
    let (a, b, c) = (a.await, b.await, c.await);
    assert!(a.is_ok() && b.is_err(), "{a:?} {b:?}");
    assert!(server.nodes("/b").is_empty());
    // Sent on the same connection it is lost with it, otherwise it is sent on the next one.
    assert_eq!(c.is_err(), server.nodes("/c").is_empty());
}

#[tokio::test]
async fn rules_choose_by_op_path_session_count_and_predicate() {
    let server = quick_server().await;
    let (one, two) = (connect(&server).await, connect(&server).await);
    let faults = server.faults();
    let third = faults
        .on(Op::CREATES)
        .session(one.session_id().0)
        .nth(3)
        .drop_before_apply();
    for path in ["/1", "/2"] {
        create(&one, path, CreateMode::Persistent).await;
        create(&two, &format!("{path}x"), CreateMode::Persistent).await;
    }
    assert_eq!(third.hits(), 0);
    assert!(one.create("/3", b"", &options(CreateMode::Persistent)).await.is_err());

    let twice = faults
        .on([Op::SetData])
        .path_matching(|path| path.ends_with('x'))
        .times(2)
        .drop_before_apply();
    for _ in 0..2 {
        assert!(two.set_data("/1x", b"", None).await.is_err());
    }
    two.set_data("/1x", b"", None).await.unwrap();
    assert_eq!(twice.hits(), 2);

    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let always = faults
        .on_any()
        .matching(move |request| {
            count.fetch_add(usize::from(request.op == Op::Delete), Ordering::SeqCst);
            request.op == Op::Delete && request.is_under("/2")
        })
        .always()
        .drop_before_apply();
    for _ in 0..3 {
        assert!(one.delete("/2", None).await.is_err());
    }
    assert_eq!((always.hits(), seen.load(Ordering::SeqCst)), (3, 3));
    always.remove();
    one.delete("/2", None).await.unwrap();
}

#[tokio::test]
async fn each_request_of_a_call_can_be_lost_in_turn() {
    let server = quick_server().await;
    for n in 1..=3 {
        let client = connect(&server).await;
        let rule = server
            .faults()
            .on_any()
            .session(client.session_id().0)
            .without_pings()
            .nth(n)
            .drop_after_apply();
        let outcomes = [
            client.check_stat("/").await.is_ok(),
            client.create("/a", b"", &options(CreateMode::Persistent)).await.is_ok(),
            client.delete("/a", None).await.is_ok(),
        ];
        assert_eq!(outcomes, [n != 1, n != 2, n != 3]);
        assert_eq!(rule.hits(), 1);
        assert_eq!(server.nodes("/"), ["/"]);
    }
}

#[tokio::test]
async fn a_rule_sees_the_paths_inside_a_multi() {
    let server = quick_server().await;
    let client = connect(&server).await;
    server.faults().on(Op::Multi).path("/b").drop_after_apply();
    let mut writer = client.new_multi_writer();
    writer.add_create("/a", b"", &options(CreateMode::Persistent)).unwrap();
    writer.add_create("/b", b"", &options(CreateMode::Persistent)).unwrap();
    assert!(writer.commit().await.is_err());
    assert_eq!(server.nodes("/"), ["/", "/a", "/b"]);
}

#[tokio::test]
async fn a_lost_handshake_reply_leaves_a_session_nobody_knows() {
    let server = quick_server().await;
    server.faults().on(Op::Connect).drop_after_apply();
    let client = connect(&server).await;
    assert_eq!(server.sessions().len(), 2);
    assert!(server.sessions().contains(&client.session_id().0.into()));
}

#[tokio::test]
async fn a_delayed_reply_comes_late_and_in_order() {
    let server = quick_server().await;
    let (client, other) = (connect(&server).await, connect(&server).await);
    let delay = Duration::from_millis(300);
    let rule = server.faults().on(Op::CREATES).path("/slow").delay_reply(delay);
    let started = Instant::now();
    let persistent = options(CreateMode::Persistent);
    let slow = client.create("/slow", b"", &persistent);
    let after = client.check_stat("/slow");
    until("applied at once", || rule.hits() == 1).await;
    assert!(other.check_stat("/slow").await.unwrap().is_some());
    assert!(started.elapsed() < delay);
    assert!(after.await.unwrap().is_some());
    assert!(started.elapsed() >= delay);
    slow.await.unwrap();
}

#[tokio::test]
async fn a_cut_does_not_wait_for_a_delayed_reply() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let rule = server.faults().on(Op::CREATES).delay_reply(PATIENCE * 100);
    let persistent = options(CreateMode::Persistent);
    let create = client.create("/a", b"", &persistent);
    until("applied", || rule.hits() == 1).await;
    server.faults().cut(client.session_id().0);
    assert_eq!(within(create).await.err(), Some(Error::ConnectionLoss));
    assert!(within(client.check_stat("/a")).await.unwrap().is_some());
}

#[tokio::test]
async fn delayed_watch_events_stay_ahead_of_later_reads() {
    let server = quick_server().await;
    let (watcher, writer) = (connect(&server).await, connect(&server).await);
    create(&writer, "/w", CreateMode::Persistent).await;
    let (_, _, changed) = watcher.get_and_watch_data("/w").await.unwrap();
    let delay = Duration::from_millis(200);
    let switch = server.faults().delay_watch_events(watcher.session_id().0, delay);
    let started = Instant::now();
    writer.set_data("/w", b"1", None).await.unwrap();
    let read = watcher.get_data("/w");
    assert_eq!(within(changed.changed()).await.event_type, EventType::NodeDataChanged);
    assert!(started.elapsed() >= delay);
    assert_eq!(read.await.unwrap().0, b"1");

    switch.off();
    let (_, _, changed) = watcher.get_and_watch_data("/w").await.unwrap();
    writer.set_data("/w", b"2", None).await.unwrap();
    within(changed.changed()).await;
}

#[tokio::test]
async fn a_black_hole_is_silent_until_the_session_expires_and_heals_for_new_connections() {
    let server = quick_server().await;
    let victim = connect_for(&server, TICK * 6).await;
    let other = connect(&server).await;
    create(&victim, "/e", CreateMode::Ephemeral).await;
    let hole = server.faults().black_hole(victim.session_id().0);
    let before = server.requests().session(victim.session_id().0).len();
    assert!(victim.check_stat("/e").await.is_err());
    assert_eq!(server.requests().session(victim.session_id().0).op(Op::Exists).len(), 0);
    assert!(server.requests().session(victim.session_id().0).len() <= before + 1);
    until("its session expires", || server.nodes("/e").is_empty()).await;
    other.check_stat("/").await.unwrap();
    hole.off();
    connect(&server).await.check_stat("/").await.unwrap();
}

#[tokio::test]
async fn a_black_hole_for_all_swallows_connections_to_come() {
    let server = quick_server().await;
    let hole = server.faults().black_hole(Scope::All);
    let connector = Client::connector()
        .with_connection_timeout(Duration::from_millis(200))
        .with_fail_eagerly();
    let attempt = connector.connect(&server.connect_string()).await;
    assert!(attempt.is_err());
    assert!(server.sessions().is_empty());
    hole.off();
    connect(&server).await;
}

#[tokio::test]
async fn a_rule_can_swallow_a_request_or_only_its_reply() {
    let server = quick_server().await;
    for (path, is_applied) in [("/before", false), ("/after", true)] {
        let client = connect_for(&server, TICK * 6).await;
        let rule = server.faults().on(Op::CREATES).path(path);
        let _rule = if is_applied {
            rule.black_hole_after_apply()
        } else {
            rule.black_hole()
        };
        assert!(
            within(client.create(path, b"", &options(CreateMode::Persistent)))
                .await
                .is_err()
        );
        assert_eq!(!server.nodes(path).is_empty(), is_applied);
    }
}

#[tokio::test]
async fn a_reconnect_may_be_given_a_new_session_without_a_word() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/e", CreateMode::Ephemeral).await;
    let session = client.session_id();
    server.faults().adopt_new_sessions(true);
    let moved = Client::connector()
        .with_session(client.session().clone())
        .connect(&server.connect_string())
        .await
        .unwrap();
    assert_ne!(moved.session_id(), session);
    assert_eq!(server.sessions().len(), 2);
    assert_eq!(
        moved.check_stat("/e").await.unwrap().unwrap().ephemeral_owner,
        session.0
    );
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_and_expires_by_the_wall_clock_when_it_thaws() {
    let server = quick_server().await;
    let (short, long) = (
        connect_for(&server, TICK * 4).await,
        connect_for(&server, PATIENCE).await,
    );
    create(&short, "/short", CreateMode::Ephemeral).await;
    create(&long, "/long", CreateMode::Ephemeral).await;
    server.faults().freeze();
    let pending = long.create("/later", b"", &options(CreateMode::Persistent));
    tokio::pin!(pending);
    // The time itself is what is tested: the session's timeout has to pass while the server stands still.
    assert!(tokio::time::timeout(TICK * 8, &mut pending).await.is_err());
    assert_eq!(server.nodes("/"), ["/", "/long", "/short"]);
    server.faults().thaw();
    assert!(server.nodes("/short").is_empty());
    within(pending).await.unwrap();
    assert_eq!(server.nodes("/"), ["/", "/later", "/long"]);
}

#[tokio::test]
async fn a_server_that_stops_listening_keeps_its_state() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/e", CreateMode::Ephemeral).await;
    server.faults().stop_listening().await;
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
    assert_eq!(server.faults().cut(Scope::All), 1);
    server.faults().resume_listening().await.unwrap();
    within(async { while client.check_stat("/e").await != Ok(None) && client.check_stat("/e").await.is_err() {} })
        .await;
    assert_eq!(
        client.check_stat("/e").await.unwrap().unwrap().ephemeral_owner,
        client.session_id().0
    );
}

#[tokio::test]
async fn the_sequence_of_a_parent_jumps() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/q", CreateMode::Persistent).await;
    assert!(server.faults().set_sequence("/q", i32::MAX - 1));
    assert!(!server.faults().set_sequence("/absent", 1));
    let mut names = Vec::new();
    for prefix in ["/q/a-", "/q/b-"] {
        names.push(create(&client, prefix, CreateMode::PersistentSequential).await);
    }
    assert_eq!(names, ["/q/a-2147483646", "/q/b-2147483647"]);
    assert!(server.faults().set_sequence("/q", i32::MIN));
    client
        .create("/q/c-", b"", &options(CreateMode::PersistentSequential))
        .await
        .unwrap();
    assert!(server.nodes("/q").contains(&"/q/c--2147483648".to_owned()));
}

#[tokio::test]
async fn clear_ends_every_fault() {
    let server = quick_server().await;
    let faults = server.faults();
    faults.on_any().always().drop_before_apply();
    faults.black_hole(Scope::All);
    faults.lag_reads(Scope::All, 3);
    faults.freeze();
    faults.clear();
    let client = connect(&server).await;
    create(&client, "/a", CreateMode::Persistent).await;
    client.check_stat("/a").await.unwrap().unwrap();
}

#[test]
fn handles_are_send_sync_and_static() {
    fn check<T: Send + Sync + std::fmt::Debug + 'static>() {}
    check::<Server>();
    check::<zookeeper_embedded::Builder>();
    check::<zookeeper_embedded::Faults>();
    check::<zookeeper_embedded::Rule>();
    check::<zookeeper_embedded::RuleBuilder>();
    check::<zookeeper_embedded::Switch>();
    check::<zookeeper_embedded::Requests>();
}
