//! A long chain under faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zookeeper_recipes::CompleteError;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{finish, relay};
use crate::support::sessions::expire;
use crate::support::{LONG, PATIENCE, connect, connect_to};

/// A chain of increments, while links are cut, sessions expire and holders drop their turns: no increment is lost, none is
/// done twice, and none is done on anything but the result of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_chain_under_faults_neither_forks_nor_forgets() {
    const STEPS: u64 = 120;
    let fixture = Arc::new(Fixture::new("faults").await);
    let done = Arc::new(AtomicBool::new(false));
    let (mut tasks, mut links, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..4 {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, LONG).await;
        links.push(proxy);
        sessions.push(zk.clone());
        let (relay, done) = (relay(&zk), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let (mut completed, mut in_doubt) = (Vec::new(), Vec::new());
            while !done.load(Ordering::SeqCst) {
                let turn = relay.join().await.unwrap();
                let count = turn.previous().map_or(0, count);
                assert_eq!(count, turn.step(), "the result is that of the step before");
                let step = turn.step();
                if step >= STEPS {
                    done.store(true, Ordering::SeqCst);
                }
                if (step + number) % 7 == 0 {
                    drop(turn);
                    continue;
                }
                match turn.complete((count + 1).to_string()).await {
                    Ok(()) => completed.push(step),
                    Err(CompleteError::Lost(_)) => {}
                    Err(CompleteError::Indeterminate) => in_doubt.push(step),
                    Err(err) => panic!("{err}"),
                }
            }
            (completed, in_doubt)
        }));
    }
    let links = Arc::new(links);
    let trouble = tokio::spawn({
        let (links, fixture, sessions) = (Arc::clone(&links), Arc::clone(&fixture), sessions.clone());
        async move {
            for round in 0_usize.. {
                let injection = [Injection::LoseReply, Injection::CutBefore][round % 2];
                let fault = links[round % 4].inject(When::request(Op::Multi), injection);
                tokio::time::sleep(Duration::from_millis(50)).await;
                fault.disarm();
                if round % 5 == 4 {
                    expire(&fixture, &sessions[round / 5 % 4]).await;
                }
            }
        }
    });
    let (mut completed, mut in_doubt) = (Vec::new(), Vec::new());
    for task in tasks {
        let (theirs, doubtful) = within(PATIENCE * 4, "the chain is done", task).await.unwrap();
        completed.extend(theirs);
        in_doubt.extend(doubtful);
    }
    trouble.abort();
    let relay = relay(&connect(&fixture).await);
    let latest = count(&relay.latest().await.unwrap().unwrap());
    completed.sort_unstable();
    let twice = completed.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "completed twice");
    let missing: Vec<_> = (0..latest)
        .filter(|step| completed.binary_search(step).is_err())
        .collect();
    assert!(
        missing.iter().all(|step| in_doubt.contains(step)),
        "{missing:?} of {latest}"
    );
    assert!(completed.last().is_some_and(|last| *last < latest));
    drop(sessions);
    finish(&fixture, &relay).await;
    drop(links);
}

fn count(result: &Bytes) -> u64 {
    std::str::from_utf8(result).unwrap().parse().unwrap()
}
