//! The end of the sequence numbers, through the code that makes them.

use zookeeper_recipes::{FencingToken, LeaderElection, Participant};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, connect, faults, sequence_after};

/// Who leads and who follows is told in the same order in which they lead.
#[tokio::test]
async fn observers_see_the_order_across_an_overflow() {
    let fixture = Fixture::with_embedded_server("election overflow").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let election = |zk| LeaderElection::new(zk, "/e").unwrap();
    let bystander = election(&two);
    let mut front = election(&one).campaign("0").await.unwrap();
    let dir = format!("{}/e", fixture.chroot());
    assert!(faults(&fixture).set_sequence(&dir, i32::MAX - 1));
    let mut waiters = Vec::new();
    for number in 1..9 {
        let zk = if number % 2 == 0 { &two } else { &one };
        let candidate = election(zk);
        waiters.push(tokio::spawn(
            async move { candidate.campaign(number.to_string()).await },
        ));
        fixture.until_children("/e", number + 1).await;
    }
    let mut observer = bystander.observe().await.unwrap();
    let participants = bystander.participants().await.unwrap();
    let numbers: Vec<i32> = participants[1..]
        .iter()
        .map(|p| sequence_after(&p.path, "-latch-"))
        .collect();
    let spent = numbers.iter().filter(|number| **number == i32::MAX).count();
    assert!(
        spent > 1,
        "a server gives the last number again and again, but {numbers:?}"
    );
    let values: Vec<&[u8]> = participants.iter().map(|p| &*p.value).collect();
    assert_eq!(values, [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8"]);
    let leads =
        |term: FencingToken| move |leader: &Option<Participant>| leader.as_ref().is_some_and(|l| l.term == term);

    for (waiter, next) in waiters.into_iter().zip(&participants[1..]) {
        front.resign().await.unwrap();
        front = within(PATIENCE, "elected", waiter).await.unwrap().unwrap();
        assert_eq!(front.token(), next.term);
        assert_eq!(bystander.leader().await.unwrap().unwrap().path, next.path);
        let seen = observer.wait_for(leads(next.term));
        let seen = within(PATIENCE, "seen", seen).await.unwrap().unwrap();
        assert_eq!((seen.path, seen.value), (next.path.clone(), next.value.clone()));
    }
    front.resign().await.unwrap();
    fixture.assert_no_nodes_left(&["/e"]).await;
}
