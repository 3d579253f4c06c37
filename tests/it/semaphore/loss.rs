//! Sessions that expire.

use zookeeper_testkit::eventually;

use super::{finish, join_line, semaphore, take};
use crate::support::sessions::expire;
use crate::support::{PATIENCE, assert_waits, granted, start_each};

#[tokio::test]
async fn expired_waiters_join_again_at_the_tail() {
    let (fixture, zks) = start_each::<3>("waiters expire").await;
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
