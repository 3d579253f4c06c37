//! Sessions that expire and replies that are lost.

use std::time::Duration;

use zookeeper_recipes::Semaphore;
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use super::{PATH, finish, join_line, semaphore, take};
use crate::sessions::expire;
use crate::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, assert_waits, connect, connect_each, granted, start_proxied};

#[tokio::test]
async fn waiters_whose_session_expires_stand_in_line_again_at_the_tail() {
    let fixture = Fixture::new("waiters expire").await;
    let zks = connect_each::<3>(&fixture).await;
    let semaphores = zks.each_ref().map(|zk| semaphore(zk, 1));
    let holder = take(&semaphores[0], 1).await;
    // The one who watches the permits, then the one who watches the one ahead.
    let mut pending = vec![join_line(&fixture, &semaphores[1], 1, 1).await];
    pending.push(join_line(&fixture, &semaphores[2], 1, 2).await);
    for expired in [1, 2, 1] {
        let old = expire(&fixture, &zks[expired]).await;
        eventually(PATIENCE, "it stands in line again", || async {
            let owners: Vec<i64> = fixture.ephemerals().await.into_values().collect();
            owners.len() == 3 && !owners.contains(&old)
        })
        .await;
    }
    assert!(pending.iter().all(|pending| !pending.is_finished()));
    holder.release().await.unwrap();
    // The last to expire is the last.
    let second = granted(pending.remove(1)).await;
    assert_waits(&pending[0]).await;
    second.release().await.unwrap();
    granted(pending.remove(0)).await.release().await.unwrap();
    finish(&fixture, &semaphores[0], 1).await;
}

#[tokio::test]
async fn a_change_of_the_number_whose_reply_is_lost_is_made_once() {
    let (fixture, proxy, zk) = start_proxied("lost change", LONG).await;
    let other = connect(&fixture).await;
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    for (permits, injection) in [
        (5, Injection::LoseReply),
        (2, Injection::LoseReply),
        (5, Injection::CutBefore),
        (2, Injection::CutBefore),
    ] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        within(PATIENCE, "changed", mine.set_permits(permits)).await.unwrap();
        assert!(fault.has_fired());
        assert_eq!(theirs.available_permits().await.unwrap(), permits);
        assert_eq!(fixture.children(PATH).await.contains(&"keep".to_owned()), permits == 5);
    }
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    for contended in [false, true] {
        strike_each_request("semaphore", move |fixture, zk, path| async move {
            let other = connect(&fixture).await;
            let mine = Semaphore::new(&zk, &path, 3).unwrap();
            let theirs = Semaphore::new(&other, &path, 3).unwrap();
            let all = match contended {
                true => Some(theirs.acquire_many(3).await.unwrap()),
                false => None,
            };
            let acquiring = tokio::spawn({
                let mine = mine.clone();
                async move { mine.acquire_many(2).await }
            });
            if let Some(all) = all {
                tokio::time::sleep(Duration::from_millis(30)).await;
                assert!(!acquiring.is_finished(), "granted while another holds all");
                all.release().await.unwrap();
            }
            let permit = acquiring.await.unwrap().unwrap();
            assert!(permit.is_held());
            assert_eq!(fixture.children(&format!("{path}/leases")).await.len(), 2);
            fixture.until_children(&format!("{path}/locks"), 0).await;
            assert_eq!(theirs.available_permits().await.unwrap(), 1);
            permit.release().await.unwrap();
            assert_eq!(theirs.available_permits().await.unwrap(), 3);
        })
        .await;
    }
}
