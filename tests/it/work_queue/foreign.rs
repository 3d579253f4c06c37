//! Foreign nodes in the queue, queues that are none, rights that are missing: an error that says what, nothing is lost,
//! and no consumer runs hot.

use std::time::Duration;

use futures::StreamExt;
use zookeeper_recipes::queue::{
    AckError, DeadItemError, ItemId, ItemStatus, NewItem, PushError, PushOptions, WorkQueue,
};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectOptions, Coordinator, Error};
use zookeeper_testkit::{Fixture, eventually, within};

use super::bad_input::{GUID, write};
use super::{PATH, built, clean, drain, pop, queue, start_built, start_queue, text};
use crate::support::cost::Counted;
use crate::support::{LONG, PATIENCE, connect};

/// They are made as they are needed.
async fn all_directories(queue: &WorkQueue) {
    queue.push("now").await.unwrap();
    let soon = PushOptions::new().delay(Duration::from_millis(1)).key("soon");
    queue.push_with("soon", soon).await.unwrap();
    for _ in 0..2 {
        pop(queue).await.ack_with("result").await.unwrap();
    }
}

/// What is no item is in nobody's way, is not touched, and is looked at only when something happens.
#[tokio::test]
async fn foreign_nodes_in_a_queue_are_left_alone() {
    let fixture = Fixture::new("foreign").await;
    let (ours, counted) = (queue(&connect(&fixture).await), Counted::connect(&fixture).await);
    let theirs = queue(&counted.zk);
    all_directories(&ours).await;
    let foreign = [
        "lanes/zzz",
        "lanes/256",
        "lanes/050/qn-0000000001/x",
        "lanes/100/zzz",
        "lanes/100/0/qn-0000000001",
        "lanes/100/0/lock",
        "lanes/100/0/o-abcdefghijklmnop.0.1",
        "lanes/100/0/c-abcdefghijklmnop.0.1.1",
        "lanes/100/17/element",
        "delayed/zzz/0/0/x",
        "delayed/0/zzz",
        "delayed/0/0/x",
        "delayed/0/0/0/x",
        "groups/zzz",
        "moved/zzz",
        "consumers/zzz",
        "dead/zzz/x",
        "dead/00/x",
        "results/zzz",
        "keys/zzz",
        "expiry/zzz",
        "expiry/0/x",
        "expiry/0/0/0/x",
        "zzz",
    ];
    for name in foreign {
        write(&fixture, &format!("{PATH}/{name}"), b"\xff foreign").await;
    }
    for item in ["c", "d"] {
        ours.push(item).await.unwrap();
        let delivery = pop(&theirs).await;
        assert_eq!(text(&delivery), item);
        delivery.ack().await.unwrap();
    }
    assert!(theirs.try_pop().await.unwrap().is_none());
    assert_eq!(
        (ours.len().await.unwrap(), ours.dead_letters().await.unwrap().len()),
        (0, 0)
    );
    let waiting = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.pop().await.unwrap() }
    });
    // Ours is beside the foreign one.
    fixture.until_children(&format!("{PATH}/consumers"), 2).await;
    idle(&counted).await;
    ours.push("e").await.unwrap();
    within(PATIENCE, "an item", waiting).await.unwrap().ack().await.unwrap();
    let tree = fixture.tree().await;
    for name in foreign {
        assert!(tree.contains_key(&format!("{PATH}/{name}")), "{name} is gone");
    }
    drop((ours, theirs));
    fixture.assert_no_nodes_left(&[]).await;
}

/// It gets quiet, and stays so.
async fn idle(counted: &Counted) {
    let quiet = || async {
        counted.proxy.reset_counts();
        tokio::time::sleep(Duration::from_secs(1)).await;
        counted.requests(0).await.without_heartbeats().total() == 0
    };
    eventually(PATIENCE, "nothing is sent while nothing happens", quiet).await;
    assert!(quiet().await, "it is not quiet for long");
}

