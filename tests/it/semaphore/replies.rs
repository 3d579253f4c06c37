//! Replies that are lost.

use std::time::Duration;

use zookeeper_recipes::Semaphore;
use zookeeper_testkit::{Injection, Op, When, within};

use super::{PATH, finish, semaphore};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, start_proxied};

#[tokio::test]
async fn a_lost_reply_changes_the_limit_once() {
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
