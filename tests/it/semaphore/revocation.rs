//! Asking a holder of permits to give them back: what Curator's recipes cannot (CURATOR-650).

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, Permit, Semaphore};
use zookeeper_testkit::{Fixture, Op, When, eventually, within};

use crate::support::asking::{asked, by, connect_as, curators, is_refused};
use crate::support::cost::Counted;
use crate::support::{LONG, PATIENCE, connect, connect_to, start};

const BANK: &str = "/bank";
const LEASES: &str = "/bank/leases";

fn semaphore(zk: &Coordinator) -> Semaphore {
    Semaphore::new(zk, BANK, 3).unwrap()
}

async fn take(semaphore: &Semaphore, permits: u32) -> Permit {
    let acquired = within(PATIENCE, "permits", semaphore.acquire_many(permits));
    acquired.await.unwrap()
}

#[tokio::test]
async fn holders_are_listed_in_order_of_arrival() {
    let fixture = Fixture::new("holders").await;
    let (one, two) = (connect_as(&fixture, "one").await, connect_as(&fixture, "two").await);
    let holders = || async { semaphore(&one).holders().await.unwrap() };
    assert_eq!(holders().await, [], "the path does not even exist");
    let (first, second) = (take(&semaphore(&two), 2).await, take(&semaphore(&one), 1).await);
    let listed = holders().await;
    for (holder, (permit, who)) in listed.iter().zip([(&first, "two"), (&second, "one")]) {
        assert_eq!((holder.permits, holder.token), (permit.permits(), permit.token()));
        assert_eq!(holder.identity, who);
        assert_eq!(holder.session_id, fixture.ephemerals().await[&holder.path]);
        assert!(holder.path.starts_with(LEASES), "{holder:?}");
    }
    assert_eq!(listed.len(), 2);
    first.release().await.unwrap();
    assert_eq!(holders().await, listed[1..]);
    second.release().await.unwrap();
    assert_eq!(holders().await, []);
    // What is no permit is nobody's.
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    let note = format!("{LEASES}/note");
    let made = fixture.raw().mkdir(&note, &options).await;
    made.unwrap();
    assert_eq!(holders().await, []);
    fixture.raw().delete(&note, None).await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn the_holder_decides_on_a_request_itself() {
    let fixture = Fixture::new("permits asked").await;
    let (zk, other) = (
        connect_as(&fixture, "the holder").await,
        connect_as(&fixture, "the asker").await,
    );
    let (one, two) = (take(&semaphore(&zk), 1).await, take(&semaphore(&zk), 2).await);
    let theirs = semaphore(&other);
    let waiter = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.acquire_many(2).await }
    });
    fixture.until_children("/bank/locks", 1).await;
    let holders = theirs.holders().await.unwrap();
    let many = holders.iter().find(|holder| holder.permits == 2).unwrap();
    assert_eq!(theirs.request_revocation(many, "two are needed").await, Ok(true));
    // One permit or the other, it is the same hold.
    assert_eq!(asked(&two).await, by("the asker", "two are needed"));
    assert!(two.is_held() && !waiter.is_finished(), "nothing happens by itself");
    assert_eq!(theirs.holders().await.unwrap(), holders, "still known by its identity");
    let unasked = tokio::time::timeout(std::time::Duration::from_millis(100), one.revocation());
    assert!(unasked.await.is_err(), "nobody asked for the other one");

    two.release().await.unwrap();
    let next = within(PATIENCE, "granted", waiter).await.unwrap().unwrap();
    assert_eq!(theirs.request_revocation(many, "too late").await, Ok(false));
    next.release().await.unwrap();
    one.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES, "/bank/locks"]).await;
}

/// The one at the head of the line watches the permits, but not what is in them.
#[tokio::test]
async fn asking_wakes_the_holder_alone() {
    let fixture = Fixture::new("permits asked, cost").await;
    let (holder, asker, waiter) = (
        Counted::connect(&fixture).await,
        Counted::connect(&fixture).await,
        Counted::connect(&fixture).await,
    );
    let permit = take(&semaphore(&holder.zk), 3).await;
    let waiting = tokio::spawn({
        let semaphore = semaphore(&waiter.zk);
        async move { semaphore.acquire().await }
    });
    fixture.until_children("/bank/locks", 1).await;
    let holders = semaphore(&asker.zk).holders().await.unwrap();
    let counts = asker.requests(2).await;
    // The permits, and what is in all of them.
    assert_eq!(
        (counts.lists(), counts.of(Op::MultiRead), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    // It has set its watches: on its own place, on the permits and, last of all, on their number.
    eventually(PATIENCE, "it waits", || async {
        let counts = waiter.proxy.requests();
        let own = counts.requests().iter().position(|request| request.op == Op::Exists);
        own.is_some_and(|own| counts.requests()[own..].iter().any(|request| request.op == Op::GetData))
    })
    .await;
    waiter.requests(0).await;
    let told = semaphore(&asker.zk).request_revocation(&holders[0], "cost").await;
    assert_eq!(told, Ok(true));
    let counts = asker.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::SetData), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    asked(&permit).await;
    let counts = waiter.requests(0).await;
    assert_eq!(counts.total(), 0, "{counts}");
    permit.release().await.unwrap();
    let next = within(PATIENCE, "granted", waiting).await.unwrap().unwrap();
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn a_holder_of_curator_is_not_asked() {
    let (fixture, zk) = start("Curator's lease").await;
    let ours = semaphore(&zk);
    take(&ours, 1).await.release().await.unwrap();
    let path = curators(&fixture, LEASES, "lease", b"127.0.0.1").await;
    let holders = ours.holders().await.unwrap();
    assert_eq!(
        (holders.len(), holders[0].permits, &*holders[0].identity),
        (1, 1, &b"127.0.0.1"[..])
    );
    let told = ours.request_revocation(&holders[0], "please").await;
    assert!(is_refused(&told, &path), "{told:?}");
    assert_eq!(fixture.raw().get_data(&path).await.unwrap().0, b"127.0.0.1");
    fixture.raw().delete(&path, None).await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn holders_are_asked_through_a_lost_connection() {
    let fixture = Fixture::new("permits asked, cut").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect(&fixture).await, connect_to(&servers, LONG).await);
    let permit = take(&semaphore(&zk), 2).await;
    let theirs = semaphore(&other);
    for when in [When::list(), When::request(Op::MultiRead)] {
        let fault = proxy.lose_reply(when);
        let holders = within(PATIENCE, "listed", theirs.holders()).await.unwrap();
        fault.fired().await;
        assert_eq!((holders.len(), holders[0].permits), (1, 2));
    }
    let holders = theirs.holders().await.unwrap();
    let fault = proxy.lose_reply(When::request(Op::SetData));
    let told = within(PATIENCE, "told", theirs.request_revocation(&holders[0], "once")).await;
    fault.fired().await;
    assert_eq!(told, Ok(true));
    assert_eq!(asked(&permit).await.1.as_deref(), Some("once"));
    permit.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}