/// What stands where items stand and is none.
#[tokio::test]
async fn unreadable_items_become_dead_letters_whole() {
    let fixture = Fixture::new("unreadable").await;
    let (ours, counted) = (queue(&connect(&fixture).await), Counted::connect(&fixture).await);
    let theirs = queue(&counted.zk);
    all_directories(&ours).await;
    let guid = |letter: &str| letter.repeat(16);
    let garbage: [(String, &[u8]); 5] = [
        (format!("lanes/100/0/s-{}.1.100.1-0000000000", guid("a")), b"garbage"),
        (format!("lanes/100/0/s-{}.1.100.9-0000000001", guid("b")), b""),
        (
            format!("lanes/100/0/s-{}.1.100.1-2147483647", guid("c")),
            b"\x02\x01\xff\xff\xff",
        ),
        (
            format!("lanes/000/3/s-{}.1.0.1-0000000000", guid("d")),
            b"\x01\0\0\0\x01\0",
        ),
        (format!("delayed/0/0/0/s-{}.1.100.1-0000000000", guid("e")), b"\xff\xff"),
    ];
    for (name, data) in &garbage {
        write(&fixture, &format!("{PATH}/{name}"), data).await;
    }
    assert!(ours.len().await.unwrap() > 0, "whatever their names say");
    ours.push("c").await.unwrap();
    let delivery = pop(&theirs).await;
    assert_eq!(text(&delivery), "c");
    delivery.ack().await.unwrap();
    assert!(theirs.try_pop().await.unwrap().is_none());
    let dead = ours.dead_letters().await.unwrap();
    let mut kept: Vec<Vec<u8>> = dead.iter().map(|item| item.payload.to_vec()).collect();
    let mut written: Vec<Vec<u8>> = garbage.iter().map(|(_, data)| data.to_vec()).collect();
    kept.sort_unstable();
    written.sort_unstable();
    assert_eq!(kept, written);
    for item in &dead {
        assert!(matches!(ours.status(&item.id).await.unwrap(), ItemStatus::Dead { .. }));
        let error = ours.redrive(&item.id).await.unwrap_err();
        assert_eq!(error, DeadItemError::Unreadable { id: item.id.clone() });
        ours.purge(&item.id).await.unwrap();
    }
    assert!(ours.dead_letters().await.unwrap().is_empty());
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_foreign_key_is_an_error_naming_it() {
    let (fixture, ours) = start_queue("foreign key").await;
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    ours.push(keyed("4711")).await.unwrap();
    let tree = fixture.tree().await;
    let node = tree.keys().find(|path| path.ends_with("/4711")).unwrap();
    fixture.raw().set_data(node, b"something else", None).await.unwrap();
    // Others who push at this moment have nothing to do with it.
    let (error, beside) = tokio::join!(ours.push(keyed("4711")), ours.push("beside"));
    match error.unwrap_err() {
        PushError::Error(Error::Layout { path, .. }) => assert_eq!(path, *node),
        error => panic!("{error}"),
    }
    beside.unwrap();
    assert_eq!(drain(&ours).await, ["4711", "beside"]);
    clean(&fixture, [ours]).await;
}

/// Each operation fails with an error about `path`, and none hangs.
async fn every_call_fails(queue: &WorkQueue, expected: impl Fn(&Error) -> bool) {
    let check = |error: Error| assert!(expected(&error), "{error:?}");
    let all = async {
        for error in [
            queue.push("a").await.unwrap_err(),
            queue.try_push("a").await.unwrap_err(),
            queue.push_all(["a", "b"]).await.unwrap_err(),
        ] {
            match error {
                PushError::Error(error) => check(error),
                error => panic!("{error}"),
            }
        }
        check(queue.pop().await.unwrap_err());
        check(queue.try_pop().await.unwrap_err());
        check(queue.pop_batch(3).await.unwrap_err());
        check(queue.deliveries(3).next().await.unwrap().unwrap_err());
    };
    within(PATIENCE, "errors", all).await;
}

#[tokio::test]
async fn a_foreign_node_is_refused_and_untouched() {
    let (fixture, ours) = start_queue("foreign root").await;
    write(&fixture, PATH, b"127.0.0.1").await;
    every_call_fails(
        &ours,
        |error| matches!(error, Error::Layout { path, .. } if path == PATH),
    )
    .await;
    let id: ItemId = format!("100.0.{GUID}.0").parse().unwrap();
    assert!(ours.status(&id).await.is_err());
    assert!(fixture.children(PATH).await.is_empty());
    assert_eq!(fixture.raw().get_data(PATH).await.unwrap().0, b"127.0.0.1");
    // Once it is gone, the same handle works.
    fixture.raw().delete(PATH, None).await.unwrap();
    ours.push("a").await.unwrap();
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn an_empty_node_becomes_the_queue() {
    let (fixture, ours) = start_built("made", |queue| queue.capacity(2)).await;
    write(&fixture, PATH, b"").await;
    ours.push_all(["a", "b"]).await.unwrap();
    assert!(matches!(
        ours.try_push("c").await.unwrap_err(),
        PushError::QueueFull { capacity: 2, .. }
    ));
    let other = built(&connect(&fixture).await, |queue| queue.capacity(3));
    every_call_fails(
        &other,
        |error| matches!(error, Error::OptionMismatch { path, option, .. } if path == PATH && option == "capacity"),
    )
    .await;
    assert_eq!(drain(&ours).await, ["a", "b"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn an_ephemeral_node_is_no_queue() {
    let (fixture, ours) = start_queue("ephemeral root").await;
    write(&fixture, "/queues/other", b"").await;
    let options = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    fixture.raw().create(PATH, b"", &options).await.unwrap();
    every_call_fails(
        &ours,
        |error| matches!(error, Error::Layout { path, .. } if path.starts_with(PATH)),
    )
    .await;
    let below = WorkQueue::new(&connect(&fixture).await, &format!("{PATH}/below")).unwrap();
    every_call_fails(
        &below,
        |error| matches!(error, Error::Layout { path, .. } if path.starts_with(PATH)),
    )
    .await;
    fixture.raw().delete(PATH, None).await.unwrap();
    ours.push("a").await.unwrap();
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours, below]).await;
}

/// An operator removes all of it while a consumer waits and a producer knows its way: both go on.
#[tokio::test]
async fn a_queue_that_was_removed_is_made_again() {
    let fixture = Fixture::new("removed").await;
    let (ours, counted) = (queue(&connect(&fixture).await), Counted::connect(&fixture).await);
    let theirs = queue(&counted.zk);
    ours.push("a").await.unwrap();
    assert_eq!(drain(&theirs).await, ["a"]);
    for _ in 0..3 {
        let waiting = tokio::spawn({
            let theirs = theirs.clone();
            async move { theirs.pop().await.unwrap() }
        });
        fixture.until_children(&format!("{PATH}/consumers"), 1).await;
        remove_all(&fixture, PATH).await;
        idle(&counted).await;
        ours.push("b").await.unwrap();
        let delivery = within(PATIENCE, "an item", waiting).await.unwrap();
        assert_eq!(text(&delivery), "b");
        delivery.ack().await.unwrap();
    }
    clean(&fixture, [ours, theirs]).await;
}

/// As often as it takes: they make some of it again at once.
pub(super) async fn remove_all(fixture: &Fixture, path: &str) {
    let below = format!("{path}/");
    let mut paths: Vec<String> = fixture.tree().await.into_keys().collect();
    paths.retain(|one| one == path || one.starts_with(&below));
    paths.reverse();
    for path in paths {
        let deleted = fixture.raw().delete(&path, None).await;
        assert!(
            matches!(deleted, Ok(()) | Err(zk::Error::NoNode | zk::Error::NotEmpty)),
            "{path}: {deleted:?}"
        );
    }
}

const ROOT: (&str, &str) = ("digest", "root:secret");
const ROOT_ID: &str = "root:J1scEM42CKaLPP5+ElgpgGsuONg=";

/// Makes a node where `root` has all rights and everybody else has `rights`, with `data`.
pub(super) async fn guard(fixture: &Fixture, path: &str, rights: zk::Permission, data: &[u8]) {
    fixture.raw().auth(ROOT.0, ROOT.1.as_bytes()).await.unwrap();
    let mut acls = vec![zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", ROOT_ID))];
    if rights != zk::Permission::NONE {
        acls.push(zk::Acl::new(rights, zk::AuthId::anyone()));
    }
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&acls));
    fixture.raw().create(path, data, &options).await.unwrap();
}

async fn connect_as_root(fixture: &Fixture) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(LONG).auth(ROOT.0, ROOT.1);
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}

pub(super) fn denied(error: &Error) -> bool {
    matches!(error, Error::Denied { path } if path.starts_with(PATH))
}

#[tokio::test]
async fn a_queue_without_rights_is_denied() {
    let fixture = Fixture::new("denied").await;
    write(&fixture, "/queues/other", b"").await;
    for (rights, data) in [
        (zk::Permission::NONE, &b""[..]),
        (zk::Permission::READ, b""),
        (zk::Permission::READ, b"zookeeper-recipes work queue 2"),
    ] {
        guard(&fixture, PATH, rights, data).await;
        every_call_fails(&queue(&connect(&fixture).await), denied).await;
        let privileged = queue(&connect_as_root(&fixture).await);
        privileged.push("a").await.unwrap();
        assert_eq!(drain(&privileged).await, ["a"]);
        clean(&fixture, [privileged]).await;
        remove_all(&fixture, PATH).await;
    }
}

/// Items that may be read and not be taken: an error each time, not a hot loop, and they are there still.
#[tokio::test]
async fn items_without_rights_are_errors_and_stay() {
    let fixture = Fixture::new("stuck").await;
    let counted = Counted::connect(&fixture).await;
    let ours = queue(&counted.zk);
    ours.push("a").await.unwrap();
    let block = format!("{PATH}/lanes/100/0");
    let segment = format!("{block}/{}", fixture.children(&block).await[0]);
    // A node of somebody else's below it.
    write(&fixture, &format!("{segment}/foreign"), b"").await;
    counted.requests(0).await;
    for _ in 0..3 {
        let error = within(PATIENCE, "an error", pop(&ours).await.ack()).await.unwrap_err();
        assert!(
            matches!(&error, AckError::Error(Error::Client { path, source: zk::Error::NotEmpty }) if *path == segment),
            "{error}"
        );
        let counts = counted.requests(1).await;
        assert!(counts.total() < 40, "{counts}");
    }
    fixture.raw().delete(&format!("{segment}/foreign"), None).await.unwrap();
    assert_eq!(drain(&ours).await, ["a"]);

    // One that we must not remove.
    guard(&fixture, &format!("{PATH}/lanes/050"), zk::Permission::READ, b"").await;
    let error = ours.push_with("b", PushOptions::new().priority(50)).await.unwrap_err();
    assert!(
        matches!(&error, PushError::Error(Error::Denied { path }) if path.starts_with(PATH)),
        "{error}"
    );
    ours.push("c").await.unwrap();
    assert_eq!(drain(&ours).await, ["c"]);
    clean(&fixture, [ours]).await;
}
