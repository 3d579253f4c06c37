//! The end of the sequence numbers, through the code that makes them.

use zookeeper_recipes::TryAcquireError;
use zookeeper_testkit::Fixture;

use crate::support::{acquire, connect, faults, granted, join_line, lock, sequence_after};

#[tokio::test]
async fn a_line_goes_on_across_the_overflow() {
    let fixture = Fixture::with_embedded_server("overflow").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let mut front = acquire(&lock(&one, "/l")).await;
    let dir = format!("{}/l", fixture.chroot());
    assert!(faults(&fixture).set_sequence(&dir, i32::MAX - 2));

    let mut waiters = Vec::new();
    for number in 0..8 {
        let zk = if number % 2 == 0 { &two } else { &one };
        waiters.push(join_line(&fixture, &lock(zk, "/l"), number + 2).await);
    }
    let contenders = lock(&two, "/l").contenders().await.unwrap();
    let sequences: Vec<i32> = contenders[1..].iter().map(|c| sequence(&c.path)).collect();
    let spent = sequences.iter().filter(|sequence| **sequence == i32::MAX).count();
    assert!(
        spent > 1,
        "a server gives the last number again and again, but {sequences:?}"
    );
    assert!(contenders.is_sorted_by_key(|c| c.token), "{contenders:?}");
    assert_eq!(contenders.iter().filter(|c| c.is_holder).count(), 1);
    assert_eq!(
        lock(&two, "/l").try_acquire().await.unwrap_err(),
        TryAcquireError::Contended
    );

    for (waiter, contender) in waiters.into_iter().zip(&contenders[1..]) {
        assert!(!waiter.is_finished());
        front.release().await.unwrap();
        front = granted(waiter).await;
        assert_eq!(front.token(), contender.token);
        let holders = lock(&two, "/l")
            .contenders()
            .await
            .unwrap()
            .into_iter()
            .filter(|c| c.is_holder);
        assert_eq!(holders.map(|c| c.token).collect::<Vec<_>>(), [front.token()]);
    }
    front.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

fn sequence(path: &str) -> i32 {
    sequence_after(path, "-lock-")
}
