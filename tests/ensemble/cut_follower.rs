//! A follower is cut off from its leader, and the holder's client stays connected to it.

use std::time::Duration;

use zookeeper_client as zk;
use zookeeper_recipes::FairLock;
use zookeeper_testkit::{Fixture, History, Mode, background, eventually, within};

use crate::belief::{Log, now};
use crate::contest::Contest;
use crate::ensemble::{Ensemble, SESSION, SYNC_LIMIT};

const PATIENCE: Duration = Duration::from_secs(60);

/// A lock with a guard that believes what its client says, as most have it.
struct NaiveLock {
    client: zk::Client,
    node: String,
}

impl NaiveLock {
    async fn acquire(client: zk::Client) -> Result<Self, zk::Error> {
        let acls = zk::Acls::anyone_all();
        client
            .mkdir("/naive", &zk::CreateMode::Persistent.with_acls(acls))
            .await?;
        let options = zk::CreateMode::EphemeralSequential.with_acls(acls);
        let (_, sequence) = client.create("/naive/lock-", b"", &options).await?;
        let name = format!("lock-{sequence}");
        loop {
            let mut children = client.list_children("/naive").await?;
            children.sort();
            let place = children.iter().position(|child| *child == name);
            let Some(before) = place.expect("our node is there").checked_sub(1) else {
                let node = format!("/naive/{name}");
                return Ok(Self { client, node });
            };
            let (before, watcher) = client
                .check_and_watch_stat(&format!("/naive/{}", children[before]))
                .await?;
            if before.is_some() {
                watcher.changed().await;
            }
        }
    }

    fn is_held(&self) -> bool {
        self.client.state() == zk::SessionState::SyncConnected
    }

    /// Even the server that it asks says that its node is there.
    async fn sees_its_node(&self) -> bool {
        let stat = tokio::time::timeout(Duration::from_millis(500), self.client.check_stat(&self.node)).await;
        matches!(stat, Ok(Ok(Some(_))))
    }
}

async fn naive_client(servers: &str, fixture: &Fixture) -> zk::Client {
    let connector = zk::Client::connector().with_session_timeout(SESSION);
    let client = connector.connect(&format!("{servers}{}", fixture.chroot())).await;
    client.expect("a healed ensemble takes clients")
}

/// Both kinds of lock live through the same cut, each held through the follower and awaited through the other servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_cut_off_from_its_leader_deceives_the_clients_state_but_not_the_lease() {
    const { assert!(SESSION.as_millis() < SYNC_LIMIT.as_millis()) };
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("cut_follower").await;
    let follower = ensemble.followers().await[0];
    let others: Vec<usize> = (0..3).filter(|server| *server != follower).collect();
    let through_follower = format!("{}{}", ensemble.connect_string(&[follower]), fixture.chroot());
    let contest = Contest::beside(&fixture, &through_follower).await;

    let naive = NaiveLock::acquire(naive_client(&ensemble.connect_string(&[follower]), &fixture).await).await;
    let naive = naive.expect("nobody else is there");
    let naive_waiter = naive_client(&ensemble.connect_string(&others), &fixture).await;
    let naive_waiter = tokio::spawn(async move { NaiveLock::acquire(naive_waiter).await.map(|lock| (lock, now())) });

    let history = History::new();
    let log = Log::to(&history);
    let holder = ensemble.connect_to(&[follower], &fixture, SESSION).await;
    let guard = FairLock::new(&holder, "/lock")
        .expect("valid")
        .acquire()
        .await
        .expect("free");
    let lost = guard.lost();
    let lost_at = tokio::spawn(async move {
        lost.await;
        now()
    });
    let holding = tokio::spawn({
        let log = log.clone();
        async move {
            log.believe(&["/lock"], "holder", Mode::Exclusive, &guard, std::future::pending())
                .await;
            (guard.lost().reason(), now())
        }
    });
    let waiter = ensemble.connect_to(&others, &fixture, SESSION).await;
    let waiting = tokio::spawn({
        let lock = FairLock::new(&waiter, "/lock").expect("valid");
        async move { lock.acquire().await.map(|guard| (guard, now())) }
    });
    fixture.until_children("/lock", 2).await;
    fixture.until_children("/naive", 2).await;

    ensemble.cut_from_quorum(follower).await;
    let cut = now();

    let (naive_granted, naive_granted_at) = within(PATIENCE, "the naive waiter is granted", naive_waiter)
        .await
        .expect("no panic")
        .expect("its servers are well");
    assert!(
        naive.is_held(),
        "the hole was not there: the client knew of the cut before its session expired"
    );
    let saw_its_node = naive.sees_its_node().await;
    eventually(PATIENCE, "the client of the cut follower knows", || async {
        !naive.is_held()
    })
    .await;
    let naive_hole = now() - naive_granted_at;

    let (granted, granted_at) = within(PATIENCE, "the waiter is granted", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    let lost_at = within(PATIENCE, "the lease lapses", lost_at).await.expect("no panic");
    let (reason, seen_at) = holding.await.expect("no panic");
    println!(
        "measured: session timeout {SESSION:?}, tickTime * syncLimit {SYNC_LIMIT:?}; a guard that trusts its client's \
         state: two holders for {} ms (from {} to {} ms after the cut; its reads succeeded in between: {saw_its_node}); \
         the lease: lost {} ms after the cut ({reason:?}), the other granted at {} ms: {} ms later",
        naive_hole.as_millis(),
        (naive_granted_at - cut).as_millis(),
        (naive_granted_at + naive_hole - cut).as_millis(),
        (lost_at - cut).as_millis(),
        (granted_at - cut).as_millis(),
        granted_at.saturating_sub(lost_at).as_millis()
    );
    assert!(
        naive_hole > Duration::from_millis(100),
        "the hole was not there: {naive_hole:?}"
    );
    assert!(
        lost_at < granted_at,
        "lost at {lost_at:?}, the other granted at {granted_at:?}"
    );
    assert!(
        seen_at < granted_at,
        "the loss was seen at {seen_at:?}, the other granted at {granted_at:?}"
    );
    log.believe(
        &["/lock"],
        "waiter",
        Mode::Exclusive,
        &granted,
        background::sleep(Duration::from_millis(50)),
    )
    .await;

    ensemble.heal().await;
    drop((naive, naive_granted));
    granted.release().await.expect("still held");
    contest.finish(&fixture).await;
    fixture
        .assert_no_nodes_left_within(PATIENCE, &["/lock", "/naive"])
        .await;
    history.assert_sound();
}
