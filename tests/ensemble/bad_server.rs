//! Servers that are slow, silent, or out of disk space: every call keeps the bound it was given.

use std::time::{Duration, Instant};

use zookeeper_recipes::{ConnectError, ConnectOptions, Coordinator, FairLock, FairLockGuard, LossReason, SessionState};
use zookeeper_testkit::{background, eventually, four_letter, within};

use crate::belief::now;
use crate::contest::Contest;
use crate::ensemble::{Ensemble, SESSION, connect, docker};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a call may take on top of its bound: the grace in which a timed call removes its node, and a slow machine.
const SLACK: Duration = Duration::from_millis(500 + 2_000);

/// A timed acquire, a guard, and the close of another coordinator, all on a server that has just stopped to work.
async fn assert_bounds(zk: Coordinator, guard: FairLockGuard, other: Coordinator, what: &str) {
    let lock = FairLock::new(&zk, "/other").expect("valid");
    let limit = Duration::from_secs(1);
    let started = Instant::now();
    let timed = lock.acquire_timeout(limit).await.map(|_| ());
    let acquire_took = started.elapsed();
    assert!(timed.is_err_and(|error| error.is_timeout()), "{what}");
    assert!(
        acquire_took < limit + SLACK,
        "{what}: a limit of {limit:?} took {acquire_took:?}"
    );

    let started = Instant::now();
    other.close().await;
    let close_took = started.elapsed();
    assert!(close_took < SESSION / 3 + SLACK, "{what}: close took {close_took:?}");

    let believed = Instant::now();
    let lost = within(PATIENCE, format!("{what}: the holder is told"), guard.lost()).await;
    assert_eq!(lost, LossReason::LeaseLapsed);
    let believed = believed.elapsed();
    assert!(believed < SESSION, "{what}: believed in for {believed:?} more");

    println!(
        "measured: {what}, session timeout {SESSION:?}: acquire_timeout({limit:?}) took {} ms, close() took {} ms",
        acquire_took.as_millis(),
        close_took.as_millis(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_breaks_no_bound() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("silent_server").await;
    let follower = ensemble.followers().await[0];
    let zk = ensemble.connect_to(&[follower], &fixture, SESSION).await;
    let other = ensemble.connect_to(&[follower], &fixture, SESSION).await;
    let guard = FairLock::new(&zk, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");

    let through_follower = format!("{}{}", ensemble.connect_string(&[follower]), fixture.chroot());
    let contest = Contest::beside(&fixture, &through_follower).await;
    ensemble.pause(follower).await;
    assert_bounds(zk, guard, other, "a silent server").await;
    let started = Instant::now();
    let options = ConnectOptions::new().session_timeout(SESSION);
    let refused = options.connect(&ensemble.connect_string(&[follower])).await;
    let took = started.elapsed();
    assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{refused:?}");
    let slow_machine = Duration::from_secs(1);
    assert!(
        took < SESSION + slow_machine,
        "connecting to a silent server took {took:?}"
    );
    println!(
        "measured: connecting to a silent server: refused after {} ms",
        took.as_millis()
    );

    ensemble.heal().await;
    contest.finish(&fixture).await;
    fixture
        .assert_no_nodes_left_within(3 * SESSION, &["/lock", "/other"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_very_slow_server_breaks_no_bound_and_a_slow_one_no_hold() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("slow_server").await;
    let (proxies, servers) = ensemble.proxied(&fixture).await;
    let (zk, other) = (connect(&servers, SESSION).await, connect(&servers, SESSION).await);
    let guard = FairLock::new(&zk, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");

    let slow = SESSION / 50;
    proxies.iter().for_each(|proxy| proxy.delay(slow));
    let through = guard.run_until_lost(background::sleep(2 * SESSION)).await;
    assert_eq!(through, Ok(()), "a delay of {slow:?} each way");

    proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
    let contest = Contest::beside(&fixture, &servers).await;
    proxies.iter().for_each(|proxy| proxy.delay(SESSION));
    assert_bounds(zk, guard, other, "a very slow server").await;
    proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
    contest.finish(&fixture).await;
    drop(proxies);
    fixture
        .assert_no_nodes_left_within(3 * SESSION, &["/lock", "/other"])
        .await;
}

/// A waiter, because the client needs up to 17/20 of the session to find another server (it may well try the silent one
/// once more), and a lease does not always run so long.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_leaves_a_silent_server_with_its_session_and_its_place() {
    let session = 3 * SESSION;
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("failover").await;
    let holder = ensemble.connect(&fixture, session).await;
    let guard = FairLock::new(&holder, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");
    let (proxies, servers) = ensemble.proxied(&fixture).await;
    let waiter = connect(&servers, session).await;
    let id = waiter.client().await.expect("connected").session_id();
    let lock = FairLock::new(&waiter, "/lock").expect("valid");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    fixture.until_children("/lock", 2).await;
    let line = fixture.children("/lock").await;
    let mut states = waiter.states();

    let through = proxies.iter().position(|proxy| proxy.connections() > 0);
    let began = now();
    proxies[through.expect("connected through one")].black_hole();
    let suspended = states.wait_for(|state| *state == SessionState::Suspended);
    within(PATIENCE, "the silence is noticed", suspended).await;
    let noticed = now();
    let connected = states.wait_for(|state| *state == SessionState::Connected);
    within(PATIENCE, "it connects to another server", connected).await;
    println!(
        "measured: failover from a silent server, session timeout {session:?}: noticed after {} ms, connected to another \
         {} ms later",
        (noticed - began).as_millis(),
        (now() - noticed).as_millis()
    );
    assert_eq!(waiter.client().await.expect("connected").session_id(), id);
    assert_eq!(fixture.children("/lock").await, line);
    guard.release().await.expect("still held");
    let granted = within(PATIENCE, "the waiter is granted", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    granted.release().await.expect("still held");
    fixture.assert_no_nodes_left(&["/lock"]).await;
}

/// A server of its own, because a log that does not outlive the process would be a member that forgets.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_full_disk_breaks_no_bound() {
    let ensemble = Ensemble::take().await;
    let label = format!("com.docker.compose.project={}", ensemble.project());
    let container = docker(&[
        "run",
        "--detach",
        // A tmpfs belongs to root.
        "--user",
        "0",
        "--label",
        &label,
        "--publish",
        "127.0.0.1::2181",
        "--tmpfs",
        "/datalog:size=2m",
        "--env",
        "ZOO_TICK_TIME=500",
        "--env",
        "ZOO_ADMINSERVER_ENABLED=false",
        "--env",
        "ZOO_4LW_COMMANDS_WHITELIST=*",
        "--env",
        "JVMFLAGS=-Xmx128m -Dzookeeper.preAllocSize=64",
        "zookeeper:3.9",
    ])
    .await;
    let addr = docker(&["port", &container, "2181/tcp"]).await;
    let addr: std::net::SocketAddr = addr
        .lines()
        .next()
        .unwrap_or_default()
        .parse()
        .expect("one published port");
    eventually(PATIENCE, "the server serves", || async {
        four_letter::mode(addr).await.is_some()
    })
    .await;
    let servers = addr.to_string();
    let (zk, other) = (connect(&servers, SESSION).await, connect(&servers, SESSION).await);
    let guard = FairLock::new(&zk, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");

    let fill = "dd if=/dev/zero of=/datalog/full bs=4k 2>&1; true";
    let said = docker(&["exec", &container, "bash", "-c", fill]).await;
    assert!(said.contains("No space left on device"), "{said}");
    // Its preallocated log has room for a little more.
    let client = zk.client().await.expect("connected");
    let filler = tokio::spawn(async move { while client.set_data("/lock", &[b'x'; 16 * 1024], None).await.is_ok() {} });
    within(PATIENCE, "the server takes no more", filler)
        .await
        .expect("no panic");
    assert_bounds(zk, guard, other, "a server with a full disk").await;
    docker(&["rm", "--force", "--volumes", &container]).await;
}
