//! What observers see.

use zookeeper_testkit::{Fixture, within};

use super::{COUNT, LAYOUTS, clean};
use crate::support::{LONG, PATIENCE, connect, connect_to};

/// CURATOR-688: a count that is stuck when the data version overflows.
#[tokio::test]
async fn curator_688_an_observer_goes_by_the_zxid() {
    for new in LAYOUTS {
        let fixture = Fixture::new("count observer").await;
        let (proxy, servers) = fixture.proxied().await;
        let observed = new(&connect_to(&servers, LONG).await, COUNT).unwrap();
        let counter = new(&connect(&fixture).await, COUNT).unwrap();
        let mut observer = observed.observe().await.unwrap();
        assert_eq!(observer.current(), Ok(0));
        for _ in 0..3 {
            counter.fetch_add(1).await.unwrap();
        }
        within(PATIENCE, "3", observer.wait_for(|count| *count == Ok(3)))
            .await
            .unwrap()
            .unwrap();
        // The version falls from 2 to 0, as after an overflow.
        proxy.refuse().await;
        clean(&fixture).await;
        fixture.raw().delete(COUNT, None).await.unwrap();
        counter.set(9).await.unwrap();
        proxy.accept().await;
        within(PATIENCE, "9", observer.wait_for(|count| *count == Ok(9)))
            .await
            .unwrap()
            .unwrap();
        clean(&fixture).await;
    }
}
