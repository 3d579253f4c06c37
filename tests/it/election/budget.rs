//! What each step costs.

use std::time::Duration;

use zookeeper_testkit::{Fixture, Op, eventually, within};

use super::{LAYOUTS, LEADER, elected, election, lead, leads, stand};
use crate::support::cost::make_dir;
use crate::support::{LONG, PATIENCE, connect, connect_to};

#[tokio::test]
async fn idle_candidates_and_observers_cost_no_requests() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("idle").await;
        let leadership = lead(&election(&connect(&fixture).await, layout), "a").await;
        let (proxy, servers) = fixture.proxied().await;
        let waiting = election(&connect_to(&servers, LONG).await, layout);
        let candidate = stand(&waiting, "b");
        fixture.until_children(LEADER, 2).await;
        let observers = [waiting.observe().await.unwrap(), waiting.observe().await.unwrap()];
        let mut newcomers = Vec::new();
        // The candidate's watches are on their way; when they pass, all is quiet.
        let set = || async { proxy.requests().under(LEADER).of(Op::Exists) >= 2 };
        eventually(PATIENCE, "the watches are set", set).await;
        proxy.reset_counts();
        // Candidates that come and go behind wake nobody.
        for _ in 0..3 {
            let other = election(&connect(&fixture).await, layout);
            newcomers.push(stand(&other, "c"));
        }
        fixture.until_children(LEADER, 5).await;
        newcomers.drain(..).for_each(|newcomer| newcomer.abort());
        fixture.until_children(LEADER, 2).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let counts = proxy.requests();
        assert_eq!(counts.total(), 0, "{counts}");
        // An observer that is gone lets go of its watch: the next leader wakes the candidate alone.
        drop(observers);
        leadership.resign().await.unwrap();
        elected(candidate).await.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn campaigns_resignations_and_proclamations_keep_to_their_budget() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("election budget").await;
        make_dir(&fixture, LEADER).await;
        let (proxy, servers) = fixture.proxied().await;
        let election = election(&connect_to(&servers, LONG).await, layout);
        lead(&election, "a").await.resign().await.unwrap();
        proxy.reset_counts();
        let leadership = lead(&election, "a").await;
        // A leadership that ends within a moment costs no watch.
        let watched = |times| {
            let proxy = &proxy;
            eventually(PATIENCE, "watched", move || async move {
                proxy.requests().of(Op::Exists) == times
            })
        };
        watched(1).await;
        leadership.proclaim("b").await.unwrap();
        watched(2).await;
        leadership.resign().await.unwrap();
        let counts = proxy.requests().without_heartbeats();
        let expected = [(Op::Create2, 1), (Op::Delete, 1), (Op::GetChildren, 1), (Op::Exists, 2)];
        for (op, count) in expected {
            assert_eq!(counts.of(op), count, "{op}: {counts}");
        }
        assert_eq!((counts.of(Op::SetData), counts.total()), (1, 6), "{counts}");
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn a_proclamation_costs_an_observer_one_read() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("observer budget").await;
        let (proxy, servers) = fixture.proxied().await;
        let bystander = election(&connect_to(&servers, LONG).await, layout);
        let leadership = lead(&election(&connect(&fixture).await, layout), "a").await;
        let mut observer = bystander.observe().await.unwrap();
        proxy.reset_counts();
        leadership.proclaim("b").await.unwrap();
        within(PATIENCE, "seen", observer.wait_for(leads("b"))).await.unwrap();
        let counts = proxy.requests();
        assert_eq!((counts.of(Op::GetData), counts.total()), (1, 1), "{counts}");
        leadership.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// A graceful hand-over: one delete by the one who resigns, one list by the one who is woken, and nothing by the others.
#[tokio::test]
async fn a_resignation_takes_one_hand_off() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("hand-off budget").await;
        let (first_link, servers) = fixture.proxied().await;
        let first = lead(&election(&connect_to(&servers, LONG).await, layout), "a").await;
        let mut waiting = Vec::new();
        for behind in 1..4 {
            let (link, servers) = fixture.proxied().await;
            let candidate = stand(&election(&connect_to(&servers, LONG).await, layout), "b");
            fixture.until_children(LEADER, behind + 1).await;
            let watches = || async { link.requests().under(LEADER).of(Op::Exists) >= 2 };
            eventually(PATIENCE, "the watches are set", watches).await;
            link.reset_counts();
            waiting.push((link, candidate));
        }
        first_link.reset_counts();
        first.resign().await.unwrap();
        let (woken, candidate) = waiting.remove(0);
        let next = elected(candidate).await;
        // The coordinator of the first is gone with its leadership, and closes its session.
        let counts = first_link.requests().under(LEADER);
        assert_eq!((counts.of(Op::Delete), counts.total()), (1, 1), "{counts}");
        let counts = woken.requests().under(LEADER);
        assert_eq!((counts.lists(), counts.total()), (1, 1), "{counts}");
        for (link, _) in &waiting {
            assert_eq!(link.requests().total(), 0, "{}", link.requests());
        }
        waiting.iter().for_each(|(_, candidate)| candidate.abort());
        next.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}
