//! Three real servers that lose their leader. These tests bring their own servers and run beside either backend where
//! there are jars; `scripts/test.sh` sees to it that there are.

use std::time::{Duration, Instant};

use zookeeper_client::Client;
use zookeeper_recipes::{FairLockGuard, LossReason, Lost, ReleaseError};
use zookeeper_testkit::{Backend, History, Mode, RealEnsemble, ServerTruth, eventually, within};

use crate::support::sessions::{Acquiring, session_timeout};
use crate::support::{PATIENCE, acquire, connect_to, lock, loss};

const LOCK: &str = "/lock";

#[tokio::test]
async fn a_dead_leader_stalls_no_waiter() {
    let Some((ensemble, leader)) = ensemble().await else {
        return;
    };
    let (zk, waiter_zk) = (
        connect_to(&ensemble.connect_string(), Duration::from_secs(20)).await,
        connect_to(&ensemble.connect_string(), Duration::from_secs(20)).await,
    );
    let guard = acquire(&lock(&zk, LOCK)).await;
    let observed = Observed::start(&ensemble).await;
    let belief = observed.believe("holder", &guard);
    let waiting = Acquiring::start(&lock(&waiter_zk, LOCK));
    observed.until_contenders(2).await;

    ensemble.servers()[leader].kill().await;
    eventually(PATIENCE, "another leader", || async {
        ensemble.leader().await.is_some()
    })
    .await;
    // Its client was connected to a follower all along, or comes back in time, or the lease runs out meanwhile.
    let mut write = guard.fenced();
    write.add_set_data(LOCK, b"written by the holder", None);
    let written = within(PATIENCE, "an answer or the loss", guard.run_until_lost(write.commit())).await;
    assert!(waiting.is_pending() || !guard.is_held());
    belief.end();
    match guard.release().await {
        Ok(())
        | Err(ReleaseError::Lost(Lost {
            reason: LossReason::LeaseLapsed,
        })) => {}
        other => panic!("{other:?}, after {written:?}"),
    }
    let granted = waiting.granted().await;
    observed.believe("waiter", &granted).end();
    granted.release().await.unwrap();
    observed.until_contenders(0).await;
    assert_eq!(observed.history.assert_sound().grants, 2);
}

#[tokio::test]
async fn a_frozen_leaders_holder_learns_first() {
    let Some((ensemble, leader)) = ensemble().await else {
        return;
    };
    let leading = &ensemble.servers()[leader];
    let following = &ensemble.servers()[(leader + 1) % 3];
    let zk = connect_to(&leading.connect_string(), Duration::from_secs(5)).await;
    let waiter_zk = connect_to(&following.connect_string(), Duration::from_secs(20)).await;
    let guard = acquire(&lock(&zk, LOCK)).await;
    let timeout = session_timeout(&zk).await;
    let observed = Observed::start(&ensemble).await;
    let belief = observed.believe("holder", &guard);
    let waiting = Acquiring::start(&lock(&waiter_zk, LOCK));
    observed.until_contenders(2).await;

    let last_good = Instant::now();
    leading.freeze().await;
    let reason = loss(&guard).await;
    let lost_after = last_good.elapsed();
    belief.end();
    assert_eq!(reason, LossReason::LeaseLapsed);
    assert!(lost_after < timeout, "{lost_after:?}");
    let granted = waiting.granted().await;
    assert!(!guard.is_held() && granted.is_held());
    observed.believe("waiter", &granted).end();
    granted.release().await.unwrap();
    assert_eq!(observed.history.assert_sound().grants, 2);

    // What the frozen server still believes does no harm once it follows.
    leading.thaw().await;
    let again = acquire(&lock(&zk, LOCK)).await;
    assert!(again.token() > granted_token(&observed));
    again.release().await.unwrap();
    observed.until_contenders(0).await;
}

/// Three servers, and the index of their leader. `None`, with a word about it, where only the embedded server is tested
/// and there are no jars.
async fn ensemble() -> Option<(RealEnsemble, usize)> {
    if Backend::from_env() != Backend::Real && !RealEnsemble::is_available().await {
        eprintln!("not run: an ensemble needs ZooKeeper's jars, which scripts/test.sh installs");
        return None;
    }
    let ensemble = RealEnsemble::start(3).await;
    let leader = ensemble.leader().await;
    Some((ensemble, leader.unwrap_or_else(|| panic!("no leader"))))
}

fn granted_token(observed: &Observed) -> zookeeper_recipes::FencingToken {
    let newest = observed.history.grants().iter().map(|grant| grant.token).max();
    zookeeper_recipes::FencingToken::from_i64(newest.unwrap_or_default())
}

/// Beliefs and the servers' truth about one lock.
struct Observed {
    history: History,
    raw: Client,
    _truth: ServerTruth,
}

impl Observed {
    async fn start(ensemble: &RealEnsemble) -> Self {
        let history = History::new();
        let connector = Client::connector().with_session_timeout(Duration::from_secs(40));
        let raw = connector.connect(&ensemble.connect_string()).await.expect("a session");
        Self {
            _truth: ServerTruth::record(&raw, LOCK, &history).await,
            history,
            raw,
        }
    }

    fn believe(&self, who: &str, guard: &FairLockGuard) -> zookeeper_testkit::Held {
        self.history
            .record_grant(LOCK, who, Mode::Exclusive, guard.token().as_i64())
    }

    async fn until_contenders(&self, count: usize) {
        eventually(PATIENCE, format!("{count} contenders"), || async {
            match self.raw.list_children(LOCK).await {
                Ok(children) => children.len() == count,
                Err(error) => count == 0 && error == zookeeper_client::Error::NoNode,
            }
        })
        .await;
    }
}
