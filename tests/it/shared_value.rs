//! Shared values: exact writes, what observers see, and Curator's known mistakes (`SharedValue`, `DistributedAtomic*`),
//! which are named after their issue.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, Error, SharedValue, SharedValueError, Versioned};
use zookeeper_testkit::{Fixture, Op, When, eventually, within};

use crate::support::{LONG, PATIENCE, connect, connect_to, start, start_proxied};

const VALUE: &str = "/config/value";

fn value(zk: &Coordinator) -> SharedValue {
    SharedValue::new(zk, VALUE).unwrap()
}

async fn get(value: &SharedValue) -> Option<String> {
    let stored = value.get().await.unwrap();
    stored.map(|stored| String::from_utf8(stored.value.to_vec()).unwrap())
}

fn is(expected: &'static str) -> impl Fn(&Option<Versioned>) -> bool {
    move |now| now.as_ref().is_some_and(|now| now.value == expected)
}

/// No mark of a write is left.
async fn clean(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&[VALUE]).await;
}

#[tokio::test]
async fn a_value_is_set_replaced_and_updated_with_its_version() {
    let fixture = Fixture::new("value").await;
    let value = value(&connect(&fixture).await);
    assert_eq!(value.get().await.unwrap(), None);
    value.set("a").await.unwrap();
    let first = value.get().await.unwrap().unwrap();
    assert_eq!((first.value.as_ref(), first.version), (&b"a"[..], 0));
    value.compare_and_set(Some(&first), "b").await.unwrap();
    let second = value.get().await.unwrap().unwrap();
    assert_eq!((second.value.as_ref(), second.version), (&b"b"[..], 1));
    assert!(second.zxid > first.zxid);
    assert_eq!(
        value.compare_and_set(Some(&first), "c").await,
        Err(SharedValueError::Changed)
    );
    assert_eq!(value.compare_and_set(None, "c").await, Err(SharedValueError::Changed));
    let appended = value
        .update(|now| [now.unwrap().value.as_ref(), b"!"].concat())
        .await
        .unwrap();
    assert_eq!(appended, "b!");
    assert_eq!(get(&value).await.as_deref(), Some("b!"));
    clean(&fixture).await;
}

#[tokio::test]
async fn a_value_that_is_not_there_is_made_by_the_first_who_expects_none() {
    let fixture = Fixture::new("first value").await;
    let (one, two) = (value(&connect(&fixture).await), value(&connect(&fixture).await));
    let (first, second) = futures::future::join(one.compare_and_set(None, "x"), two.compare_and_set(None, "x")).await;
    let won = [first, second];
    assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "{won:?}");
    assert!(won.contains(&Err(SharedValueError::Changed)), "{won:?}");
    clean(&fixture).await;
}

#[tokio::test]
async fn the_layout_is_that_of_curators_shared_value() {
    let fixture = Fixture::new("value layout").await;
    let value = value(&connect(&fixture).await);
    value.set("raw").await.unwrap();
    let (data, stat) = fixture.raw().get_data(VALUE).await.unwrap();
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"raw"[..], 0));
    fixture.raw().set_data(VALUE, b"theirs", None).await.unwrap();
    assert_eq!(get(&value).await.as_deref(), Some("theirs"));
    clean(&fixture).await;
}

/// Curator's atomics: a write that was applied and whose reply was lost is reported as failed, or applied twice.
#[tokio::test]
async fn curator_atomic_a_write_whose_reply_is_lost_is_applied_once_and_reported_so() {
    let fixture = Fixture::new("value, reply lost").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);

    let fault = proxy.lose_reply(When::request(Op::Multi));
    within(PATIENCE, "created", value.compare_and_set(None, "0"))
        .await
        .unwrap();
    fault.fired().await;
    for round in 1..4 {
        let current = value.get().await.unwrap().unwrap();
        let when = When::request(Op::Multi);
        let fault = if round == 2 {
            proxy.cut_before(when)
        } else {
            proxy.lose_reply(when)
        };
        let set = value.compare_and_set(Some(&current), round.to_string());
        within(PATIENCE, "set", set).await.unwrap();
        fault.fired().await;
        let now = value.get().await.unwrap().unwrap();
        assert_eq!(
            (now.value, now.version),
            (round.to_string().into(), round),
            "applied once"
        );
    }
    let fault = proxy.lose_reply(When::request(Op::Multi));
    within(PATIENCE, "set", value.set("x")).await.unwrap();
    fault.fired().await;
    assert_eq!(value.get().await.unwrap().unwrap().version, 4);
    clean(&fixture).await;
}

