//! Replies that are lost.

use zookeeper_recipes::Error;
use zookeeper_testkit::{Fixture, Injection, When, within};

use super::{DIR, rw};
use crate::support::{PATIENCE, connect_to};

#[tokio::test]
async fn replies_of_readers_and_writers_may_be_lost() {
    let fixture = Fixture::new("lost replies").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for tag in ["__READ__", "__WRIT__"] {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, PATIENCE).await;
            let fault = proxy.inject(When::create().path(tag), injection);
            let lock = rw(&zk);
            let held = async {
                match tag {
                    "__READ__" => Ok::<_, Error>((Some(lock.read().await?), None)),
                    _ => Ok((None, Some(lock.write().await?))),
                }
            };
            let held = within(PATIENCE, "granted", held).await.unwrap();
            fault.fired().await;
            assert_eq!(fixture.children(DIR).await.len(), 1, "{injection:?} {tag}");
            drop(held);
            fixture.assert_no_nodes_left(&[DIR]).await;
        }
    }
}
