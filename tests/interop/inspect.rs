//! What Curator and kazoo hold and wait for is seen, and a dead-lock with one of them is found and broken.

use zookeeper_recipes::inspect::{Confidence, Inspector, PlaceKind};
use zookeeper_recipes::{ContenderLayout, FairLock};
use zookeeper_testkit::{Fixture, within};

use crate::peer::Peer;
use crate::support::{LONG, PATIENCE, SHORT, connect};

#[tokio::test]
async fn holders_and_waiters_of_curator_and_kazoo_are_seen() {
    let fixture = Fixture::new("holders_and_waiters_of_curator_and_kazoo_are_seen").await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let inspector = Inspector::new(&connect(&fixture).await);
    let mutex = curator.actor(&fixture, "mutex", "/t/mutex").await;
    mutex.ask("acquire").await;
    let waiter = curator.actor(&fixture, "mutex", "/t/mutex").await;
    let waits = waiter.tell("acquire");
    let theirs = kazoo
        .actor_with(&fixture.connect_string(), SHORT, "lock", "/t/kazoo", &[])
        .await;
    theirs.ask("acquire").await;
    let latch = curator
        .actor_with(&fixture.connect_string(), LONG, "latch", "/t/latch", &["java"])
        .await;
    latch.ask("campaign").await;
    fixture.until_children("/t/mutex", 2).await;

    let places = inspector.places("/t").await.unwrap();
    let seen = |path: &str| places.iter().find(|place| place.path == path).unwrap();
    let mutex_seen = seen("/t/mutex");
    assert_eq!((mutex_seen.kind, mutex_seen.certain), (PlaceKind::Lock, true));
    assert_eq!((mutex_seen.holders().count(), mutex_seen.waiters().count()), (1, 1));
    assert!(
        mutex_seen
            .contenders
            .iter()
            .all(|one| one.layout == ContenderLayout::Curator)
    );
    assert!(
        mutex_seen.holders().all(|holder| holder.host().is_some()),
        "{mutex_seen:?}"
    );
    let kazoo_seen = seen("/t/kazoo");
    assert_eq!((kazoo_seen.kind, kazoo_seen.holders().count()), (PlaceKind::Lock, 1));
    assert_eq!(kazoo_seen.contenders[0].layout, ContenderLayout::Kazoo);
    assert_eq!(seen("/t/latch").kind, PlaceKind::Election);
    mutex.ask("release").await;
    waits.done().await;
    waiter.ask("release").await;
    theirs.ask("release").await;
}

#[tokio::test]
async fn a_dead_lock_with_a_curator_client_is_found_and_broken() {
    let fixture = Fixture::new("a_dead_lock_with_a_curator_client_is_found_and_broken").await;
    let curator = Peer::curator();
    let [one, two] = [connect(&fixture).await, connect(&fixture).await];
    let lock = |zk, path| FairLock::new(zk, path).unwrap();
    let first = lock(&one, "/t/1").acquire().await.unwrap();
    let second = lock(&two, "/t/2").acquire().await.unwrap();
    // Curator holds 3 and waits for 1, in one session.
    let held = curator.actor(&fixture, "mutex", "/t/3").await;
    held.ask("acquire").await;
    held.ask("also /t/1").await;
    let theirs = held.tell("acquire-also");
    fixture.until_children("/t/1", 2).await;
    let waits_for = |zk, path| {
        let lock = lock(zk, path);
        tokio::spawn(async move { lock.acquire().await })
    };
    let one_waits = waits_for(&one, "/t/2");
    fixture.until_children("/t/2", 2).await;
    let two_waits = waits_for(&two, "/t/3");
    fixture.until_children("/t/3", 2).await;

    let inspector = Inspector::new(&connect(&fixture).await);
    let cycles = inspector.waits_for("/t").await.unwrap().cycles();
    assert_eq!(cycles.len(), 1, "{cycles:?}");
    assert_eq!((cycles[0].members.len(), cycles[0].confidence), (3, Confidence::Likely));
    let layouts = cycles[0].members.iter().map(|member| member.holds.layout);
    assert_eq!(layouts.filter(|layout| *layout == ContenderLayout::Curator).count(), 1);
    assert!(inspector.confirm(&cycles[0]).await.unwrap());
    let mut paths: Vec<_> = cycles[0].paths().collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/t/1", "/t/2", "/t/3"]);

    // Ours that waits youngest loses what it holds: one, then Curator, then two are granted.
    let member = cycles[0].youngest().unwrap();
    assert_eq!(member.holds.token, second.token());
    assert_eq!(inspector.break_contender(&member.holds, second.token()).await, Ok(true));
    within(PATIENCE, "the loss is told", second.lost()).await;
    let granted = within(PATIENCE, "one is granted", one_waits).await.unwrap().unwrap();
    assert!(theirs.is_pending());
    granted.release().await.unwrap();
    first.release().await.unwrap();
    theirs.done().await;
    assert!(!two_waits.is_finished());
    held.ask("release-also").await;
    held.ask("release").await;
    let granted = within(PATIENCE, "two is granted", two_waits).await.unwrap().unwrap();
    granted.release().await.unwrap();
}
