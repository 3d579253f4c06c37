//! Bad items, keys and ids, foreign nodes in the queue, queues that are none: an error that says what, nothing is lost,
//! and nobody runs hot.

use std::time::Duration;

use futures::{StreamExt, future};
use zookeeper_recipes::queue::{
    AckError, DeadItemError, Delivery, ItemId, ItemStatus, NewItem, PushError, PushOptions, ResultError, WorkQueue,
};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectOptions, Coordinator, Error};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, built, clean, drain, pop, queue, text};
use crate::budget::Counted;
use crate::support::{LONG, PATIENCE, connect};

const ITEM_LIMIT: usize = 1_000_000;
const KEY_LIMIT: usize = 512;
const GUID: &str = "abcdefghijklmnop";

async fn write(fixture: &Fixture, path: &str, data: &[u8]) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        fixture.raw().mkdir(above, &options).await.unwrap();
    }
    fixture.raw().create(path, data, &options).await.unwrap();
}

fn too_large(error: &PushError) -> bool {
    matches!(error, PushError::Error(Error::TooLarge { limit, .. }) if *limit >= ITEM_LIMIT)
}

#[tokio::test]
async fn an_item_of_the_limit_goes_all_ways_and_one_byte_more_is_refused() {
    let fixture = Fixture::new("item limit").await;
    let ours = built(&connect(&fixture).await, |queue| queue.max_attempts(2));
    let key = "k".repeat(KEY_LIMIT);
    let largest = || NewItem::new(vec![7; ITEM_LIMIT]).with(PushOptions::new().key(&key));
    let larger = || NewItem::new(vec![7; ITEM_LIMIT + 1]);
    let refused = |error: PushError| {
        let expected = Error::TooLarge {
            path: PATH.to_owned(),
            size: ITEM_LIMIT + 1,
            limit: ITEM_LIMIT,
        };
        assert_eq!(error, PushError::Error(expected));
        assert!(error.to_string().contains(&ITEM_LIMIT.to_string()), "{error}");
    };
    refused(ours.push(larger()).await.unwrap_err());
    refused(ours.try_push(larger()).await.unwrap_err());
    refused(ours.push_all([NewItem::new("small"), larger()]).await.unwrap_err());
    assert!(ours.is_empty().await.unwrap());

    let id = ours.push(largest()).await.unwrap();
    let first = pop(&ours).await;
    first.nack_after(Duration::from_millis(1)).await.unwrap();
    let second = pop(&ours).await;
    assert_eq!((second.payload().len(), second.attempt()), (ITEM_LIMIT, 2));
    second.reject("x".repeat(10_000)).await.unwrap();
    let dead = ours.dead_letters().await.unwrap();
    assert_eq!((&dead[0].id, dead[0].payload.len()), (&id, ITEM_LIMIT));
    ours.redrive(&id).await.unwrap();
    pop(&ours).await.ack_with("result").await.unwrap();

    ours.push("first").await.unwrap();
    match pop(&ours).await.ack_then([larger()]).await.unwrap_err() {
        AckError::Push(PushError::Error(Error::TooLarge { limit, .. })) => assert_eq!(limit, ITEM_LIMIT),
        error => panic!("{error}"),
    }
    let again = pop(&ours).await;
    assert_eq!((text(&again).as_str(), again.attempt()), ("first", 2));
    again.ack().await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_result_over_the_limit_is_refused_and_the_item_goes_back() {
    let fixture = Fixture::new("result limit").await;
    let ours = queue(&connect(&fixture).await);
    let id = ours.push("sum").await.unwrap();
    let neighbour = ours.push("neighbour").await.unwrap();
    let mut both = within(PATIENCE, "both", ours.pop_batch(2)).await.unwrap();
    let (beside, large) = (both.pop().unwrap(), both.pop().unwrap());
    // Acknowledged together, but one of them is not in the other's way.
    let (refused, acked) = tokio::join!(large.ack_with(vec![7; 1 << 20]), beside.ack());
    assert!(
        matches!(&refused, Err(AckError::Error(Error::TooLarge { limit, .. })) if *limit > ITEM_LIMIT),
        "{refused:?}"
    );
    acked.unwrap();
    assert_eq!(ours.status(&neighbour).await.unwrap(), ItemStatus::Unknown);
    let again = pop(&ours).await;
    assert_eq!((again.id(), again.attempt()), (&id, 2));
    again.ack_with(vec![7; ITEM_LIMIT]).await.unwrap();
    assert_eq!(ours.result(&id).await.unwrap().len(), ITEM_LIMIT);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn what_does_not_fit_into_one_transaction_is_not_pushed_at_all() {
    let fixture = Fixture::new("transaction limit").await;
    let ours = queue(&connect(&fixture).await);
    let part = || NewItem::new(vec![7; 400_000]);
    let error = ours.push_all([part(), part(), part()]).await.unwrap_err();
    assert!(too_large(&error), "{error}");
    assert!(ours.is_empty().await.unwrap());
    let small: Vec<NewItem> = (0..5_000).map(|_| NewItem::new(vec![7; 300])).collect();
    let error = ours.push_all(small).await.unwrap_err();
    assert!(too_large(&error), "{error}");
    // What is pushed at the same time by others is not refused with it, nor is what fits alone.
    let large = ours.push_all([part(), part(), part()]);
    let (large, pushed) = tokio::join!(large, future::join_all((0..4).map(|_| ours.push(part()))));
    assert!(too_large(&large.unwrap_err()));
    assert!(pushed.iter().all(Result::is_ok), "{pushed:?}");
    assert_eq!(drain(&ours).await.len(), 4);
    assert!(ours.push_all(Vec::<NewItem>::new()).await.unwrap().is_empty());
    clean(&fixture, [ours]).await;
}

/// Curator's ids break on `/`, kazoo's on nothing, ours on nothing.
#[tokio::test]
async fn a_key_is_any_text_of_1_to_512_bytes() {
    let fixture = Fixture::new("keys").await;
    let ours = queue(&connect(&fixture).await);
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    let good = [
        "/".to_owned(),
        "a/b|c".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        "%2f".to_owned(),
        "zookeeper".to_owned(),
        "a\0b\u{7f}\u{fff0}".to_owned(),
        "Überweisung 🔋".to_owned(),
        "k".repeat(KEY_LIMIT),
        "ü".repeat(KEY_LIMIT / 2),
    ];
    let mut ids = Vec::new();
    for key in &good {
        ids.push(ours.push(keyed(key)).await.unwrap());
    }
    let again = ours.push_all(good.iter().map(|key| keyed(key))).await.unwrap();
    assert_eq!(again, ids);
    for key in ["".to_owned(), "k".repeat(KEY_LIMIT + 1), "ü".repeat(KEY_LIMIT / 2 + 1)] {
        let error = ours.push(keyed(&key)).await.unwrap_err();
        let expected = PushError::InvalidKey {
            size: key.len(),
            limit: KEY_LIMIT,
        };
        assert_eq!(error, expected);
        assert_eq!(ours.push_all([keyed("new"), keyed(&key)]).await.unwrap_err(), expected);
    }
    for key in &good {
        let delivery = pop(&ours).await;
        assert_eq!((text(&delivery), delivery.key()), (key.clone(), Some(key.as_str())));
        delivery.ack().await.unwrap();
    }
    assert!(ours.is_empty().await.unwrap());
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn ids_that_no_push_returned_are_refused_or_unknown() {
    let fixture = Fixture::new("ids").await;
    let ours = queue(&connect(&fixture).await);
    for text in ["", "/", "17", "qn-0000000001", "100.0.x.0", "../../zookeeper"] {
        let error = text.parse::<ItemId>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    for text in [
        format!("100.0.{GUID}.0"),
        format!("d{}.{}.{GUID}.{}", i64::MAX, i32::MAX, u8::MAX),
        format!("d{}.{}.{GUID}.0", i64::MIN, i32::MIN),
        format!("g{GUID}.0.{GUID}.0"),
    ] {
        let id: ItemId = text.parse().unwrap();
        let all = async {
            assert_eq!(ours.status(&id).await.unwrap(), ItemStatus::Unknown);
            let unknown = || id.clone();
            assert_eq!(
                ours.result(&id).await.unwrap_err(),
                ResultError::Unknown { id: unknown() }
            );
            assert_eq!(
                ours.redrive(&id).await.unwrap_err(),
                DeadItemError::Unknown { id: unknown() }
            );
            assert_eq!(
                ours.purge(&id).await.unwrap_err(),
                DeadItemError::Unknown { id: unknown() }
            );
        };
        within(PATIENCE, "answers", all).await;
    }
    let id = ours.push("not dead").await.unwrap();
    assert_eq!(
        ours.redrive(&id).await.unwrap_err(),
        DeadItemError::Unknown { id: id.clone() }
    );
    assert_eq!(ours.purge(&id).await.unwrap_err(), DeadItemError::Unknown { id });
    assert_eq!(drain(&ours).await, ["not dead"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn numbers_of_items_that_make_no_sense_are_bounded() {
    let fixture = Fixture::new("numbers").await;
    let zk = connect(&fixture).await;
    let ours = queue(&zk);
    ours.push_all((0..600).map(|number| format!("{number:03}")))
        .await
        .unwrap();
    assert!(within(PATIENCE, "nothing", ours.pop_batch(0)).await.unwrap().is_empty());
    let batch = within(PATIENCE, "a batch", ours.pop_batch(usize::MAX)).await.unwrap();
    assert_eq!(batch.len(), 512);
    future::try_join_all(batch.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    for prefetch in [0, usize::MAX] {
        let mut deliveries = ours.deliveries(prefetch);
        within(PATIENCE, "an item", deliveries.next())
            .await
            .unwrap()
            .unwrap()
            .ack()
            .await
            .unwrap();
    }
    eventually(PATIENCE, "what was fetched ahead is back", || async {
        ours.len().await.unwrap() == 86
    })
    .await;
    assert_eq!(drain(&ours).await.len(), 86);
    // Each item is delivered once at least.
    let once = WorkQueue::builder(&zk, "/once").max_attempts(0).build().unwrap();
    once.push_all(["a", "b"]).await.unwrap();
    pop(&once).await.nack().await.unwrap();
    assert_eq!(drain(&once).await, ["b"]);
    assert_eq!(once.dead_letters().await.unwrap().len(), 1);
    drop(once);
    clean(&fixture, [ours]).await;
}

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
async fn what_cannot_be_read_as_an_item_is_put_to_the_dead_ones_whole() {
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
async fn a_key_that_stands_for_something_else_is_an_error_that_names_it() {
    let fixture = Fixture::new("foreign key").await;
    let ours = queue(&connect(&fixture).await);
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
async fn a_node_that_is_no_queue_is_an_error_and_not_touched() {
    let fixture = Fixture::new("foreign root").await;
    let ours = queue(&connect(&fixture).await);
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
async fn a_node_that_somebody_made_for_the_queue_is_taken() {
    let fixture = Fixture::new("made").await;
    let ours = built(&connect(&fixture).await, |queue| queue.capacity(2));
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
    let fixture = Fixture::new("ephemeral root").await;
    let ours = queue(&connect(&fixture).await);
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
async fn remove_all(fixture: &Fixture, path: &str) {
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
async fn guard(fixture: &Fixture, path: &str, rights: zk::Permission, data: &[u8]) {
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

fn denied(error: &Error) -> bool {
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
async fn items_that_may_not_be_taken_are_an_error_and_stay() {
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
