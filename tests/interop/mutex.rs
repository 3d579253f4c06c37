//! `FairLock` in one line with Curator's `InterProcessMutex` and kazoo's `Lock`.

use std::time::Duration;

use zookeeper_recipes::{Coordinator, FairLock, Layout, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::line::{Contender, is_served_in_order, still_waits, survives_the_end_of_sessions, waits_on};
use crate::peer::{Actor, Peer};
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, make_dir};

const PATH: &str = "/lock";

/// The regular expression by which kazoo sees the names of Curator and ours. The dash matters: without it kazoo reads
/// all sequence numbers as negative ones.
const SEES_CURATOR: &str = "lock-";

fn lock(zk: &Coordinator) -> FairLock {
    FairLock::new(zk, PATH).expect("a valid path")
}

fn lock_named(zk: &Coordinator, layout: Layout) -> FairLock {
    FairLock::builder(zk, PATH)
        .layout(layout)
        .build()
        .expect("a valid path")
}

fn kazoo_named(zk: &Coordinator) -> FairLock {
    lock_named(zk, Layout::Kazoo)
}

fn ours(zk: &Coordinator, lock: FairLock) -> Contender {
    Contender::ours(zk, async move { lock.acquire().await })
}

fn theirs(actor: &Actor) -> Contender {
    Contender::theirs(actor, "acquire", "release")
}

