//! Nodes, watches, sessions.

use std::time::{Duration, Instant};

use zookeeper_client::{AddWatchMode, Client, CreateMode, Error, EventType};
use zookeeper_embedded::Server;

use crate::support::{TICK, connect, connect_for, create, options, quick_server, until, within};

#[tokio::test]
async fn a_node_is_created_read_changed_and_deleted() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let (created, _) = client
        .create("/a", b"one", &options(CreateMode::Persistent))
        .await
        .unwrap();
    let (data, stat) = client.get_data("/a").await.unwrap();
    assert_eq!((data.as_slice(), stat), (&b"one"[..], created));
    let changed = client.set_data("/a", b"two", Some(0)).await.unwrap();
    assert_eq!((changed.version, changed.czxid), (1, created.czxid));
    assert!(changed.mzxid > created.mzxid);
    assert_eq!(client.set_data("/a", b"", Some(0)).await, Err(Error::BadVersion));
    create(&client, "/a/b", CreateMode::Persistent).await;
    assert_eq!(client.delete("/a", None).await, Err(Error::NotEmpty));
    client.delete("/a/b", None).await.unwrap();
    let stat = client.check_stat("/a").await.unwrap().unwrap();
    assert_eq!((stat.cversion, stat.num_children), (2, 0));
    client.delete("/a", Some(1)).await.unwrap();
    assert_eq!(client.get_data("/a").await, Err(Error::NoNode));
}

#[tokio::test]
async fn sequence_numbers_count_creations_and_ignore_deletions() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/q", CreateMode::Persistent).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(create(&client, "/q/n-", CreateMode::EphemeralSequential).await);
    }
    client.delete(&names[2], None).await.unwrap();
    create(&client, "/q/plain", CreateMode::Persistent).await;
    names.push(create(&client, "/q/n-", CreateMode::EphemeralSequential).await);
    assert_eq!(
        names,
        [
            "/q/n-0000000000",
            "/q/n-0000000001",
            "/q/n-0000000002",
            "/q/n-0000000004"
        ]
    );
}

#[tokio::test]
async fn a_closed_session_takes_its_nodes_with_it_in_one_transaction() {
    let server = quick_server().await;
    let (owner, other) = (connect(&server).await, connect(&server).await);
    create(&other, "/p", CreateMode::Persistent).await;
    for _ in 0..3 {
        create(&owner, "/p/e-", CreateMode::EphemeralSequential).await;
    }
    let (_, before, watcher) = other.get_and_watch_children("/p").await.unwrap();
    drop(owner);
    assert_eq!(
        within(watcher.changed()).await.event_type,
        EventType::NodeChildrenChanged
    );
    let (children, after) = other.get_children("/p").await.unwrap();
    assert!(children.is_empty());
    assert_eq!(after.pzxid, before.pzxid + 1);
}

#[tokio::test]
async fn a_silent_session_expires_at_a_tick_after_its_timeout() {
    let server = quick_server().await;
    let timeout = TICK * 6;
    let client = connect_for(&server, timeout).await;
    assert_eq!(client.session_timeout(), timeout);
    server.faults().black_hole(client.session_id().0);
    let silent = Instant::now();
    until("expired", || server.sessions().is_empty()).await;
    // The last sign of life came before the silence, by at most a third of the timeout.
    assert!(silent.elapsed() > timeout / 2, "{:?}", silent.elapsed());
}

