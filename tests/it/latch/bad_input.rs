//! Numbers that differ, and data of others.

use zookeeper_recipes::{Error, LatchError, LatchTimeoutError};

use super::{PATH, finish, latch};
use crate::support::{LONG, start};

#[tokio::test]
async fn another_number_and_foreign_data_are_errors() {
    let (fixture, zk) = start("mismatch").await;
    latch(&zk, 3).count_down().await.unwrap();
    let mismatch = LatchError::Mismatch {
        path: PATH.to_owned(),
        ours: 4,
        agreed: 3,
    };
    let wrong = latch(&zk, 4);
    assert_eq!(wrong.count_down().await, Err(mismatch.clone()));
    assert_eq!(wrong.count().await, Err(mismatch.clone()));
    assert_eq!(wrong.wait().await, Err(mismatch.clone()));
    assert_eq!(wrong.wait_timeout(LONG).await, Err(LatchTimeoutError::Error(mismatch)));
    assert_eq!(latch(&zk, 3).count().await.unwrap(), 2, "nothing was counted");
    fixture.raw().set_data(PATH, b"127.0.0.1", None).await.unwrap();
    let refused = latch(&zk, 3).count_down().await;
    assert!(
        matches!(&refused, Err(LatchError::Error(Error::Layout { path, .. })) if path == PATH),
        "{refused:?}"
    );
    finish(&fixture, &latch(&zk, 3)).await;
}