#[tokio::test]
async fn curator_and_we_are_granted_in_order_of_arrival() {
    let fixture = Fixture::new("curator_and_we_are_granted_in_order_of_arrival").await;
    let curator = Peer::curator();
    let mut line = Vec::new();
    for is_ours in [false, true, false, true, true, false] {
        line.push(if is_ours {
            let zk = connect(&fixture).await;
            ours(&zk, lock(&zk))
        } else {
            theirs(&curator.actor(&fixture, "mutex", PATH).await)
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

#[tokio::test]
async fn kazoo_and_we_are_granted_in_order_of_arrival() {
    let fixture = Fixture::new("kazoo_and_we_are_granted_in_order_of_arrival").await;
    let kazoo = Peer::kazoo();
    let servers = fixture.connect_string();
    // kazoo as it is sees our kazoo names; told to, it sees our Curator names.
    for (layout, options) in [(Layout::Kazoo, vec![]), (Layout::Curator, vec![SEES_CURATOR])] {
        let mut line = Vec::new();
        for is_ours in [true, false, true, false, false, true] {
            line.push(if is_ours {
                let zk = connect(&fixture).await;
                ours(&zk, lock_named(&zk, layout))
            } else {
                theirs(&kazoo.actor_with(&servers, SHORT, "lock", PATH, &options).await)
            });
        }
        is_served_in_order(&fixture, PATH, line).await;
    }
}

/// Curator cannot be told to see kazoo's names, so kazoo writes Curator's: a subclass with another `_NODE_NAME`.
#[tokio::test]
async fn all_three_are_granted_in_order_of_arrival_if_kazoo_writes_curators_names() {
    let fixture = Fixture::new("all_three_are_granted_in_order_of_arrival").await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let mut line = Vec::new();
    for who in ["curator", "kazoo", "ours", "kazoo", "curator", "ours", "curator"] {
        line.push(match who {
            "curator" => theirs(&curator.actor(&fixture, "mutex", PATH).await),
            "kazoo" => theirs(&kazoo.actor(&fixture, "curator-named-lock", PATH).await),
            _ => {
                let zk = connect(&fixture).await;
                ours(&zk, lock(&zk))
            }
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

/// The other way: Curator with a `LockInternalsDriver` that sorts by the sequence number, whatever stands before it.
#[tokio::test]
async fn all_three_are_granted_in_order_of_arrival_if_curator_sorts_by_number() {
    let fixture = Fixture::new("all_three_if_curator_sorts_by_number").await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let servers = fixture.connect_string();
    let mut line = Vec::new();
    for who in [
        "kazoo",
        "curator",
        "ours",
        "kazoo",
        "ours, named by kazoo",
        "curator",
        "kazoo",
    ] {
        line.push(match who {
            "curator" => theirs(&curator.actor_with(&servers, SHORT, "mutex", PATH, &["any-name"]).await),
            "kazoo" => theirs(&kazoo.actor_with(&servers, SHORT, "lock", PATH, &[SEES_CURATOR]).await),
            "ours" => {
                let zk = connect(&fixture).await;
                ours(&zk, lock(&zk))
            }
            _ => {
                let zk = connect(&fixture).await;
                ours(&zk, kazoo_named(&zk))
            }
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

#[tokio::test]
async fn the_end_of_a_session_on_either_side_of_curators_line_frees_the_next() {
    let fixture = Fixture::new("the_end_of_a_session_on_either_side_of_curators_line").await;
    let curator = Peer::curator();
    let (zk_1, zk_2) = (connect_mortal(&fixture).await, connect_mortal(&fixture).await);
    let servers = fixture.connect_string();
    let (java_1, java_2) = (
        curator.actor_with(&servers, SHORT, "mutex", PATH, &[]).await,
        curator.actor_with(&servers, SHORT, "mutex", PATH, &[]).await,
    );
    let line = [
        theirs(&java_1),
        ours(&zk_1, lock(&zk_1)),
        theirs(&java_2),
        ours(&zk_2, lock(&zk_2)),
    ];
    survives_the_end_of_sessions(&fixture, PATH, line).await;
}

#[tokio::test]
async fn the_end_of_a_session_on_either_side_of_kazoos_line_frees_the_next() {
    let fixture = Fixture::new("the_end_of_a_session_on_either_side_of_kazoos_line").await;
    let kazoo = Peer::kazoo();
    let (zk_1, zk_2) = (connect_mortal(&fixture).await, connect_mortal(&fixture).await);
    let servers = fixture.connect_string();
    let (python_1, python_2) = (
        kazoo.actor_with(&servers, SHORT, "lock", PATH, &[]).await,
        kazoo.actor_with(&servers, SHORT, "lock", PATH, &[]).await,
    );
    let line = [
        theirs(&python_1),
        ours(&zk_1, kazoo_named(&zk_1)),
        theirs(&python_2),
        ours(&zk_2, kazoo_named(&zk_2)),
    ];
    survives_the_end_of_sessions(&fixture, PATH, line).await;
}

#[tokio::test]
async fn a_holder_whose_process_is_killed_makes_way_when_its_session_times_out() {
    let fixture = Fixture::new("a_holder_whose_process_is_killed").await;
    let timeout = Duration::from_secs(2);
    let zk = connect(&fixture).await;
    for (peer, recipe) in [(Peer::curator(), "mutex"), (Peer::kazoo(), "lock")] {
        let actor = peer
            .actor_with(&fixture.connect_string(), timeout, recipe, PATH, &[])
            .await;
        actor.ask("acquire").await;
        let ours = tokio::spawn({
            let lock = lock(&zk);
            async move { lock.acquire().await }
        });
        fixture.until_children(PATH, 2).await;
        assert!(waits_on(&ours).await, "the holder lives");
        peer.kill();
        let guard = within(PATIENCE, "ours is granted", ours)
            .await
            .expect("no panic")
            .expect("granted");
        guard.release().await.expect("released");
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_try_fails_while_the_other_side_holds() {
    let fixture = Fixture::new("a_try_fails_while_the_other_side_holds").await;
    make_dir(&fixture, PATH).await;
    let zk = connect(&fixture).await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let servers = fixture.connect_string();
    for actor in [
        curator.actor(&fixture, "mutex", PATH).await,
        kazoo.actor_with(&servers, SHORT, "lock", PATH, &[SEES_CURATOR]).await,
    ] {
        let guard = lock(&zk).try_acquire().await.expect("it is free");
        assert_eq!(actor.ask("acquire 0").await, "timeout");
        guard.release().await.expect("held until now");
        assert_ne!(actor.ask("acquire 0").await, "timeout");
        assert_eq!(lock(&zk).try_acquire().await.err(), Some(TryAcquireError::Contended));
        let timed = lock(&zk).acquire_timeout(Duration::from_millis(50)).await;
        assert!(timed.is_err());
        actor.ask("release").await;
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn each_side_lists_the_contenders_of_the_other() {
    let fixture = Fixture::new("each_side_lists_the_contenders_of_the_other").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "mutex", PATH).await;
    let python = Peer::kazoo().actor(&fixture, "curator-named-lock", PATH).await;
    let guard = lock(&zk).acquire().await.expect("granted");
    let java_observes = Peer::curator().actor(&fixture, "mutex", PATH).await;
    let java_waits = java.tell("acquire");
    fixture.until_children(PATH, 2).await;
    let python_waits = python.tell("acquire");
    fixture.until_children(PATH, 3).await;

    let contenders = lock(&zk).contenders().await.expect("listed");
    let identities: Vec<_> = contenders.iter().map(|contender| contender.identity.clone()).collect();
    assert_eq!((&identities[0][..], &identities[2][..]), (&b"ours"[..], &b"kazoo"[..]));
    // Curator writes the address of its host.
    assert!(std::str::from_utf8(&identities[1]).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok()));
    let holders: Vec<_> = contenders.iter().map(|contender| contender.is_holder).collect();
    assert_eq!(holders, [true, false, false]);
    let paths: Vec<_> = contenders.iter().map(|contender| contender.path.as_str()).collect();
    assert_eq!(java_observes.ask("participants").await, paths.join(" "));

    guard.release().await.expect("held until now");
    java_waits.done().await;
    java.ask("release").await;
    python_waits.done().await;
    python.ask("release").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Why kazoo's names are for paths without Curator: it sorts a name without `lock-` by its first characters, behind all
/// of its own, and takes the lock that somebody holds.
#[tokio::test]
async fn stock_curator_does_not_see_kazoo_names() {
    let fixture = Fixture::new("stock_curator_does_not_see_kazoo_names").await;
    let zk = connect(&fixture).await;
    let curator = Peer::curator();
    let python = Peer::kazoo().actor(&fixture, "lock", "/kazoo").await;
    python.ask("acquire").await;
    let java = curator.actor(&fixture, "mutex", "/kazoo").await;
    assert_ne!(
        java.ask("acquire 5000").await,
        "timeout",
        "two holders: kazoo and Curator"
    );

    let guard = kazoo_named(&zk).acquire().await.expect("granted");
    let java = curator.actor(&fixture, "mutex", PATH).await;
    assert_ne!(
        java.ask("acquire 5000").await,
        "timeout",
        "two holders: ours with kazoo's names and Curator"
    );
    assert!(guard.is_held());
    // Ours sees Curator, whichever names it writes.
    assert_eq!(
        kazoo_named(&zk).try_acquire().await.err(),
        Some(TryAcquireError::Contended)
    );
}

/// And why it takes `extra_lock_patterns` with Curator's names.
#[tokio::test]
async fn stock_kazoo_does_not_see_curator_names() {
    let fixture = Fixture::new("stock_kazoo_does_not_see_curator_names").await;
    let zk = connect(&fixture).await;
    let kazoo = Peer::kazoo();
    let guard = lock(&zk).acquire().await.expect("granted");
    let blind = kazoo.actor(&fixture, "lock", PATH).await;
    assert_ne!(blind.ask("acquire 5000").await, "timeout", "two holders");
    blind.ask("release").await;
    let seeing = kazoo
        .actor_with(&fixture.connect_string(), SHORT, "lock", PATH, &[SEES_CURATOR])
        .await;
    let waits = seeing.tell("acquire");
    fixture.until_children(PATH, 2).await;
    assert!(still_waits(&waits).await);
    guard.release().await.expect("held until now");
    waits.done().await;
    seeing.ask("release").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Ours and Curator's directories of contenders are containers, which the server removes when they are empty. kazoo makes
/// sure of a directory once for each lock object, and fails when it is gone. Make it by hand, persistent, on such a path.
#[tokio::test]
async fn a_lock_object_of_kazoos_does_not_outlive_a_container() {
    let fixture = Fixture::new("a_lock_object_of_kazoos_does_not_outlive_a_container").await;
    let zk = connect(&fixture).await;
    let servers = fixture.connect_string();
    let python = Peer::kazoo()
        .actor_with(&servers, SHORT, "lock", PATH, &[SEES_CURATOR])
        .await;
    let guard = lock(&zk).acquire().await.expect("granted");
    let waits = python.tell("acquire");
    fixture.until_children(PATH, 2).await;
    guard.release().await.expect("held until now");
    waits.done().await;
    python.ask("release").await;
    eventually(PATIENCE, "the empty container is removed", || async {
        fixture.raw().check_stat(PATH).await == Ok(None)
    })
    .await;
    let failed = python.tell("acquire").answer().await.expect("the peer lives").outcome;
    assert!(
        failed.as_ref().is_err_and(|failure| failure.contains("NoNodeError")),
        "{failed:?}"
    );

    make_dir(&fixture, PATH).await;
    python.ask("acquire").await;
    python.ask("release").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}
