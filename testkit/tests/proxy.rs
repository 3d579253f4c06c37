//! Each fault of the proxy is what it says: looked at from both of its sides.

use std::time::{Duration, Instant};

use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error, SessionState};
use zookeeper_testkit::{Fixture, Op, Proxy, When, eventually};

const NODE: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
const SOON: Duration = Duration::from_secs(10);

async fn proxied(name: &str) -> (Fixture, Proxy, Client) {
    let fixture = Fixture::new(name).await;
    let (proxy, servers) = fixture.proxied().await;
    let client = Client::connector()
        .with_session_timeout(Duration::from_secs(10))
        .connect(&servers)
        .await
        .expect("a session through the proxy");
    (fixture, proxy, client)
}

async fn connected(client: &Client) {
    eventually(SOON, "the client is connected again", || async {
        client.check_stat("/").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_exactly_and_pings_are_not() {
    let (_fixture, proxy, client) = proxied("counts").await;
    proxy.reset_counts();
    client.create("/a", b"", &NODE).await.unwrap();
    client.create("/a/b", b"", &EPHEMERAL).await.unwrap();
    client.list_children("/a").await.unwrap();
    // Held, because a dropped watcher is one more request: RemoveWatches.
    let _watched = client.get_and_watch_data("/a").await.unwrap();
    let mut multi = client.new_multi_writer();
    multi.add_check_version("/a", 0).unwrap();
    multi.commit().await.unwrap();
    let mut multi = client.new_multi_writer();
    multi.add_check_version("/a", 0).unwrap();
    multi.add_create("/c", b"", &NODE).unwrap();
    multi.commit().await.unwrap();
    client.delete("/c", None).await.unwrap();

    // Long enough for pings.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let counts = proxy.requests();
    assert_eq!(counts.total(), 7, "{counts}");
    assert_eq!(counts.creates(), 2, "{counts}");
    assert_eq!(counts.of(Op::Create2), 2, "{counts}");
    assert_eq!(counts.lists(), 1, "{counts}");
    assert_eq!(counts.of(Op::GetData), 1, "{counts}");
    assert_eq!(counts.of(Op::Multi), 2, "{counts}");
    assert_eq!(counts.heartbeats(), 1, "{counts}");
    assert_eq!(counts.without_heartbeats().total(), 6, "{counts}");
    assert_eq!(counts.under("/c").total(), 2, "{counts}");
    assert_eq!(counts.under("/a/b").total(), 1, "{counts}");
    assert_eq!(counts.by_op()[&Op::Delete], 1, "{counts}");
}

#[tokio::test]
async fn accepted_connections_are_counted_with_their_times() {
    let start = Instant::now();
    let (_fixture, proxy, client) = proxied("accepted").await;
    assert_eq!(proxy.accepted().len(), 1);
    assert!(proxy.accepted()[0] >= start);
    proxy.reset_counts();
    for count in 1..=2 {
        let before = Instant::now();
        proxy.cut();
        connected(&client).await;
        let accepted = proxy.accepted();
        assert_eq!(accepted.len(), count);
        assert!((before..=Instant::now()).contains(&accepted[count - 1]));
    }
}

#[tokio::test]
async fn a_cut_is_a_lost_connection_and_the_session_goes_on() {
    let (_fixture, proxy, client) = proxied("cut").await;
    let session = client.session_id();
    let mut states = client.state_watcher();
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert_eq!(states.changed().await, SessionState::Disconnected);
    assert_eq!(states.changed().await, SessionState::SyncConnected);
    assert_eq!(client.session_id(), session);
    connected(&client).await;
}

#[tokio::test]
async fn a_refusing_proxy_keeps_clients_out_until_it_accepts() {
    let (fixture, proxy, client) = proxied("refuse").await;
    let mut states = client.state_watcher();
    proxy.refuse().await;
    assert_eq!(states.changed().await, SessionState::Disconnected);
    assert!(tokio::net::TcpStream::connect(proxy.addr()).await.is_err());
    let servers = format!("{}{}", proxy.addr(), fixture.chroot());
    assert_eq!(
        Client::connector()
            .with_fail_eagerly()
            .connect(&servers)
            .await
            .unwrap_err(),
        Error::NoHosts
    );
    proxy.accept().await;
    assert_eq!(states.changed().await, SessionState::SyncConnected);
}

#[tokio::test]
async fn a_black_hole_swallows_both_directions_and_gives_them_back() {
    let (fixture, proxy, client) = proxied("black hole").await;
    proxy.black_hole();
    let create = client.create("/a", b"", &NODE);
    let create = tokio::time::timeout(Duration::from_millis(700), create).await;
    assert!(create.is_err(), "an answer came out of a black hole: {create:?}");
    assert_eq!(
        fixture.raw().check_stat("/a").await.unwrap(),
        None,
        "a request passed into a black hole"
    );
    assert!(
        tokio::net::TcpStream::connect(proxy.addr()).await.is_ok(),
        "a black hole accepts connections"
    );
    assert_eq!(proxy.requests().creates(), 0);

    proxy.heal();
    fixture.until_children("/", 1).await;
    connected(&client).await;
    assert_eq!(proxy.requests().creates(), 1);
}

#[tokio::test]
async fn a_black_hole_outlasts_the_session() {
    let fixture = Fixture::new("black hole, long").await;
    let (proxy, servers) = fixture.proxied().await;
    let client = Client::connector()
        .with_session_timeout(Duration::from_secs(2))
        .connect(&servers)
        .await
        .expect("a session through the proxy");
    client.create("/mine-", b"", &EPHEMERAL).await.unwrap();
    let mut states = client.state_watcher();
    proxy.black_hole();
    fixture.until_children("/", 0).await;
    assert_eq!(
        states.changed().await,
        SessionState::Disconnected,
        "the client found out without a byte"
    );
    proxy.heal();
    assert_eq!(states.changed().await, SessionState::Expired);
}

#[tokio::test]
async fn replies_alone_can_be_silenced() {
    let (fixture, proxy, client) = proxied("silent replies").await;
    proxy.black_hole_replies();
    let create = client.create("/a", b"", &NODE);
    fixture.until_children("/", 1).await;
    proxy.heal();
    create.await.unwrap();
}

#[tokio::test]
async fn a_delay_counts_each_way_and_does_not_slow_the_flow() {
    let (_fixture, proxy, client) = proxied("delay").await;
    proxy.delay(Duration::from_millis(150));
    let started = Instant::now();
    client.check_stat("/").await.unwrap();
    let one = started.elapsed();
    assert!(one >= Duration::from_millis(300), "a round trip took {one:?}");

    let started = Instant::now();
    let many: Vec<_> = (0..20).map(|_| client.check_stat("/")).collect();
    for check in many {
        check.await.unwrap();
    }
    let pipelined = started.elapsed();
    assert!(
        pipelined < Duration::from_millis(300) * 4,
        "20 pipelined requests took {pipelined:?}"
    );

    proxy.delay(Duration::ZERO);
    client.check_stat("/").await.unwrap();
    let started = Instant::now();
    client.check_stat("/").await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(150));
}

#[tokio::test]
async fn a_lost_reply_leaves_the_node_and_a_client_that_cannot_know() {
    let (fixture, proxy, client) = proxied("lost reply").await;
    client.create("/dir", b"", &NODE).await.unwrap();
    let fault = proxy.lose_reply(When::create().path("lock-").nth(2));
    client.create("/dir/lock-", b"", &EPHEMERAL).await.unwrap();
    client.create("/dir/other-", b"", &EPHEMERAL).await.unwrap();
    assert!(!fault.has_fired());

    let lost = client.create("/dir/lock-", b"", &EPHEMERAL).await;
    assert_eq!(lost.unwrap_err(), Error::ConnectionLoss);
    fault.fired().await;
    assert_eq!(fixture.children("/dir").await.len(), 3, "the request was applied");
    connected(&client).await;
    // Only once.
    client.create("/dir/lock-", b"", &EPHEMERAL).await.unwrap();
}

#[tokio::test]
async fn a_cut_before_the_request_leaves_no_node() {
    let (fixture, proxy, client) = proxied("cut before").await;
    let fault = proxy.cut_before(When::create());
    assert_eq!(
        client.create("/a", b"", &NODE).await.unwrap_err(),
        Error::ConnectionLoss
    );
    fault.fired().await;
    connected(&client).await;
    assert!(fixture.children("/").await.is_empty(), "the request was not applied");
    assert_eq!(proxy.requests().creates(), 0);
}

#[tokio::test]
async fn a_fault_can_be_silent() {
    let (fixture, proxy, client) = proxied("silent faults").await;
    let before = proxy.inject(When::create(), zookeeper_testkit::Injection::SilenceBefore);
    let create = client.create("/a", b"", &NODE);
    before.fired().await;
    assert!(fixture.children("/").await.is_empty());
    assert_eq!(proxy.requests().creates(), 0);
    proxy.heal();
    create.await.unwrap();
    assert_eq!(proxy.requests().creates(), 1);

    let reply = proxy.inject(When::request(Op::Delete), zookeeper_testkit::Injection::SilenceReply);
    let delete = client.delete("/a", None);
    reply.fired().await;
    fixture.until_children("/", 0).await;
    proxy.heal();
    delete.await.unwrap();
}

#[tokio::test]
async fn a_disarmed_fault_never_strikes() {
    let (_fixture, proxy, client) = proxied("disarmed").await;
    proxy.cut_before(When::any()).disarm();
    client.create("/a", b"", &NODE).await.unwrap();
}
