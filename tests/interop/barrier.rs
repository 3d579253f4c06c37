//! `Barrier`, Curator's `DistributedBarrier` and kazoo's `Barrier`.

use zookeeper_recipes::Barrier;
use zookeeper_testkit::{Fixture, within};

use crate::line::still_waits;
use crate::peer::Peer;
use crate::support::{PATIENCE, connect};

const PATH: &str = "/freeze/all";

#[tokio::test]
async fn whoever_sets_it_all_wait_and_whoever_lifts_it_all_go_on() {
    let fixture = Fixture::new("whoever_sets_it_all_wait").await;
    let zk = connect(&fixture).await;
    let ours = Barrier::new(&zk, PATH).expect("a path");
    let java = Peer::curator().actor(&fixture, "barrier", PATH).await;
    let python = Peer::kazoo().actor(&fixture, "barrier", PATH).await;
    let passes_at_once = || async {
        ours.wait().await.expect("open");
        assert_eq!(
            (java.ask("wait").await, python.ask("wait").await),
            ("passed".to_owned(), "passed".to_owned())
        );
    };
    passes_at_once().await;
    for (sets, lifts) in [("ours", "curator"), ("curator", "kazoo"), ("kazoo", "ours")] {
        match sets {
            "ours" => ours.set().await.expect("set"),
            "curator" => drop(java.ask("set").await),
            _ => drop(python.ask("set").await),
        }
        // Setting it once more is no fault to anybody.
        ours.set().await.expect("set already");
        java.ask("set").await;
        python.ask("set").await;
        let waiting = tokio::spawn({
            let ours = ours.clone();
            async move { ours.wait().await }
        });
        let mut theirs = vec![(&java, "java"), (&python, "python")];
        // Who lifts it cannot wait meanwhile: its commands come one after the other.
        theirs.retain(|(_, name)| !matches!((lifts, *name), ("curator", "java") | ("kazoo", "python")));
        let waits: Vec<_> = theirs.iter().map(|(actor, _)| actor.tell("wait")).collect();
        for wait in &waits {
            assert!(still_waits(wait).await, "set by {sets}");
        }
        assert!(!waiting.is_finished(), "set by {sets}");
        match lifts {
            "ours" => ours.lift().await.expect("lifted"),
            "curator" => drop(java.ask("lift").await),
            _ => drop(python.ask("lift").await),
        }
        within(PATIENCE, format!("ours goes on, {lifts} lifted it"), waiting)
            .await
            .expect("no panic")
            .expect("open");
        for wait in waits {
            assert_eq!(wait.done().await, "passed");
        }
        ours.lift().await.expect("open already");
        passes_at_once().await;
    }
}

#[tokio::test]
async fn it_stays_closed_when_the_one_who_set_it_is_gone() {
    let fixture = Fixture::new("it_stays_closed").await;
    let zk = connect(&fixture).await;
    let ours = Barrier::new(&zk, PATH).expect("a path");
    let setter = Peer::curator().actor(&fixture, "barrier", PATH).await;
    let java = Peer::curator().actor(&fixture, "barrier", PATH).await;
    setter.ask("set").await;
    setter.expire().await;
    assert!(ours.wait_timeout(std::time::Duration::from_millis(100)).await.is_err());
    ours.lift().await.expect("lifted");
    ours.set().await.expect("set");
    zk.close().await;
    assert_eq!(java.ask("wait 100").await, "timeout");
    java.ask("lift").await;
}
