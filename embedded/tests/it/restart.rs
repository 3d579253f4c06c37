//! Stop and restart: the server is away and comes back with all that it kept in memory.

use std::net::TcpStream;
use std::time::Duration;

use zookeeper_client::{Client, CreateMode, SessionState};

use crate::support::{connect, create, quick_server, until, within};

/// Long against the tick, short for a test.
const SESSION: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_comes_back_with_its_data() {
    let server = quick_server().await;
    let address = server.address();
    let client = connect(&server).await;
    create(&client, "/kept", CreateMode::Persistent).await;
    create(&client, "/kept/n-", CreateMode::PersistentSequential).await;
    let sessions = server.sessions();
    server.stop().await;
    assert!(TcpStream::connect(address).is_err(), "it does not listen");
    server.stop().await;
    server.restart().await.unwrap();
    assert_eq!((server.address(), server.sessions()), (address, sessions));
    let fresh = Client::connect(&server.connect_string()).await.unwrap();
    create(&fresh, "/kept/n-", CreateMode::PersistentSequential).await;
    let mut children = fresh.list_children("/kept").await.unwrap();
    children.sort();
    assert_eq!(children, ["n-0000000000", "n-0000000001"]);
}

/// As with a real server that was down, however long.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_ends_while_the_server_is_stopped() {
    let server = quick_server().await;
    let connector = Client::connector().with_session_timeout(SESSION).with_detached();
    let client = connector.connect(&server.connect_string()).await.unwrap();
    create(&client, "/mine", CreateMode::Ephemeral).await;
    let session = client.into_session();
    server.stop().await;
    tokio::time::sleep(2 * SESSION).await;
    assert_eq!(server.nodes("/mine"), ["/mine"]);
    server.restart().await.unwrap();
    let back = Client::connector().with_session(session).with_detached();
    let back = back.connect(&server.connect_string()).await.unwrap();
    assert_eq!(back.state(), SessionState::SyncConnected);
    assert!(back.check_stat("/mine").await.unwrap().is_some());
    // Without its client, it ends by its timeout.
    drop(back);
    until("the session expires", || server.nodes("/mine").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_survives_a_restart_in_its_client() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/watched", CreateMode::Persistent).await;
    let (_, _, watcher) = client.get_and_watch_data("/watched").await.unwrap();
    server.restart().await.unwrap();
    let other = connect(&server).await;
    other.set_data("/watched", b"new", None).await.unwrap();
    assert_eq!(within(watcher.changed()).await.path, "/watched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_can_be_stopped_and_restarted() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/kept", CreateMode::Persistent).await;
    server.faults().freeze();
    server.restart().await.unwrap();
    assert!(connect(&server).await.check_stat("/kept").await.unwrap().is_some());
}
