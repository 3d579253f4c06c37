//! Real servers do what the harness says of them.

use std::time::{Duration, Instant};

use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, SessionState};
use zookeeper_testkit::{RealEnsemble, RealServer, eventually};

const NODE: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());

#[tokio::test]
async fn a_server_serves_and_counts_packets() {
    let server = RealServer::start().await;
    let client = Client::connect(&server.connect_string()).await.unwrap();
    let before = server.packets_received().await;
    for _ in 0..10 {
        client.check_stat("/").await.unwrap();
    }
    let asked = 1;
    let pings = 3;
    let received = server.packets_received().await - before - asked;
    assert!(
        (10..=10 + pings).contains(&received),
        "{received} packets for 10 requests"
    );
    assert_eq!(server.mntr().await["zk_server_state"], "standalone");
}

#[tokio::test]
async fn a_frozen_server_is_silent_until_thawed() {
    let server = RealServer::start().await;
    let client = Client::connector().with_session_timeout(Duration::from_secs(20));
    let client = client.connect(&server.connect_string()).await.unwrap();
    server.freeze().await;
    let answer = tokio::time::timeout(Duration::from_millis(500), client.check_stat("/")).await;
    assert!(answer.is_err(), "a frozen server answered");
    server.thaw().await;
    eventually(Duration::from_secs(20), "the server answers again", || async {
        client.check_stat("/").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data_and_sessions() {
    let server = RealServer::start().await;
    let connector = Client::connector().with_session_timeout(Duration::from_secs(20));
    let client = connector.connect(&server.connect_string()).await.unwrap();
    client.create("/kept", b"data", &NODE).await.unwrap();
    let mut states = client.state_watcher();
    server.kill().await;
    assert_eq!(states.changed().await, SessionState::Disconnected);
    server.restart().await;
    eventually(Duration::from_secs(20), "the client is back", || async {
        client.check_stat("/").await.is_ok()
    })
    .await;
    assert_eq!(client.get_data("/kept").await.unwrap().0, b"data");
    assert_eq!(client.state(), SessionState::SyncConnected);
}

#[tokio::test]
async fn empty_containers_and_ttl_nodes_are_had() {
    let server = RealServer::start().await;
    let client = Client::connect(&server.connect_string()).await.unwrap();
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    client.create("/container", b"", &container).await.unwrap();
    client.create("/container/child", b"", &NODE).await.unwrap();
    client.delete("/container/child", None).await.unwrap();
    eventually(Duration::from_secs(10), "the empty container is reaped", || async {
        client.check_stat("/container").await.unwrap().is_none()
    })
    .await;
    client
        .create("/ttl", b"", &NODE.clone().with_ttl(Duration::from_secs(60)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dropped_server_is_gone_with_its_files() {
    let server = RealServer::start().await;
    let conf = server.four_letter("conf").await.unwrap();
    let data = conf
        .lines()
        .find_map(|line| line.strip_prefix("dataDir="))
        .map(std::path::PathBuf::from);
    let addr = server.addr();
    drop(server);
    assert!(std::net::TcpStream::connect(addr).is_err());
    assert!(data.is_none_or(|dir| !dir.exists()));
}

#[tokio::test]
async fn an_ensemble_elects_again_when_its_leader_is_killed() {
    if !RealEnsemble::is_available().await {
        println!("skipped: an ensemble of processes needs jars");
        return;
    }
    let ensemble = RealEnsemble::start(3).await;
    let leader = ensemble.leader().await.unwrap();
    assert_eq!(ensemble.followers().await.len(), 2);
    let connector = Client::connector().with_session_timeout(Duration::from_secs(20));
    let client = connector.connect(&ensemble.connect_string()).await.unwrap();
    client.create("/kept", b"", &NODE).await.unwrap();

    let killed = Instant::now();
    ensemble.servers()[leader].kill().await;
    eventually(Duration::from_secs(20), "another leader", || async {
        ensemble.leader().await.is_some_and(|now| now != leader)
    })
    .await;
    println!("another leader after {:?}", killed.elapsed());
    eventually(Duration::from_secs(20), "the client is back", || async {
        client.check_stat("/kept").await.is_ok()
    })
    .await;
    ensemble.servers()[leader].restart().await;
    ensemble.serving(Duration::from_secs(20)).await;
    assert_eq!(ensemble.followers().await.len(), 2);
}

/// Not a test by itself: the process that the test below kills.
#[tokio::test]
async fn process_to_be_killed() {
    if std::env::var_os("TESTKIT_TO_BE_KILLED").is_none() {
        return;
    }
    let server = RealServer::start().await;
    eprintln!("serving {}", server.addr());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn no_server_outlives_a_killed_test_process() {
    use std::io::BufRead;
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_be_killed", "--nocapture"])
        .env("TESTKIT_TO_BE_KILLED", "1")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(process.stderr.take().unwrap()).lines();
    let addr: std::net::SocketAddr = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("serving ").map(|addr| addr.parse().unwrap()))
        .expect("the process says where its server is");
    assert!(std::net::TcpStream::connect(addr).is_ok());
    process.kill().unwrap();
    process.wait().unwrap();
    eventually(Duration::from_secs(10), "the server is gone", || async {
        std::net::TcpStream::connect(addr).is_err()
    })
    .await;
}

#[tokio::test]
async fn a_server_closes_the_connection_at_a_request_above_its_limit() {
    let options = RealServer::options().request_limit(65_536);
    let server = options.start().await;
    let client = Client::connect(&server.connect_string()).await.unwrap();
    client.create("/short", &[7; 60_000], &NODE).await.unwrap();
    let long = client.create("/long", &[7; 70_000], &NODE).await;
    assert!(long.is_err(), "{long:?}");
    eventually(Duration::from_secs(20), "the client is back", || async {
        client.check_stat("/").await.is_ok()
    })
    .await;
    assert_eq!(client.check_stat("/long").await, Ok(None));
}
