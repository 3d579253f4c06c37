//! Known mistakes of Curator's `LeaderLatch` and `LeaderSelector`, by the number of the issue.

use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::{LossReason, ReleaseError};
use zookeeper_testkit::{Fixture, History, Mode, ServerTruth, eventually, within};

use super::{LAYOUTS, LEADER, elected, election, lead, stand};
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, connect, connect_to, start, start_each, start_proxied};

/// The link of the leader goes silent: the leader steps down by its own clock before the ensemble elects another.
/// CURATOR-444, CURATOR-460: with Curator, a leader that ignores SUSPENDED overlaps with the next.
#[tokio::test]
async fn curator_444_460_leaders_never_overlap() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("silent leader").await;
        let history = History::new();
        let _truth = ServerTruth::record(fixture.raw(), LEADER, &history).await;
        let (proxy, servers) = fixture.proxied().await;
        let (one, two) = (
            connect_to(&servers, Duration::from_secs(3)).await,
            connect(&fixture).await,
        );
        let leadership = lead(&election(&one, layout), "a").await;
        let held = history.record_grant(LEADER, "a", Mode::Exclusive, leadership.token().as_i64());
        let candidate = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        proxy.black_hole();
        let reason = within(PATIENCE, "the leader notices", leadership.lost()).await;
        held.end();
        assert_eq!(reason, LossReason::LeaseLapsed);
        assert!(!candidate.is_finished(), "two leaders");
        let next = elected(candidate).await;
        let held = history.record_grant(LEADER, "b", Mode::Exclusive, next.token().as_i64());
        assert!(matches!(leadership.resign().await, Err(ReleaseError::Lost(_))));
        proxy.heal();
        held.end();
        next.resign().await.unwrap();
        history.assert_sound();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// CURATOR-171, CURATOR-49: an operator deletes the leader's node and both latches report that they lead.
