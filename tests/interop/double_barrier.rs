//! `DoubleBarrier`, Curator's `DistributedDoubleBarrier` and kazoo's `DoubleBarrier`.

use tokio::task::JoinHandle;
use zookeeper_recipes::{DoubleBarrier, Entered, Error};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::line::still_waits;
use crate::peer::{Actor, Peer};
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, expire, make_dir};

const PATH: &str = "/phase";

async fn theirs(peer: &Peer, fixture: &Fixture, parties: &str) -> Actor {
    peer.actor_with(&fixture.connect_string(), SHORT, "double-barrier", PATH, &[parties])
        .await
}

fn enter(barrier: &DoubleBarrier) -> JoinHandle<Result<Entered, Error>> {
    let barrier = barrier.clone();
    tokio::spawn(async move { barrier.enter().await })
}

async fn entered(entering: JoinHandle<Result<Entered, Error>>) -> Entered {
    within(PATIENCE, "ours is inside", entering)
        .await
        .expect("no panic")
        .expect("entered")
}

fn members(children: &[String]) -> usize {
    children.iter().filter(|name| *name != "ready").count()
}

async fn until_members(fixture: &Fixture, count: usize) {
    eventually(PATIENCE, format!("{count} members"), || async {
        members(&fixture.children(PATH).await) == count
    })
    .await;
}

/// In rounds, each with another one as the last to come, and another one as the last to leave.
#[tokio::test]
async fn all_begin_together_and_all_end_together() {
    let fixture = Fixture::new("all_begin_together_and_all_end_together").await;
    make_dir(&fixture, PATH).await;
    let zk = connect(&fixture).await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let java = theirs(&curator, &fixture, "3").await;
    for other in [
        theirs(&curator, &fixture, "3").await,
        theirs(&kazoo, &fixture, "3").await,
    ] {
        let ours = DoubleBarrier::new(&zk, PATH, 3).expect("a path");
        for ours_is_last in [true, false, true] {
            let first = java.tell("enter");
            until_members(&fixture, 1).await;
            let inside = if ours_is_last {
                let second = other.tell("enter");
                until_members(&fixture, 2).await;
                assert!(still_waits(&first).await && second.is_pending());
                let inside = entered(enter(&ours)).await;
                assert_eq!(second.done().await, "passed");
                inside
            } else {
                let entering = enter(&ours);
                until_members(&fixture, 2).await;
                assert!(still_waits(&first).await && !entering.is_finished());
                assert_eq!(other.ask("enter").await, "passed");
                entered(entering).await
            };
            assert_eq!(first.done().await, "passed");

            let first = java.tell("leave");
            if ours_is_last {
                let second = other.tell("leave");
                assert!(still_waits(&first).await && still_waits(&second).await);
                within(PATIENCE, "ours leaves", inside.leave()).await.expect("left");
                assert_eq!(second.done().await, "passed");
            } else {
                let leaving = tokio::spawn(inside.leave());
                assert!(still_waits(&first).await && !leaving.is_finished());
                assert_eq!(other.ask("leave").await, "passed");
                within(PATIENCE, "ours has left", leaving)
                    .await
                    .expect("no panic")
                    .expect("left");
            }
            assert_eq!(first.done().await, "passed");
            eventually(PATIENCE, "nobody and nothing is inside", || async {
                fixture.children(PATH).await.is_empty()
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_member_whose_session_ends_before_the_opening_is_not_counted() {
    let fixture = Fixture::new("a_member_whose_session_ends_before_the_opening").await;
    let zk = connect_mortal(&fixture).await;
    let curator = Peer::curator();
    let (java_1, java_2) = (
        theirs(&curator, &fixture, "2").await,
        theirs(&curator, &fixture, "2").await,
    );
    let ours = DoubleBarrier::new(&zk, PATH, 2).expect("a path");
    let _ghost = java_1.tell("enter");
    until_members(&fixture, 1).await;
    java_1.expire().await;
    until_members(&fixture, 0).await;

    let entering = enter(&ours);
    until_members(&fixture, 1).await;
    // A session of ours that ends while we wait: we come again.
    let before = fixture.children(PATH).await;
    expire(&fixture, &zk).await;
    eventually(PATIENCE, "ours has come again", || async {
        let now = fixture.children(PATH).await;
        members(&now) == 1 && now != before
    })
    .await;
    assert!(!entering.is_finished());
    assert_eq!(java_2.ask("enter").await, "passed");
    let inside = entered(entering).await;
    let leaves = java_2.tell("leave");
    inside.leave().await.expect("left");
    assert_eq!(leaves.done().await, "passed");
}

#[tokio::test]
async fn a_member_whose_session_ends_inside_is_not_waited_for() {
    let fixture = Fixture::new("a_member_whose_session_ends_inside").await;
    let zk = connect_mortal(&fixture).await;
    let curator = Peer::curator();
    let (java_1, java_2) = (
        theirs(&curator, &fixture, "3").await,
        theirs(&curator, &fixture, "3").await,
    );
    let ours = DoubleBarrier::new(&zk, PATH, 3).expect("a path");
    let (first, second) = (java_1.tell("enter"), java_2.tell("enter"));
    let inside = entered(enter(&ours)).await;
    assert_eq!(
        (first.done().await, second.done().await),
        ("passed".to_owned(), "passed".to_owned())
    );

    java_1.expire().await;
    let leaves = java_2.tell("leave");
    assert!(still_waits(&leaves).await, "ours is inside");
    expire(&fixture, &zk).await;
    within(PATIENCE, "the loss is signalled", inside.lost()).await;
    assert_eq!(leaves.done().await, "passed");
    drop(inside);
    eventually(PATIENCE, "nobody is inside", || async {
        fixture.children(PATH).await.is_empty()
    })
    .await;
}
