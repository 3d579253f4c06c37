//! Leader election: succession, loss, what bystanders see, and Curator's known mistakes (`LeaderLatch`,
//! `LeaderSelector`), which are named after their issue.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{
    AcquireTimeoutError, ConnectOptions, Coordinator, ElectionLayout, Error, LeaderElection, Leadership, LossReason,
    LostSignal, Participant, ProclaimError, ReleaseError, TryAcquireError,
};
use zookeeper_testkit::{Fixture, History, Mode, Op, ServerTruth, When, eventually, within};

use crate::sessions::assert_expired;
use crate::support::{LONG, PATIENCE, connect, connect_to};

const LEADER: &str = "/leader";
const LAYOUTS: [ElectionLayout; 2] = [ElectionLayout::LeaderLatch, ElectionLayout::LeaderSelector];

fn election(zk: &Coordinator, layout: ElectionLayout) -> LeaderElection {
    LeaderElection::new(zk, LEADER).unwrap().layout(layout)
}

async fn lead(election: &LeaderElection, value: &str) -> Leadership {
    within(PATIENCE, "elected", election.campaign(value.to_owned()))
        .await
        .unwrap()
}

/// A candidate that waits in a task of its own.
fn stand(election: &LeaderElection, value: &str) -> JoinHandle<Result<Leadership, Error>> {
    let (election, value) = (election.clone(), value.to_owned());
    tokio::spawn(async move { election.campaign(value).await })
}

async fn elected(candidate: JoinHandle<Result<Leadership, Error>>) -> Leadership {
    within(PATIENCE, "elected", candidate).await.unwrap().unwrap()
}

async fn values(election: &LeaderElection) -> Vec<String> {
    let participants = election.participants().await.unwrap();
    participants.iter().map(value).collect()
}

fn value(participant: &Participant) -> String {
    String::from_utf8(participant.value.to_vec()).unwrap()
}

fn leads(who: &str) -> impl Fn(&Option<Participant>) -> bool {
    move |leader| leader.as_ref().is_some_and(|leader| value(leader) == who)
}

#[tokio::test]
async fn candidates_lead_in_the_order_in_which_they_stood() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("election order").await;
        let (one, two, three) = (
            connect(&fixture).await,
            connect(&fixture).await,
            connect(&fixture).await,
        );
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
        let fixture = Fixture::new("try campaign").await;
        let zk = connect(&fixture).await;
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
        let fixture = Fixture::new("campaign timeout").await;
        let (one, two) = (connect(&fixture).await, connect(&fixture).await);
        let first = lead(&election(&one, layout), "a").await;
        let limit = Duration::from_millis(200);
        let error = election(&two, layout).campaign_timeout("b", limit).await.unwrap_err();
        assert_eq!(error, AcquireTimeoutError::Elapsed { after: limit });
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
        let mut observer = election(&two, layout).observe().await.unwrap();
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

/// The link of the leader goes silent: the leader steps down by its own clock before the ensemble elects another.
/// CURATOR-444, CURATOR-460: with Curator, a leader that ignores SUSPENDED overlaps with the next.
#[tokio::test]
async fn curator_444_460_a_leader_steps_down_before_the_next_one_leads() {
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

/// Tells when the work is dropped, and whether the hold under it was still there then.
struct Dropped {
    lost: LostSignal,
    tell: mpsc::UnboundedSender<Option<LossReason>>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.tell.send(self.lost.reason());
    }
}