#[tokio::test]
async fn curator_171_a_leader_without_node_steps_down() {
    for layout in LAYOUTS {
        let (fixture, [one, two]) = start_each("operator").await;
        let leadership = lead(&election(&one, layout), "a").await;
        let candidate = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        fixture.raw().delete(leadership.path(), None).await.unwrap();
        let reason = within(PATIENCE, "the leader notices", leadership.lost()).await;
        assert_eq!(reason, LossReason::NodeRemoved);
        let next = elected(candidate).await;
        assert!(next.is_held() && !leadership.is_held());
        assert!(matches!(leadership.resign().await, Err(ReleaseError::Lost(_))));
        next.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// CURATOR-620, CURATOR-696: a latch took the node of its old session as its own, and led beside another.
#[tokio::test]
async fn curator_620_696_old_nodes_are_never_own() {
    for layout in LAYOUTS {
        let (fixture, [one, two]) = start_each("old session").await;
        let first = lead(&election(&one, layout), "a").await;
        let candidate = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        let old = session_of(&two).await;
        fixture.expire(&old).await;
        let stands_again = || async {
            let participants = election(&one, layout).participants().await.unwrap();
            participants.len() == 2 && participants[1].session_id != old.id().0
        };
        eventually(PATIENCE, "it stands in its new session", stands_again).await;
        first.resign().await.unwrap();
        let next = elected(candidate).await;
        let leader = election(&one, layout).leader().await.unwrap().unwrap();
        assert_eq!(leader.session_id, two.client().await.unwrap().session_id().0);
        assert_eq!(leader.term, next.token());
        next.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// CURATOR-653, -652: a node deleted after it was seen first. CURATOR-724: the path was gone after an outage and never
/// made again.
#[tokio::test]
async fn curator_653_724_deleted_candidates_stand_again() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("wiped").await;
        let mut sessions = Vec::new();
        let mut candidates = Vec::new();
        for index in 0..3 {
            sessions.push(connect(&fixture).await);
            candidates.push(stand(&election(&sessions[index], layout), "x"));
            fixture.until_children(LEADER, index + 1).await;
        }
        let first = elected(candidates.remove(0)).await;
        // In one transaction: nobody can stand again in between.
        let mut wipe = fixture.raw().new_multi_writer();
        for child in fixture.children(LEADER).await {
            wipe.add_delete(&format!("{LEADER}/{child}"), None).unwrap();
        }
        wipe.add_delete(LEADER, None).unwrap();
        wipe.commit().await.unwrap();
        within(PATIENCE, "the leader notices", first.lost()).await;
        let winner = futures::future::select_all(candidates);
        let (leader, _, mut rest) = within(PATIENCE, "one leads again", winner).await;
        let leader = leader.unwrap().unwrap();
        assert!(leader.is_held() && !rest[0].is_finished());
        assert_eq!(
            election(&sessions[0], layout).leader().await.unwrap().unwrap().term,
            leader.token()
        );
        leader.resign().await.unwrap();
        elected(rest.remove(0)).await.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// CURATOR-644, -645, -504: latches that reset each other for ever. CURATOR-3, -87: extra nodes and jitter after an
/// outage.
#[tokio::test]
async fn curator_644_3_short_outages_create_no_node() {
    for layout in LAYOUTS {
        let (fixture, proxy, zk) = start_proxied("outage", LONG).await;
        let leadership = lead(&election(&zk, layout), "a").await;
        let candidates: Vec<_> = (0..4).map(|_| stand(&election(&zk, layout), "b")).collect();
        fixture.until_children(LEADER, 5).await;
        let before = fixture.children(LEADER).await;
        proxy.reset_counts();
        for _ in 0..3 {
            proxy.refuse().await;
            proxy.accept().await;
            eventually(PATIENCE, "connected again", || async {
                leadership.proclaim("a").await.is_ok()
            })
            .await;
        }
        assert_eq!(fixture.children(LEADER).await, before);
        let counts = proxy.requests();
        assert_eq!(counts.matching(|request| request.op.is_create()).total(), 0, "{counts}");
        assert!(leadership.is_held() && candidates.iter().all(|candidate| !candidate.is_finished()));
        candidates.iter().for_each(JoinHandle::abort);
        leadership.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// The race of CURATOR-54: leadership given to a candidate whose session is dead.
#[tokio::test]
async fn curator_54_a_silent_candidate_does_not_lead() {
    for layout in LAYOUTS {
        let (fixture, [one, three]) = start_each("deaf candidate").await;
        let (proxy, servers) = fixture.proxied().await;
        let two = connect_to(&servers, Duration::from_secs(3)).await;
        let first = lead(&election(&one, layout), "a").await;
        let deaf = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        let third = stand(&election(&three, layout), "c");
        fixture.until_children(LEADER, 3).await;
        proxy.black_hole();
        first.resign().await.unwrap();
        // Its turn comes and passes: it leads in the eyes of the ensemble until its session expires.
        let third = elected(third).await;
        assert!(!deaf.is_finished(), "it was given leadership on a dead session");
        proxy.heal();
        third.resign().await.unwrap();
        let back = elected(deaf).await;
        assert!(back.is_held());
        back.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

/// CURATOR-358, -436: asking for the leader failed where a participant vanished or the path was absent.
#[tokio::test]
async fn curator_358_vanishing_participants_are_no_error() {
    for layout in LAYOUTS {
        let (fixture, zk) = start("vanishing participants").await;
        let churn: Vec<_> = (0..4)
            .map(|_| {
                let election = election(&zk, layout);
                tokio::spawn(async move {
                    for _ in 0..15 {
                        election.campaign("x").await.unwrap().resign().await.unwrap();
                    }
                })
            })
            .collect();
        let asking = election(&connect(&fixture).await, layout);
        while !churn.iter().all(JoinHandle::is_finished) {
            let leader = asking.leader().await.unwrap();
            assert!(leader.is_none_or(|leader| leader.is_leader));
            let participants = asking.participants().await.unwrap();
            assert!(participants.windows(2).all(|pair| pair[0].term < pair[1].term));
        }
        for task in churn {
            task.await.unwrap();
        }
        assert_eq!(asking.leader().await.unwrap(), None);
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}