/// What version and bytes cannot tell: the write that is there is another client's, with the same bytes.
#[tokio::test]
async fn a_write_that_was_cut_is_not_confused_with_the_same_bytes_of_another_client() {
    let fixture = Fixture::new("same bytes").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, theirs) = (
        value(&connect_to(&servers, LONG).await),
        value(&connect(&fixture).await),
    );
    theirs.set("5").await.unwrap();
    let current = ours.get().await.unwrap();
    let fault = proxy.cut_before(When::request(Op::Multi));
    let set = ours.compare_and_set(current.as_ref(), "6");
    let overtake = async {
        fault.fired().await;
        proxy.refuse().await;
        theirs.compare_and_set(current.as_ref(), "6").await.unwrap();
        proxy.accept().await;
    };
    let (set, ()) = within(PATIENCE, "answered", futures::future::join(set, overtake)).await;
    assert!(
        matches!(set, Err(SharedValueError::Changed)),
        "two clients won: {set:?}"
    );
    clean(&fixture).await;
}

/// A write in flight when the session ends: exact where it can be, else Indeterminate, never a guess.
#[tokio::test]
async fn a_write_that_the_session_did_not_survive_is_never_reported_wrongly() {
    let fixture = Fixture::new("value, session lost").await;
    let (proxy, servers) = fixture.proxied().await;
    for applied in [true, false] {
        let zk = connect_to(&servers, LONG).await;
        let value = value(&zk);
        value.set("0").await.unwrap();
        let current = value.get().await.unwrap().unwrap();
        let session = zk.client().await.unwrap().session().clone();
        let when = When::request(Op::Multi);
        let fault = if applied {
            proxy.lose_reply(when)
        } else {
            proxy.cut_before(when)
        };
        let set = value.compare_and_set(Some(&current), "1");
        let expire = async {
            fault.fired().await;
            proxy.refuse().await;
            fixture.expire(&session).await;
            proxy.accept().await;
        };
        let (set, ()) = within(PATIENCE, "answered", futures::future::join(set, expire)).await;
        let now = value.get().await.unwrap().unwrap();
        match set {
            Ok(()) => assert_eq!((now.value.as_ref(), now.version), (&b"1"[..], current.version + 1)),
            Err(SharedValueError::Indeterminate) => assert!(applied, "it is certain that it was not applied before"),
            Err(other) => panic!("{other}"),
        }
        zk.close().await;
    }
    clean(&fixture).await;
}

/// CURATOR-311, -329: a stale value after a reconnect; version 0 ignored. CURATOR-391: delete and recreate during a cut,
/// with the same version, gives no event.
#[tokio::test]
async fn curator_311_391_an_observer_rereads_after_a_reconnect_and_sees_a_recreated_node() {
    let (fixture, proxy, bystander) = start_proxied("value observer", LONG).await;
    let value = value(&connect(&fixture).await);
    value.set("same").await.unwrap();
    let observed = SharedValue::new(&bystander, VALUE).unwrap();
    let mut observer = observed.observe().await.unwrap();
    let seen = observer.current().unwrap();
    assert_eq!((seen.value.as_ref(), seen.version), (&b"same"[..], 0));
    for expire in [false, true] {
        let session = bystander.client().await.unwrap().session().clone();
        let before = observer.current().unwrap();
        proxy.refuse().await;
        if expire {
            fixture.expire(&session).await;
        }
        clean(&fixture).await;
        fixture.raw().delete(VALUE, None).await.unwrap();
        value.set("same").await.unwrap();
        proxy.accept().await;
        let again = within(PATIENCE, "the recreated one is seen", observer.changed())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((again.value.as_ref(), again.version), (&b"same"[..], 0));
        assert!(again.zxid > before.zxid);
    }
    clean(&fixture).await;
}

