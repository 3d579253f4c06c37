//! An ensemble without quorum whose servers go on in read-only mode.

use zookeeper_recipes::{ConnectError, FairLock, LossReason};
use zookeeper_testkit::{RealEnsemble, ServerOptions, eventually, within};

use crate::{PATIENCE, SESSION, attempt, lock_once, options};

#[tokio::test]
async fn a_read_only_server_loses_holds_and_opens_no_session() {
    let read_only = ServerOptions::new().property("readonlymode.enabled", "true");
    let ensemble = RealEnsemble::start_with(3, read_only).await;
    let zk = attempt("an ensemble", options(), &ensemble.connect_string())
        .await
        .unwrap();
    let guard = FairLock::new(&zk, "/l").unwrap().acquire().await.unwrap();
    let [first, second, third] = ensemble.servers() else {
        unreachable!("three were started")
    };
    first.kill().await;
    second.kill().await;
    eventually(PATIENCE, "the third is read-only", || async {
        third
            .four_letter("srvr")
            .await
            .is_ok_and(|text| text.contains("Mode: read-only"))
    })
    .await;
    let reason = within(SESSION * 2, "the hold is lost", guard.lost()).await;
    assert!(
        matches!(reason, LossReason::LeaseLapsed | LossReason::SessionExpired),
        "{reason:?}"
    );
    let error = attempt("read-only, connect", options(), &third.connect_string())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    let waiting = FairLock::new(&zk, "/l").unwrap();
    let timed_out = waiting.acquire_timeout(SESSION / 2).await.unwrap_err();
    println!("read-only, acquire_timeout: {timed_out}");
    first.restart().await;
    drop(guard);
    within(PATIENCE, "a lock again", waiting.acquire())
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    lock_once("a quorum again", zk).await;
}
