//! The log of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use zookeeper_client::CreateMode;
use zookeeper_embedded::{Op, SessionId};

use crate::support::{connect, connect_for, create, options, quick_server, until};

#[tokio::test]
async fn requests_are_counted_by_op_session_and_path() {
    let server = quick_server().await;
    let (one, two) = (connect(&server).await, connect(&server).await);
    assert_eq!(server.requests().op(Op::Connect).len(), 2);
    server.reset_requests();
    create(&one, "/a", CreateMode::Persistent).await;
    create(&two, "/a/b", CreateMode::Persistent).await;
    one.check_stat("/a/b").await.unwrap();
    let mut multi = two.new_multi_writer();
    multi.add_delete("/a/b", None).unwrap();
    multi.add_create("/ab", b"", &options(CreateMode::Persistent)).unwrap();
    multi.commit().await.unwrap();

    let requests = server.requests().without_pings();
    assert_eq!(requests.len(), 4);
    let session = |client: &zookeeper_client::Client| SessionId(client.session_id().0);
    assert_eq!(
        requests.count_by_session(),
        BTreeMap::from([(session(&one), 2), (session(&two), 2)])
    );
    assert_eq!(requests.clone().op(Op::CREATES).len(), 2);
    assert_eq!(requests.clone().under("/a").len(), 4);
    assert_eq!(
        requests.clone().under("/a/b").session(session(&two)).count_by_op()[&Op::Multi],
        1
    );
    assert_eq!(requests.clone().under("/ab").len(), 1);
    assert_eq!(requests.iter().last().unwrap().paths, ["/a/b", "/ab"]);
    server.reset_requests();
    assert!(server.requests().without_pings().is_empty());
}

#[tokio::test]
async fn pings_are_logged_and_can_be_left_out() {
    let server = quick_server().await;
    let client = connect_for(&server, Duration::from_millis(600)).await;
    until("a ping", || !server.requests().op(Op::Ping).is_empty()).await;
    assert!(server.requests().without_pings().is_empty());
    drop(client);
}
