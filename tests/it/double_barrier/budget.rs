//! What a double barrier costs, counted by a proxy: every request but pings.

use zookeeper_recipes::DoubleBarrier;
use zookeeper_testkit::{Fixture, Op, within};

use crate::support::PATIENCE;
use crate::support::cost::{Counted, make_dir};

/// Each member is woken once by the opening, and lists once to leave, besides the last ones.
#[tokio::test]
async fn an_opening_wakes_each_member_once() {
    const MEMBERS: usize = 6;
    let fixture = Fixture::new("double barrier").await;
    make_dir(&fixture, "/d").await;
    make_dir(&fixture, "/d/b").await;
    let mut counted = Vec::new();
    let mut entering = Vec::new();
    for member in 1..=MEMBERS {
        let zk = Counted::connect(&fixture).await;
        let barrier = DoubleBarrier::new(&zk.zk, "/d/b", MEMBERS).unwrap();
        entering.push(tokio::spawn(async move { barrier.enter().await.unwrap() }));
        if member < MEMBERS {
            fixture.until_children("/d/b", member).await;
            let counts = zk.requests(4).await;
            // A node, a list, a watch on `ready`, a watch on the own node.
            let ops = (counts.creates(), counts.lists(), counts.of(Op::Exists));
            assert_eq!((ops, counts.total()), ((1, 1, 2), 4), "{counts}");
        }
        counted.push(zk);
    }
    let mut inside = Vec::new();
    for (zk, entering) in counted.iter().zip(entering) {
        inside.push(within(PATIENCE, "entered", entering).await.unwrap());
        let counts = zk.requests(3).await.without_heartbeats();
        // The last one creates, lists, reads twice, opens, reads `ready`; then, as all others: is the own node there?
        let most = if inside.len() == MEMBERS { (1, 9) } else { (0, 3) };
        assert!((counts.lists(), counts.total()) <= most, "{counts}");
    }
    let leaving: Vec<_> = inside.into_iter().map(|one| tokio::spawn(one.leave())).collect();
    for one in leaving {
        within(PATIENCE, "left", one).await.unwrap().unwrap();
    }
    let mut lists = 0;
    for zk in &counted {
        lists += zk.requests(1).await.lists();
    }
    println!("{MEMBERS} members left with {lists} lists in all");
    assert!(lists <= 6 * MEMBERS, "{lists} lists");
    fixture.assert_no_nodes_left(&["/d/b"]).await;
}
