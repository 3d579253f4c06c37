//! Replies that are lost.

use zookeeper_recipes::CountDownLatch;
use zookeeper_testkit::{Injection, Op, When, within};

use super::{finish, latch};
use crate::support::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, start_proxied};

#[tokio::test]
async fn a_lost_reply_counts_once() {
    let (fixture, proxy, zk) = start_proxied("lost count", LONG).await;
    let settled = latch(&zk, 4);
    for (missing, injection) in [(3, Injection::LoseReply), (2, Injection::CutBefore)] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let counted = within(PATIENCE, "counted", settled.count_down()).await.unwrap();
        assert_eq!(counted, missing, "{injection:?}");
        assert!(fault.has_fired());
        assert_eq!(settled.count().await.unwrap(), missing);
    }
    finish(&fixture, &settled).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("latch", |_, zk, path| async move {
        let latch = CountDownLatch::new(&zk, &format!("{path}/latch"), 2).unwrap();
        let waiting = tokio::spawn({
            let latch = latch.clone();
            async move { latch.wait().await }
        });
        assert_eq!(latch.count_down().await.unwrap(), 1);
        assert!(!waiting.is_finished(), "passed a closed latch");
        assert_eq!(latch.count_down().await.unwrap(), 0);
        waiting.await.unwrap().unwrap();
        latch.remove().await.unwrap();
    })
    .await;
}
