//! Who leads, and who is next.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{ConnectOptions, ElectionLayout, Error, LeaderElection, ProclaimError, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{LAYOUTS, LEADER, elected, election, lead, leads, stand, value, values};
use crate::support::{LONG, PATIENCE, connect, connect_to, elapsed, start, start_each};

#[tokio::test]
async fn candidates_lead_in_the_order_they_stood() {
    for layout in LAYOUTS {
        let (fixture, [one, two, three]) = start_each("election order").await;
        let (one, two, three) = (election(&one, layout), election(&two, layout), election(&three, layout));
        assert_eq!(one.leader().await.unwrap(), None);
        assert_eq!(one.participants().await.unwrap(), []);

        let first = lead(&one, "a").await;
        let second = stand(&two, "b");
        fixture.until_children(LEADER, 2).await;
        let third = stand(&three, "c");
        fixture.until_children(LEADER, 3).await;
        assert_eq!(values(&three).await, ["a", "b", "c"]);
        let leader = three.leader().await.unwrap().unwrap();
        assert_eq!((value(&leader), leader.term), ("a".into(), first.token()));
        assert!(leader.is_leader && leader.path == first.path());
        let tag = if layout == ElectionLayout::LeaderLatch {
            "-latch-"
        } else {
            "-lock-"
        };
        assert!(leader.path.contains(tag), "{}", leader.path);

        let term = first.token();
        first.resign().await.unwrap();
        let second = elected(second).await;
        assert!(second.token() > term);
        assert!(!third.is_finished());
        let term = second.token();
        drop(second);
        let third = elected(third).await;
        assert!(third.token() > term);
        assert_eq!(value(&one.leader().await.unwrap().unwrap()), "c");
        third.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn trying_where_somebody_leads_costs_one_read() {
    for layout in LAYOUTS {
        let (fixture, zk) = start("try campaign").await;
        let first = election(&zk, layout).try_campaign("a").await.unwrap();
        let (proxy, servers) = fixture.proxied().await;
        let other = election(&connect_to(&servers, LONG).await, layout);
        proxy.reset_counts();
        assert_eq!(other.try_campaign("b").await.unwrap_err(), TryAcquireError::Contended);
        let counts = proxy.requests();
        assert_eq!((counts.total(), counts.lists()), (1, 1), "{counts}");
        first.resign().await.unwrap();
        drop(other.try_campaign("b").await.unwrap());
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn a_campaign_that_times_out_leaves_no_candidate() {
    for layout in LAYOUTS {
        let (fixture, [one, two]) = start_each("campaign timeout").await;
        let first = lead(&election(&one, layout), "a").await;
        let limit = Duration::from_millis(200);
        let outcome = election(&two, layout).campaign_timeout("b", limit).await;
        assert_eq!(elapsed(outcome), Some(limit));
        assert_eq!(fixture.children(LEADER).await.len(), 1);
        first.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn leadership_goes_on_through_a_short_disconnect() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("short disconnect").await;
        let (proxy, servers) = fixture.proxied().await;
        let (one, two) = (connect_to(&servers, LONG).await, connect(&fixture).await);
        let leadership = lead(&election(&one, layout), "a").await;
        let candidate = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        let observer = election(&two, layout).observe().await.unwrap();
        let seen = observer.current();
        for _ in 0..3 {
            proxy.cut();
            let passes = || async { leadership.proclaim("a").await.is_ok() };
            eventually(PATIENCE, "connected again", passes).await;
            assert!(leadership.is_held());
        }
        assert!(!candidate.is_finished(), "somebody else leads");
        assert_eq!(observer.current(), seen, "bystanders saw another leader");
        leadership.resign().await.unwrap();
        drop(elected(candidate).await);
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn foreign_children_neither_lead_nor_block() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("foreign children").await;
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        fixture.raw().create(LEADER, b"", &options).await.unwrap();
        for name in ["0", "config", "zzz"] {
            fixture
                .raw()
                .create(&format!("{LEADER}/{name}"), b"", &options)
                .await
                .unwrap();
        }
        let election = election(&connect(&fixture).await, layout);
        let mut observer = election.observe().await.unwrap();
        assert_eq!(observer.current(), None);
        let leadership = lead(&election, "a").await;
        within(PATIENCE, "seen", observer.wait_for(leads("a"))).await.unwrap();
        leadership.resign().await.unwrap();
        within(PATIENCE, "seen", observer.wait_for(Option::is_none))
            .await
            .unwrap();
        assert_eq!(fixture.children(LEADER).await, ["0", "config", "zzz"]);
        fixture.assert_no_nodes_left(&[]).await;
    }
}

#[tokio::test]
async fn a_closed_coordinator_ends_campaigns_and_observers() {
    let fixture = Fixture::new("closed").await;
    let (one, two) = (
        connect(&fixture).await,
        ConnectOptions::new().connect(&fixture.connect_string()).await.unwrap(),
    );
    let leadership = lead(&election(&one, ElectionLayout::default()), "a").await;
    let candidate = stand(&election(&two, ElectionLayout::default()), "b");
    fixture.until_children(LEADER, 2).await;
    let mut observer = election(&two, ElectionLayout::default()).observe().await.unwrap();
    observer.current_and_update();
    two.close().await;
    assert_eq!(
        within(PATIENCE, "ended", candidate).await.unwrap().unwrap_err(),
        Error::Closed
    );
    assert_eq!(within(PATIENCE, "ended", observer.changed()).await, None);
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn bad_input_is_an_error_naming_the_path() {
    let (fixture, zk) = start("election bad input").await;
    for path in ["", "leader", "/leader/", "/"] {
        let error = LeaderElection::new(&zk, path).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidPath { path: named, .. } if named == path),
            "{error}"
        );
    }
    let election = election(&zk, ElectionLayout::default());
    let large = vec![b'x'; 1024 * 1024 + 1];
    let error = within(PATIENCE, "refused", election.campaign(large.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::TooLarge { path, .. } if path == LEADER),
        "{error}"
    );
    let leadership = lead(&election, "a").await;
    let error = within(PATIENCE, "refused", leadership.proclaim(large))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ProclaimError::Error(Error::TooLarge { .. })),
        "{error}"
    );
    assert!(leadership.is_held(), "a large value cost the leadership");
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
