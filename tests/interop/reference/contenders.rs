//! Locks, the semaphore and elections.

use zookeeper_recipes::{
    ElectionLayout, FairLock, Layout, LeaderElection, RwLock, Semaphore, TryAcquireError, TryPermitError,
};
use zookeeper_testkit::{Fixture, within};

use super::{Lines, all_but, connect_as_curator, make, written};
use crate::support::{PATIENCE, connect};

const MUTEX: &Lines = &[
    "/mutex P",
    "/mutex/_c_<uuid>-lock-0000000000 E 127.0.0.1",
    "/mutex/_c_<uuid>-lock-0000000001 E 127.0.0.1",
];
const KAZOO_LOCK: &Lines = &[
    "/mutex P",
    "/mutex/<hex>__lock__0000000000 E 127.0.0.1",
    "/mutex/<hex>__lock__0000000001 E 127.0.0.1",
];
const REVOKED: &Lines = &["/mutex P", "/mutex/_c_<uuid>-lock-0000000000 E __REVOKE__"];
/// A writer that reads as well, before 5.5.0 and since, and a reader that waits.
const READ_WRITE_5_4: &Lines = &[
    "/rw P",
    "/rw/_c_<uuid>-__WRIT__0000000000 E 127.0.0.1",
    "/rw/_c_<uuid>-__READ__0000000001 E 127.0.0.1",
    "/rw/_c_<uuid>-__READ__0000000002 E 127.0.0.1",
];
const READ_WRITE_5_5: &Lines = &[
    "/rw P",
    "/rw/_c_<uuid>-__WRIT__0000000000 E 127.0.0.1",
    "/rw/_c_<uuid>-__READ__0000000000 E 127.0.0.1",
    "/rw/_c_<uuid>-__READ__0000000001 E 127.0.0.1",
];
const KAZOO_READ_WRITE: &Lines = &[
    "/rw P",
    "/rw/<hex>__lock__0000000000 E 127.0.0.1",
    "/rw/<hex>__rlock__0000000001 E 127.0.0.1",
];
/// One permit is held. Curator's waiter has made its lease already, and keeps the mutex.
const SEMAPHORE: &Lines = &[
    "/sem P",
    "/sem/leases P",
    "/sem/leases/_c_<uuid>-lease-0000000000 E 127.0.0.1",
    "/sem/leases/_c_<uuid>-lease-0000000001 E 127.0.0.1",
    "/sem/locks P",
    "/sem/locks/_c_<uuid>-lock-0000000001 E 127.0.0.1",
];
const LATCH: &Lines = &[
    "/latch P",
    "/latch/_c_<uuid>-latch-0000000000 E id-1",
    "/latch/_c_<uuid>-latch-0000000001 E",
];
const SELECTOR: &Lines = &[
    "/selector P",
    "/selector/_c_<uuid>-lock-0000000000 E 127.0.0.1",
    "/selector/_c_<uuid>-lock-0000000001 E sel-2",
];
#[tokio::test]
async fn inter_process_mutex_and_kazoos_lock() {
    for (lines, layout) in [(MUTEX, Layout::Curator), (KAZOO_LOCK, Layout::Kazoo)] {
        let fixture = Fixture::new("layout of a mutex, read").await;
        let ours = FairLock::builder(&connect(&fixture).await, "/mutex")
            .layout(layout)
            .build()
            .unwrap();
        let theirs = make(fixture.raw(), "", lines).await;
        let contenders = ours.contenders().await.unwrap();
        let seen: Vec<_> = contenders
            .iter()
            .map(|one| (&*one.path, &one.identity[..], one.is_holder))
            .collect();
        assert_eq!(
            seen,
            [
                (&*theirs[1], &b"127.0.0.1"[..], true),
                (&*theirs[2], b"127.0.0.1", false)
            ]
        );
        assert_eq!(ours.try_acquire().await.err(), Some(TryAcquireError::Contended));

        let fixture = Fixture::new("layout of a mutex, written").await;
        let ours = FairLock::builder(&connect_as_curator(&fixture).await, "/mutex");
        let ours = ours.layout(layout).build().unwrap();
        let holder = ours.acquire().await.unwrap();
        let waiting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.acquire().await }
        });
        fixture.until_children("/mutex", 2).await;
        assert_eq!(written(&fixture, "/mutex").await, lines);
        holder.release().await.unwrap();
        let next = within(PATIENCE, "the next is granted", waiting).await.unwrap().unwrap();
        next.release().await.unwrap();
        fixture.assert_no_nodes_left(&["/mutex"]).await;
    }
}