#[tokio::test]
async fn an_observer_reads_again_behind_a_sync_after_each_reconnect() {
    let fixture = Fixture::new("reread").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);
    let mut observer = value.observe().await.unwrap();
    observer.current_and_update();
    for _ in 0..3 {
        proxy.reset_counts();
        proxy.cut();
        // A look that the cut interrupted is finished first, without a sync.
        let read_again = || async {
            let counts = proxy.requests();
            let sync = counts.requests().iter().position(|request| request.op == Op::Sync);
            sync.is_some_and(|sync| counts.requests()[sync..].iter().any(|request| request.is_under(VALUE)))
        };
        eventually(PATIENCE, "read again behind a sync", read_again).await;
    }
    clean(&fixture).await;
}

#[tokio::test]
async fn observers_see_every_latest_value_and_that_there_is_none() {
    let (fixture, zk) = start("observe value").await;
    let value = value(&zk);
    let mut observer = value.observe().await.unwrap();
    assert_eq!(observer.current(), None, "not even the path exists");
    value.set("a").await.unwrap();
    within(PATIENCE, "a", observer.wait_for(is("a"))).await.unwrap();
    for _ in 0..50 {
        value.set("b").await.unwrap();
    }
    value.set("last").await.unwrap();
    within(PATIENCE, "the last", observer.wait_for(is("last")))
        .await
        .unwrap();
    clean(&fixture).await;
    fixture.raw().delete(VALUE, None).await.unwrap();
    within(PATIENCE, "none", observer.wait_for(Option::is_none))
        .await
        .unwrap();
    value.set("again").await.unwrap();
    within(PATIENCE, "again", observer.wait_for(is("again"))).await.unwrap();
    zk.close().await;
    assert_eq!(within(PATIENCE, "the end", observer.changed()).await, None);
    clean(&fixture).await;
}

#[tokio::test]
async fn requests_keep_to_their_budget_and_idle_observers_cost_none() {
    let fixture = Fixture::new("value budget").await;
    let (proxy, servers) = fixture.proxied().await;
    let value = value(&connect_to(&servers, LONG).await);
    value.set("a").await.unwrap();
    let mut observer = value.observe().await.unwrap();
    let current = observer.current();
    // Three nodes and no mark: all is quiet.
    clean(&fixture).await;
    proxy.reset_counts();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = proxy.requests();
    assert_eq!(counts.total(), 0, "{counts}");
    value.compare_and_set(current.as_ref(), "b").await.unwrap();
    within(PATIENCE, "seen", observer.wait_for(is("b"))).await.unwrap();
    eventually(PATIENCE, "the mark is deleted", || async {
        proxy.requests().of(Op::Delete) == 1
    })
    .await;
    let counts = proxy.requests();
    assert_eq!(
        (counts.of(Op::Multi), counts.of(Op::GetData), counts.total()),
        (1, 1, 3),
        "{counts}"
    );
    clean(&fixture).await;
}

#[tokio::test]
async fn bad_input_is_an_error_that_names_the_path() {
    let (fixture, zk) = start("value bad input").await;
    assert!(matches!(SharedValue::new(&zk, "value"), Err(Error::InvalidPath { .. })));
    let large = vec![b'x'; 1024 * 1024 + 1];
    let error = value(&zk).set(large).await.unwrap_err();
    assert!(
        matches!(&error, SharedValueError::Error(Error::TooLarge { path, .. }) if path == VALUE),
        "{error}"
    );
    let below_ephemeral = SharedValue::new(&zk, "/eph/value").unwrap();
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create("/eph", b"", &options).await.unwrap();
    let error = within(PATIENCE, "refused", below_ephemeral.set("x")).await.unwrap_err();
    assert!(
        matches!(&error, SharedValueError::Error(Error::Layout { .. })),
        "{error}"
    );
    fixture.raw().delete("/eph", None).await.unwrap();
    assert_eq!(get(&value(&zk)).await, None);
    clean(&fixture).await;
}

#[tokio::test]
async fn writes_that_are_dropped_leave_no_mark() {
    let (fixture, zk) = start("dropped writes").await;
    let value = value(&zk);
    value.set("a").await.unwrap();
    for polls in 0..20 {
        let mut writing = Box::pin(value.set("b"));
        for _ in 0..polls {
            if futures::poll!(&mut writing).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(writing);
    }
    value.set("c").await.unwrap();
    assert_eq!(get(&value).await.as_deref(), Some("c"));
    clean(&fixture).await;
}