#[tokio::test]
async fn a_session_moves_to_the_connection_that_names_it_last() {
    let server = quick_server().await;
    let first = connect(&server).await;
    create(&first, "/e", CreateMode::Ephemeral).await;
    let second = Client::connector()
        .with_session(first.session().clone())
        .connect(&server.connect_string())
        .await
        .unwrap();
    assert_eq!(second.session_id(), first.session_id());
    drop(second);
    until("the session and its node are gone", || server.nodes("/e").is_empty()).await;
    within(async {
        let mut states = first.state_watcher();
        while !states.state().is_terminated() {
            states.changed().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_and_an_expired_session_are_turned_away() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let session = client.session().clone();
    assert!(server.faults().expire_session(session.id().0));
    let result = Client::connector()
        .with_session(session)
        .connect(&server.connect_string())
        .await;
    assert_eq!(result.err(), Some(Error::SessionExpired));
}

#[tokio::test]
async fn watches_fire_once_persistent_watches_stay() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/w", CreateMode::Persistent).await;
    let (_, _, once) = client.get_and_watch_data("/w").await.unwrap();
    let other = connect(&server).await;
    let mut recursive = other.watch("/w", AddWatchMode::PersistentRecursive).await.unwrap();
    client.set_data("/w", b"1", None).await.unwrap();
    assert_eq!(within(once.changed()).await.event_type, EventType::NodeDataChanged);
    create(&client, "/w/a", CreateMode::Persistent).await;
    client.delete("/w/a", None).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = within(recursive.changed()).await;
        seen.push((event.event_type, event.path));
    }
    assert_eq!(
        seen,
        [
            (EventType::NodeDataChanged, "/w".to_owned()),
            (EventType::NodeCreated, "/w/a".to_owned()),
            (EventType::NodeDeleted, "/w/a".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_multi_is_all_or_nothing() {
    let server = quick_server().await;
    let client = connect(&server).await;
    let mut writer = client.new_multi_writer();
    writer.add_create("/m", b"", &options(CreateMode::Persistent)).unwrap();
    writer
        .add_create("/m/a", b"", &options(CreateMode::Persistent))
        .unwrap();
    writer.add_delete("/absent", None).unwrap();
    assert!(writer.commit().await.is_err());
    assert_eq!(client.check_stat("/m").await.unwrap(), None);

    let mut writer = client.new_multi_writer();
    writer.add_create("/m", b"", &options(CreateMode::Persistent)).unwrap();
    writer.add_check_version("/m", 0).unwrap();
    writer.add_set_data("/m", b"x", Some(0)).unwrap();
    writer
        .add_create("/m/a", b"", &options(CreateMode::Persistent))
        .unwrap();
    writer.add_delete("/m/a", None).unwrap();
    writer.commit().await.unwrap();
    let stat = client.check_stat("/m").await.unwrap().unwrap();
    assert_eq!((stat.version, stat.cversion, stat.czxid == stat.pzxid), (1, 2, true));
}

#[tokio::test]
async fn an_empty_container_goes_after_its_last_child_and_not_before_the_first() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/unused", CreateMode::Container).await;
    create(&client, "/used", CreateMode::Container).await;
    create(&client, "/used/child", CreateMode::Persistent).await;
    server.faults().reap_now();
    assert_eq!(server.nodes("/"), ["/", "/unused", "/used", "/used/child"]);
    client.delete("/used/child", None).await.unwrap();
    until("the container is gone", || server.nodes("/used").is_empty()).await;
    assert_eq!(server.nodes("/"), ["/", "/unused"]);
}

#[tokio::test]
async fn servers_do_not_disturb_each_other_and_start_quickly() {
    let mut servers = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        servers.push(Server::start().await.unwrap());
        assert!(
            started.elapsed() < Duration::from_millis(500),
            "{:?}",
            started.elapsed()
        );
    }
    for (index, server) in servers.iter().enumerate() {
        let client = connect(server).await;
        create(&client, &format!("/{index}"), CreateMode::Persistent).await;
    }
    for (index, server) in servers.iter().enumerate() {
        assert_eq!(server.nodes("/"), ["/".to_owned(), format!("/{index}")]);
    }
}

#[test]
fn a_server_outlives_the_runtime_that_started_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let server = runtime().block_on(Server::start()).unwrap();
    for path in ["/a", "/b"] {
        runtime().block_on(async {
            let client = connect(&server).await;
            create(&client, path, CreateMode::Persistent).await;
        });
    }
    assert_eq!(server.nodes("/"), ["/", "/a", "/b"]);
}

#[tokio::test]
async fn a_server_that_is_dropped_or_shut_down_gives_its_port_back() {
    for is_dropped in [true, false] {
        let server = Server::start().await.unwrap();
        let address = server.connect_string();
        if is_dropped {
            drop(server);
        } else {
            server.shutdown().await;
        }
        assert!(tokio::net::TcpStream::connect(&address).await.is_err());
        let again = Server::builder().address(&address).start().await.unwrap();
        assert_eq!(again.connect_string(), address);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_or_makes_no_sense_is_an_error() {
    let server = Server::start().await.unwrap();
    let taken = Server::builder().address(server.connect_string()).start().await;
    assert_eq!(
        taken.err().map(|error| error.kind()),
        Some(std::io::ErrorKind::AddrInUse)
    );
    assert!(Server::builder().address("nonsense").start().await.is_err());
}

#[tokio::test]
async fn a_request_longer_than_the_limit_costs_its_connection() {
    let server = Server::builder().request_limit(1_000).start().await.unwrap();
    let client = connect(&server).await;
    let options = options(CreateMode::Persistent);
    client.create("/short", &[7; 900], &options).await.unwrap();
    let long = client.create("/long", &[7; 1_000], &options).await;
    assert!(long.is_err(), "{long:?}");
    within(async { while client.check_stat("/").await.is_err() {} }).await;
    assert_eq!(server.nodes("/"), ["/", "/short"]);
}
