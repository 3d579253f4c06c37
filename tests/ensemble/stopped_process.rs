//! A holder's process is stopped past its session and continued: it must not go on as if nothing had happened.

use std::time::Duration;

use zookeeper_client as zk;
use zookeeper_recipes::FairLock;
use zookeeper_testkit::within;

use crate::client::{HELD, Process};
use crate::ensemble::{Ensemble, SESSION};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_stopped_past_its_session_knows_at_its_first_look_and_cannot_write() {
    let ensemble = Ensemble::take().await;
    let fixture = ensemble.fixture("stopped_process").await;
    let (mut holder, node) = Process::holder(&fixture.connect_string()).await;
    assert_eq!(holder.ask("is held?").await, "true");
    assert_eq!(holder.ask("written by the holder").await, "written");
    let successor = ensemble.connect(&fixture, SESSION).await;
    let lock = FairLock::new(&successor, HELD).expect("valid");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    fixture.until_children(HELD, 2).await;

    holder.stop();
    let guard = within(Duration::from_secs(60), "the session expires", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    let mut write = guard.fenced();
    write.add_set_data("/", b"written by the successor", None);
    write.commit().await.expect("held");

    // Said while it is stopped, so that the answer is the first thing that it does.
    holder.say("is held?");
    holder.resume();
    assert_eq!(holder.answer().await, "false", "the first look of the stopped holder");
    assert_ne!(holder.ask("why not?").await, "None");
    let refused = holder.ask("written by the stopped holder").await;
    assert!(refused.starts_with("nothing was written"), "{refused}");

    // The same write, sent by one who does not look at all: the ensemble itself refuses it.
    let mut write = fixture.raw().new_multi_writer();
    write.add_check_version(&node, -1).expect("a valid path");
    write
        .add_set_data("/", b"written by the stopped holder", None)
        .expect("a valid path");
    let refused = write.commit().await;
    assert_eq!(
        refused,
        Err(zk::MultiWriteError::OperationFailed {
            index: 0,
            source: zk::Error::NoNode
        })
    );
    let (data, _) = fixture.raw().get_data("/").await.expect("the chroot is there");
    assert_eq!(String::from_utf8_lossy(&data), "written by the successor");

    guard.release().await.expect("still held");
    drop(holder);
    fixture.assert_no_nodes_left_within(3 * SESSION, &[HELD]).await;
}
