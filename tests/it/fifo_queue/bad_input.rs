//! What is refused, and by which name.

use zookeeper_recipes::Error;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::queue::{FifoPopError, FifoPushError, FifoQueue};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, within};

use super::{PATH, clean, drain, push, queue};
use crate::support::{PATIENCE, connect_each, create, faults, session_id, start};

/// The counter of a directory is an `int`, and servers stop at its last value.
#[tokio::test]
async fn order_holds_until_the_sequence_overflows() {
    let fixture = Fixture::with_embedded_server("overflow").await;
    let [ours, other] = connect_each(&fixture).await.map(|zk| queue(&zk));
    push(&ours, "first").await;
    let dir = format!("{}{PATH}", fixture.chroot());
    assert!(faults(&fixture).set_sequence(&dir, i32::MAX - 2));
    for item in ["a", "b", "c"] {
        push(&ours, item).await;
    }
    let refused = ours.push("d").await;
    assert!(
        matches!(&refused, Err(FifoPushError::Error(Error::Layout { path, .. })) if path == PATH),
        "{refused:?}"
    );
    assert_eq!(drain(&other).await, ["first", "a", "b", "c"]);
    // Whoever is after the last number alone can use it again.
    push(&ours, "e").await;
    assert_eq!(drain(&ours).await, ["e"]);
    // What older servers, and newer ones with several creates in flight, write after the last number.
    for (name, data) in [
        ("qn-2147483646", "1"),
        ("qn-2147483647", "2"),
        ("qn--2147483648", "3"),
        ("qn--2147483647", "4"),
    ] {
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        let path = format!("{PATH}/{name}");
        fixture.raw().create(&path, data.as_bytes(), &options).await.unwrap();
    }
    assert_eq!(drain(&other).await, ["1", "2", "3", "4"]);
    clean(&fixture, [ours, other]).await;
}

#[tokio::test]
async fn items_over_the_limit_are_refused() {
    let (fixture, zk) = start("large").await;
    let queue = queue(&zk);
    let session = session_id(&zk).await;
    let refused = queue.push(vec![0; 2_000_000]).await;
    let Err(FifoPushError::Error(Error::TooLarge { path, limit, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, PATH);
    assert!(queue.push(vec![0; limit + 1]).await.is_err());
    queue.push(vec![7; limit]).await.unwrap();
    assert_eq!(queue.len().await.unwrap(), 1);
    assert_eq!(pop_bytes(&queue).await, vec![7; limit]);
    assert_eq!(session_id(&zk).await, session, "no connection was cut for it");
    clean(&fixture, [queue]).await;
}

async fn pop_bytes(queue: &FifoQueue) -> Bytes {
    within(PATIENCE, "an item", queue.pop()).await.unwrap()
}

#[tokio::test]
async fn errors_name_bad_paths_and_untakeable_items() {
    let (fixture, zk) = start("bad").await;
    for path in ["", "a", "/", "/a/", "/a//b", "/🔒"] {
        let refused = FifoQueue::new(&zk, path).unwrap_err();
        assert!(matches!(refused, Error::InvalidPath { .. }), "{path:?}: {refused}");
    }
    let queue = queue(&zk);
    push(&queue, "a").await;
    push(&queue, "b").await;
    let (first, below) = (format!("{PATH}/qn-0000000000"), format!("{PATH}/qn-0000000000/x"));
    create(&fixture, &below, zk::CreateMode::Persistent).await;
    let refused = within(PATIENCE, "an error", queue.pop()).await;
    assert!(
        matches!(&refused, Err(FifoPopError::Error(Error::Layout { path, .. })) if *path == first),
        "{refused:?}"
    );
    fixture.raw().delete(&below, None).await.unwrap();
    let nobody = [zk::Acl::new(zk::Permission::DELETE, zk::AuthId::anyone())];
    fixture.raw().set_acl(&first, &nobody, None).await.unwrap();
    let refused = within(PATIENCE, "an error", queue.try_pop()).await;
    assert!(
        matches!(&refused, Err(FifoPopError::Error(Error::Denied { path })) if *path == first),
        "{refused:?}"
    );
    assert_eq!(queue.len().await.unwrap(), 2, "nothing is lost");
    fixture.raw().delete(&first, None).await.unwrap();
    assert_eq!(drain(&queue).await, ["b"]);
    clean(&fixture, [queue]).await;
}