#[tokio::test]
async fn revoker() {
    let fixture = Fixture::new("layout of a revocation").await;
    let zk = connect(&fixture).await;
    let ours = FairLock::new(&zk, "/mutex").unwrap();
    make(fixture.raw(), "", &MUTEX[..2]).await;
    let theirs = ours.contenders().await.unwrap().remove(0);
    assert_eq!(ours.request_revocation(&theirs, "ours is in a hurry").await, Ok(true));
    assert_eq!(written(&fixture, "/mutex").await, REVOKED);
    fixture.raw().delete(&theirs.path, None).await.unwrap();

    let guard = ours.acquire().await.unwrap();
    fixture.raw().set_data(guard.path(), b"__REVOKE__", None).await.unwrap();
    let asked = within(PATIENCE, "asked", guard.revocation()).await.unwrap();
    assert_eq!((asked.requester, asked.reason), (None, None));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/mutex"]).await;
}

#[tokio::test]
async fn inter_process_read_write_lock() {
    for lines in [READ_WRITE_5_4, READ_WRITE_5_5] {
        let fixture = Fixture::new("layout of a read-write lock, read").await;
        let ours = RwLock::new(&connect(&fixture).await, "/rw").unwrap();
        let theirs = make(fixture.raw(), "", lines).await;
        let holders = async || {
            let contenders = ours.contenders().await.unwrap().into_iter();
            let holders = contenders.filter(|one| one.is_holder).map(|one| one.path);
            holders.collect::<Vec<_>>()
        };
        assert_eq!(ours.try_read().await.err(), Some(TryAcquireError::Contended));
        assert!(holders().await.contains(&theirs[1]) && !holders().await.contains(&theirs[3]));
        fixture.raw().delete(&theirs[1], None).await.unwrap();
        assert_eq!(holders().await, theirs[2..]);
        assert_eq!(ours.try_write().await.err(), Some(TryAcquireError::Contended));
        ours.try_read().await.unwrap().release().await.unwrap();
    }

    let fixture = Fixture::new("layout of a read-write lock, written").await;
    let ours = RwLock::new(&connect_as_curator(&fixture).await, "/rw").unwrap();
    let writer = ours.write().await.unwrap();
    let reading = tokio::spawn({
        let ours = ours.clone();
        async move { ours.read().await }
    });
    fixture.until_children("/rw", 2).await;
    assert_eq!(written(&fixture, "/rw").await, all_but(READ_WRITE_5_5, &[2]));
    let downgraded = writer.downgrade().await.unwrap();
    let reader = within(PATIENCE, "the reader is let in", reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(written(&fixture, "/rw").await, all_but(READ_WRITE_5_5, &[1]));
    downgraded.release().await.unwrap();
    reader.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/rw"]).await;
}

#[tokio::test]
async fn kazoos_read_and_write_locks() {
    let fixture = Fixture::new("layout of kazoo's read-write lock, read").await;
    let ours = RwLock::builder(&connect(&fixture).await, "/rw")
        .layout(Layout::Kazoo)
        .build()
        .unwrap();
    let theirs = make(fixture.raw(), "", KAZOO_READ_WRITE).await;
    assert_eq!(ours.try_read().await.err(), Some(TryAcquireError::Contended));
    fixture.raw().delete(&theirs[1], None).await.unwrap();
    assert_eq!(ours.try_write().await.err(), Some(TryAcquireError::Contended));
    ours.try_read().await.unwrap().release().await.unwrap();

    let fixture = Fixture::new("layout of kazoo's read-write lock, written").await;
    let zk = connect_as_curator(&fixture).await;
    let ours = RwLock::builder(&zk, "/rw").layout(Layout::Kazoo).build().unwrap();
    let writer = ours.write().await.unwrap();
    let reading = tokio::spawn({
        let ours = ours.clone();
        async move { ours.read().await }
    });
    fixture.until_children("/rw", 2).await;
    assert_eq!(written(&fixture, "/rw").await, KAZOO_READ_WRITE);
    writer.release().await.unwrap();
    let reader = within(PATIENCE, "the reader is let in", reading)
        .await
        .unwrap()
        .unwrap();
    reader.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/rw"]).await;
}

/// Ours waits in `locks`, and says in the node of the path itself how many permits there are.
#[tokio::test]
async fn inter_process_semaphore_v2() {
    let fixture = Fixture::new("layout of a semaphore, read").await;
    let ours = Semaphore::new(&connect(&fixture).await, "/sem", 1).unwrap();
    let theirs = make(fixture.raw(), "", SEMAPHORE).await;
    assert_eq!(ours.try_acquire().await.err(), Some(TryPermitError::NoPermits));
    let holders = ours.holders().await.unwrap();
    assert_eq!(
        (&*holders[0].path, &holders[0].identity[..]),
        (&*theirs[2], &b"127.0.0.1"[..])
    );
    fixture.raw().delete(&theirs[3], None).await.unwrap();
    fixture.raw().delete(&theirs[5], None).await.unwrap();
    assert_eq!(ours.available_permits().await, Ok(0));
    fixture.raw().delete(&theirs[2], None).await.unwrap();
    ours.try_acquire().await.unwrap().release().await.unwrap();

    let fixture = Fixture::new("layout of a semaphore, written").await;
    let ours = Semaphore::new(&connect_as_curator(&fixture).await, "/sem", 1).unwrap();
    let permit = ours.acquire().await.unwrap();
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.acquire().await }
    });
    fixture.until_children("/sem/locks", 1).await;
    let mut expected = all_but(SEMAPHORE, &[0, 3]);
    expected.insert(0, "/sem P 1");
    assert_eq!(written(&fixture, "/sem").await, expected);
    permit.release().await.unwrap();
    let permit = within(PATIENCE, "the next is granted", waiting).await.unwrap().unwrap();
    permit.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/sem/locks", "/sem/leases"]).await;
}