/// CURATOR-15, -16, -73, -104, -468: the selector stopped to elect after an expiry, silently. CURATOR-573: work that
/// swallows the interrupt blocks the election.
#[tokio::test]
async fn curator_15_573_run_drops_the_work_on_a_loss_and_campaigns_again() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("run").await;
        let zk = connect(&fixture).await;
        let (tell, mut dropped) = mpsc::unbounded_channel();
        let (started, mut starts) = mpsc::unbounded_channel();
        let running = tokio::spawn({
            let election = election(&zk, layout);
            async move {
                let mut terms = Vec::new();
                let work = |leadership: Arc<Leadership>| {
                    terms.push(leadership.token());
                    started.send(terms.len()).unwrap();
                    let (terms, lost, tell) = (terms.clone(), leadership.lost(), tell.clone());
                    async move {
                        let _dropped = Dropped { lost, tell };
                        if terms.len() < 3 {
                            std::future::pending::<()>().await;
                        }
                        ControlFlow::Break(terms)
                    }
                };
                election.run("a", work).await
            }
        });
        for round in 1..3 {
            assert_eq!(within(PATIENCE, "the work runs", starts.recv()).await, Some(round));
            let session = zk.client().await.unwrap().session().clone();
            fixture.expire(&session).await;
            let reason = within(PATIENCE, "the work is dropped", dropped.recv()).await.unwrap();
            assert_expired(reason.unwrap());
        }
        let terms = within(PATIENCE, "run returns", running).await.unwrap().unwrap();
        assert!(terms.is_sorted() && terms.len() == 3, "{terms:?}");
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn run_hands_over_when_the_work_says_so_and_stands_behind_the_others() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("requeue").await;
        let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
        let together = Arc::new(AtomicUsize::new(0));
        let mut running = Vec::new();
        for (index, who) in ["a", "b", "c"].into_iter().enumerate() {
            let election = election(&connect(&fixture).await, layout);
            let (turns, together) = (Arc::clone(&turns), Arc::clone(&together));
            let raw = fixture.raw().clone();
            running.push(tokio::spawn(async move {
                let mut rounds = 0;
                let work = |leadership: Arc<Leadership>| {
                    rounds += 1;
                    let (turns, together, raw) = (Arc::clone(&turns), Arc::clone(&together), raw.clone());
                    async move {
                        assert_eq!(together.fetch_add(1, Ordering::SeqCst), 0, "two lead");
                        // Until all stand in line, the one before us behind the others again.
                        while rounds < 3 && raw.list_children(LEADER).await.unwrap().len() < 3 {
                            tokio::task::yield_now().await;
                        }
                        turns.lock().unwrap().push(who);
                        assert!(leadership.is_held());
                        together.fetch_sub(1, Ordering::SeqCst);
                        if rounds == 3 {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    }
                };
                election.run(who, work).await
            }));
            if index < 2 {
                fixture.until_children(LEADER, index + 1).await;
            }
        }
        for run in running {
            within(PATIENCE, "run returns", run).await.unwrap().unwrap();
        }
        assert_eq!(*turns.lock().unwrap(), ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_ends_its_work_before_it_resigns() {
    let fixture = Fixture::new("dropped run").await;
    let election = election(&connect(&fixture).await, ElectionLayout::default());
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let (started, mut starts) = mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        election
            .run("a", |leadership| {
                let dropped = Dropped {
                    lost: leadership.lost(),
                    tell: tell.clone(),
                };
                started.send(()).unwrap();
                async move {
                    let _dropped = dropped;
                    std::future::pending::<ControlFlow<()>>().await
                }
            })
            .await
    });
    within(PATIENCE, "the work runs", starts.recv()).await.unwrap();
    running.abort();
    let reason = within(PATIENCE, "the work is dropped", dropped.recv()).await.unwrap();
    assert_eq!(reason, None, "resigned while the work ran");
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn observers_see_the_leader_its_proclamations_and_that_there_is_none() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("observe").await;
        let bystander = connect(&fixture).await;
        let mut observer = election(&bystander, layout).observe().await.unwrap();
        assert_eq!(observer.current(), None, "the path does not even exist");

        let zk = connect(&fixture).await;
        let leadership = lead(&election(&zk, layout), "a").await;
        let seen = within(PATIENCE, "a leads", observer.wait_for(leads("a")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((seen.term, seen.is_leader), (leadership.token(), true));
        leadership.proclaim("a, ready").await.unwrap();
        within(PATIENCE, "a is ready", observer.wait_for(leads("a, ready")))
            .await
            .unwrap();
        leadership.resign().await.unwrap();
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();

        // The directory may be gone by now, and is made again.
        fixture.assert_no_nodes_left(&[LEADER]).await;
        let _ = fixture.raw().delete(LEADER, None).await;
        let again = lead(&election(&zk, layout), "b").await;
        within(PATIENCE, "b leads", observer.wait_for(leads("b")))
            .await
            .unwrap();
        drop(again);
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();
        bystander.close().await;
        assert_eq!(within(PATIENCE, "the end", observer.changed()).await, None);
    }
}

#[tokio::test]
async fn an_observer_catches_up_after_a_cut_and_after_an_expiry() {
    let fixture = Fixture::new("observer catches up").await;
    let layout = ElectionLayout::default();
    let (proxy, servers) = fixture.proxied().await;
    let bystander = connect_to(&servers, LONG).await;
    let mut observer = election(&bystander, layout).observe().await.unwrap();
    let zk = connect(&fixture).await;
    for round in 0..3 {
        let first = lead(&election(&zk, layout), "before").await;
        within(PATIENCE, "seen", observer.wait_for(leads("before")))
            .await
            .unwrap();
        let session = bystander.client().await.unwrap().session().clone();
        proxy.refuse().await;
        first.resign().await.unwrap();
        let next = lead(&election(&zk, layout), "after").await;
        if round == 1 {
            fixture.expire(&session).await;
        }
        proxy.accept().await;
        let seen = within(PATIENCE, "caught up", observer.wait_for(leads("after")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(seen.term, next.token());
        next.resign().await.unwrap();
        within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none))
            .await
            .unwrap();
    }
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

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
async fn a_campaign_a_resignation_and_a_proclamation_keep_to_their_budget() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("election budget").await;
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

#[tokio::test]
async fn a_proclamation_whose_reply_is_lost_is_there_when_it_returns() {
    let fixture = Fixture::new("proclaim, reply lost").await;
    let (proxy, servers) = fixture.proxied().await;
    let election = election(&connect_to(&servers, LONG).await, ElectionLayout::default());
    let leadership = lead(&election, "a").await;
    for fault in [
        proxy.lose_reply(When::request(Op::SetData)),
        proxy.cut_before(When::request(Op::SetData).nth(2)),
    ] {
        within(PATIENCE, "proclaimed", leadership.proclaim("b")).await.unwrap();
        fault.fired().await;
        assert_eq!(value(&election.leader().await.unwrap().unwrap()), "b");
    }
    assert!(leadership.is_held());
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_leader_that_is_lost_proclaims_nothing() {
    let fixture = Fixture::new("proclaim after loss").await;
    let zk = connect(&fixture).await;
    let leadership = lead(&election(&zk, ElectionLayout::default()), "a").await;
    fixture.raw().delete(leadership.path(), None).await.unwrap();
    let lost = leadership.proclaim("b").await.unwrap_err();
    assert!(
        matches!(&lost, ProclaimError::Lost(lost) if lost.reason == LossReason::NodeRemoved),
        "{lost}"
    );
    assert!(!leadership.is_held());
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn bad_input_is_an_error_that_names_the_path() {
    let fixture = Fixture::new("election bad input").await;
    let zk = connect(&fixture).await;
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

/// CURATOR-171, CURATOR-49: an operator deletes the leader's node and both latches report that they lead.
#[tokio::test]
async fn curator_171_a_leader_whose_node_an_operator_deletes_steps_down() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("operator").await;
        let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
async fn curator_620_696_a_node_of_the_old_session_is_never_taken_as_own() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("old session").await;
        let (one, two) = (connect(&fixture).await, connect(&fixture).await);
        let first = lead(&election(&one, layout), "a").await;
        let candidate = stand(&election(&two, layout), "b");
        fixture.until_children(LEADER, 2).await;
        let old = two.client().await.unwrap().session().clone();
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
async fn curator_653_724_candidates_stand_again_where_everything_was_deleted() {
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
async fn curator_644_3_an_outage_shorter_than_the_session_creates_no_node() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("outage").await;
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, LONG).await;
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
async fn curator_54_a_candidate_that_cannot_be_heard_is_not_made_leader() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("deaf candidate").await;
        let (one, three) = (connect(&fixture).await, connect(&fixture).await);
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
async fn curator_358_asking_for_the_leader_while_participants_vanish_is_no_error() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("vanishing participants").await;
        let zk = connect(&fixture).await;
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

/// Curator's listeners run inside the latch's monitor on the event thread: a slow one stalls all.
#[tokio::test]
async fn curator_listeners_an_observer_that_is_never_read_stalls_nobody() {
    let fixture = Fixture::new("slow observer").await;
    let zk = connect(&fixture).await;
    let election = election(&zk, ElectionLayout::default());
    let mut slow = election.observe().await.unwrap();
    let mut quick = election.observe().await.unwrap();
    for round in 0..20 {
        let who = round.to_string();
        let leadership = lead(&election, &who).await;
        within(PATIENCE, "seen", quick.wait_for(leads(&who))).await.unwrap();
        leadership.resign().await.unwrap();
    }
    within(PATIENCE, "seen", quick.wait_for(Option::is_none)).await.unwrap();
    within(PATIENCE, "the latest is seen", slow.wait_for(Option::is_none))
        .await
        .unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn children_that_are_no_candidates_neither_lead_nor_block() {
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
    observer.current();
    two.close().await;
    assert_eq!(
        within(PATIENCE, "ended", candidate).await.unwrap().unwrap_err(),
        Error::Closed
    );
    assert_eq!(within(PATIENCE, "ended", observer.changed()).await, None);
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
