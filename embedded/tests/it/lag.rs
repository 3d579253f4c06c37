//! Reads from a state that lags.

use zookeeper_client::{Client, CreateMode, EventType};
use zookeeper_embedded::{Op, Scope};

use crate::support::{connect, create, options, quick_server, within};

#[tokio::test]
async fn reads_stay_n_transactions_behind_until_sync() {
    let server = quick_server().await;
    let (writer, reader) = (connect(&server).await, connect(&server).await);
    server.faults().lag_reads(reader.session_id().0, 2);
    for path in ["/a", "/b", "/c"] {
        create(&writer, path, CreateMode::Persistent).await;
    }
    let mut children = reader.list_children("/").await.unwrap();
    children.sort_unstable();
    assert_eq!(children, ["a", "zookeeper"]);
    assert_eq!(reader.check_stat("/b").await.unwrap(), None);
    reader.sync("/").await.unwrap();
    assert!(reader.check_stat("/c").await.unwrap().is_some());
    // After the sync it may fall behind again.
    create(&writer, "/d", CreateMode::Persistent).await;
    assert_eq!(reader.check_stat("/d").await.unwrap(), None);
}

#[tokio::test]
async fn a_lagging_session_reads_its_own_writes() {
    let server = quick_server().await;
    let (writer, reader) = (connect(&server).await, connect(&server).await);
    server.faults().lag_reads(reader.session_id().0, 100);
    create(&writer, "/a", CreateMode::Persistent).await;
    assert_eq!(reader.check_stat("/a").await.unwrap(), None);
    create(&reader, "/b", CreateMode::Persistent).await;
    assert!(reader.check_stat("/a").await.unwrap().is_some());
}

#[tokio::test]
async fn watches_follow_the_lagging_state() {
    let server = quick_server().await;
    let (writer, reader) = (connect(&server).await, connect(&server).await);
    create(&writer, "/w", CreateMode::Persistent).await;
    // Set before the lag begins and moved along, as those set after it.
    let (_, _, first) = reader.get_and_watch_data("/w").await.unwrap();
    let lag = server.faults().lag_reads(reader.session_id().0, 1);
    let (_, _, children) = reader.get_and_watch_children("/w").await.unwrap();
    writer.set_data("/w", b"1", None).await.unwrap();
    assert_eq!(reader.get_data("/w").await.unwrap().0, b"");
    create(&writer, "/w/a", CreateMode::Persistent).await;
    assert_eq!(within(first.changed()).await.event_type, EventType::NodeDataChanged);
    assert_eq!(reader.get_data("/w").await.unwrap().0, b"1");
    lag.off();
    assert_eq!(
        within(children.changed()).await.event_type,
        EventType::NodeChildrenChanged
    );
    let (_, _, after) = reader.get_and_watch_data("/w").await.unwrap();
    writer.set_data("/w", b"2", None).await.unwrap();
    within(after.changed()).await;
}

#[tokio::test]
async fn a_node_whose_reply_was_lost_is_missing_from_the_first_list_and_there_after_sync() {
    let server = quick_server().await;
    let client = connect(&server).await;
    create(&client, "/q", CreateMode::Persistent).await;
    server.faults().lag_reads(Scope::All, 1);
    server.faults().on(Op::CREATES).path_prefix("/q/").drop_after_apply();
    assert!(
        client
            .create("/q/n-", b"", &options(CreateMode::EphemeralSequential))
            .await
            .is_err()
    );
    assert_eq!(server.nodes("/q").len(), 2);
    assert!(client.list_children("/q").await.unwrap().is_empty());
    client.sync("/q").await.unwrap();
    assert_eq!(client.list_children("/q").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_reconnect_never_reads_older_than_the_client_has_seen() {
    let server = quick_server().await;
    let client = connect(&server).await;
    server.faults().lag_reads(Scope::All, 10);
    create(&client, "/seen", CreateMode::Persistent).await;
    server.faults().cut(client.session_id().0);
    within(async { while client.check_stat("/seen").await.is_err() {} }).await;
    assert!(client.check_stat("/seen").await.unwrap().is_some());

    // Another client starts with its own session, which is later than all of this.
    let other = Client::connect(&server.connect_string()).await.unwrap();
    assert!(other.check_stat("/seen").await.unwrap().is_some());
}