#[tokio::test]
async fn leader_latch_and_leader_selector() {
    for (lines, layout, values) in [
        (LATCH, ElectionLayout::LeaderLatch, ["id-1", ""]),
        (SELECTOR, ElectionLayout::LeaderSelector, ["127.0.0.1", "sel-2"]),
    ] {
        let path = lines[0].strip_suffix(" P").unwrap();
        let fixture = Fixture::new("layout of an election, read").await;
        let ours = LeaderElection::builder(&connect(&fixture).await, path)
            .layout(layout)
            .build()
            .unwrap();
        let theirs = make(fixture.raw(), "", lines).await;
        let participants = ours.participants().await.unwrap();
        let seen: Vec<_> = participants
            .iter()
            .map(|one| (&*one.path, &one.value[..], one.is_leader))
            .collect();
        let [leads, follows] = values.map(str::as_bytes);
        assert_eq!(seen, [(&*theirs[1], leads, true), (&*theirs[2], follows, false)]);
        assert_eq!(ours.try_campaign("ours").await.err(), Some(TryAcquireError::Contended));

        let fixture = Fixture::new("layout of an election, written").await;
        let ours = LeaderElection::builder(&connect(&fixture).await, path)
            .layout(layout)
            .build()
            .unwrap();
        let leadership = ours.campaign(values[0]).await.unwrap();
        let campaigning = tokio::spawn({
            let ours = ours.clone();
            async move { ours.campaign(values[1]).await }
        });
        fixture.until_children(path, 2).await;
        assert_eq!(written(&fixture, path).await, lines);
        leadership.resign().await.unwrap();
        let next = within(PATIENCE, "the next leads", campaigning).await.unwrap().unwrap();
        next.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[path]).await;
    }
}
