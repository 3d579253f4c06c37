//! `LeaderElection` with Curator's `LeaderLatch`, with its `LeaderSelector`, and with kazoo's `Election`.

use std::time::Duration;

use zookeeper_recipes::{Coordinator, ElectionLayout, FairLock, Layout, LeaderElection, Leadership, Participant};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::line::{Contender, is_served_in_order, still_waits, survives_the_end_of_sessions};
use crate::peer::{Actor, Peer};
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, expire, until_watched};

const PATH: &str = "/leader";

fn election(zk: &Coordinator, layout: ElectionLayout) -> LeaderElection {
    LeaderElection::builder(zk, PATH)
        .layout(layout)
        .build()
        .expect("a valid path")
}

fn ours(zk: &Coordinator, layout: ElectionLayout) -> Contender {
    let election = election(zk, layout);
    Contender::ours(zk, async move { election.campaign("ours").await })
}

fn theirs(actor: &Actor) -> Contender {
    Contender::theirs(actor, "campaign", "resign")
}

async fn candidate(peer: &Peer, fixture: &Fixture, recipe: &str, options: &[&str]) -> Actor {
    peer.actor_with(&fixture.connect_string(), SHORT, recipe, PATH, options)
        .await
}

#[tokio::test]
async fn curators_latches_and_we_lead_in_order_of_arrival() {
    let fixture = Fixture::new("curators_latches_and_we_lead_in_order").await;
    let curator = Peer::curator();
    let mut line = Vec::new();
    for is_ours in [false, true, false, true, true, false] {
        line.push(if is_ours {
            ours(&connect(&fixture).await, ElectionLayout::LeaderLatch)
        } else {
            theirs(&candidate(&curator, &fixture, "latch", &["java"]).await)
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

#[tokio::test]
async fn curators_selectors_and_we_lead_in_order_of_arrival() {
    let fixture = Fixture::new("curators_selectors_and_we_lead_in_order").await;
    let curator = Peer::curator();
    let mut line = Vec::new();
    for is_ours in [true, false, true, false, false, true] {
        line.push(if is_ours {
            ours(&connect(&fixture).await, ElectionLayout::LeaderSelector)
        } else {
            theirs(&candidate(&curator, &fixture, "selector", &["java"]).await)
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

/// kazoo's election is a lock of kazoo's. It sees our names once its lock is replaced by one that is told to; as it is, a
/// `FairLock` with kazoo's names stands in line with it.
#[tokio::test]
async fn kazoos_elections_and_we_lead_in_order_of_arrival() {
    let fixture = Fixture::new("kazoos_elections_and_we_lead_in_order").await;
    let kazoo = Peer::kazoo();
    let mut line = Vec::new();
    for is_ours in [false, true, false, false, true] {
        line.push(if is_ours {
            ours(&connect(&fixture).await, ElectionLayout::LeaderSelector)
        } else {
            theirs(&candidate(&kazoo, &fixture, "election", &["python", "lock-"]).await)
        });
    }
    is_served_in_order(&fixture, PATH, line).await;

    let mut line = Vec::new();
    for is_ours in [true, false, true, false] {
        line.push(if is_ours {
            let zk = connect(&fixture).await;
            let lock = FairLock::builder(&zk, PATH)
                .layout(Layout::Kazoo)
                .build()
                .expect("a path");
            Contender::ours(&zk, async move { lock.acquire().await })
        } else {
            theirs(&candidate(&kazoo, &fixture, "election", &["python"]).await)
        });
    }
    is_served_in_order(&fixture, PATH, line).await;
}

#[tokio::test]
async fn stock_kazoo_elections_do_not_see_our_candidates() {
    let fixture = Fixture::new("stock_kazoo_elections_do_not_see_ours").await;
    let zk = connect(&fixture).await;
    let python = candidate(&Peer::kazoo(), &fixture, "election", &["python"]).await;
    for layout in [ElectionLayout::LeaderLatch, ElectionLayout::LeaderSelector] {
        let leadership = election(&zk, layout).campaign("ours").await.expect("nobody is there");
        assert_eq!(python.ask("campaign 5000").await, "leads", "two leaders");
        leadership.resign().await.expect("held until now");
        python.ask("resign").await;
        fixture.until_children(PATH, 0).await;
    }
}

/// Curator's two elections have different names, and do not see each other either.
#[tokio::test]
async fn a_latch_does_not_see_a_selector() {
    let fixture = Fixture::new("a_latch_does_not_see_a_selector").await;
    let zk = connect(&fixture).await;
    let selector = candidate(&Peer::curator(), &fixture, "selector", &["java"]).await;
    selector.ask("campaign").await;
    let election = election(&zk, ElectionLayout::LeaderLatch);
    let leadership = within(PATIENCE, "two leaders", election.campaign("ours"))
        .await
        .expect("granted");
    leadership.resign().await.expect("held until now");
    selector.ask("resign").await;
}

#[tokio::test]
async fn the_end_of_a_session_on_either_side_of_the_latches_line_makes_the_next_lead() {
    let fixture = Fixture::new("the_end_of_a_session_of_latches").await;
    let curator = Peer::curator();
    let (zk_1, zk_2) = (connect_mortal(&fixture).await, connect_mortal(&fixture).await);
    let line = [
        theirs(&candidate(&curator, &fixture, "latch", &["java-1"]).await),
        ours(&zk_1, ElectionLayout::LeaderLatch),
        theirs(&candidate(&curator, &fixture, "latch", &["java-2"]).await),
        ours(&zk_2, ElectionLayout::LeaderLatch),
    ];
    survives_the_end_of_sessions(&fixture, PATH, line).await;
}

#[tokio::test]
async fn the_end_of_a_leaders_session_makes_the_next_lead_among_selectors() {
    let fixture = Fixture::new("the_end_of_a_leaders_session_among_selectors").await;
    let zk = connect_mortal(&fixture).await;
    let curator = Peer::curator();
    let (java_1, java_2) = (
        candidate(&curator, &fixture, "selector", &["java-1"]).await,
        candidate(&curator, &fixture, "selector", &["java-2"]).await,
    );
    java_1.ask("campaign").await;
    let campaign = tokio::spawn({
        let election = election(&zk, ElectionLayout::LeaderSelector);
        async move { election.campaign("ours").await }
    });
    fixture.until_children(PATH, 2).await;
    let java_campaign = java_2.tell("campaign");
    fixture.until_children(PATH, 3).await;
    java_1.expire().await;
    let leadership = within(PATIENCE, "ours leads", campaign)
        .await
        .expect("no panic")
        .expect("granted");
    assert!(still_waits(&java_campaign).await);
    expire(&fixture, &zk).await;
    within(PATIENCE, "the loss is signalled", leadership.lost()).await;
    assert_eq!(java_campaign.done().await, "leads");
    java_2.ask("resign").await;
    drop(leadership);
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn each_side_sees_who_leads_and_who_stands() {
    let fixture = Fixture::new("each_side_sees_who_leads").await;
    let zk = connect(&fixture).await;
    let curator = Peer::curator();
    for (recipe, layout) in [
        ("latch", ElectionLayout::LeaderLatch),
        ("selector", ElectionLayout::LeaderSelector),
    ] {
        let election = election(&zk, layout);
        let mut leader = election.observe().await.expect("observed");
        let java = candidate(&curator, &fixture, recipe, &["java"]).await;
        let observer = candidate(&curator, &fixture, recipe, &["observer"]).await;
        let leadership = election.campaign("ours").await.expect("nobody is there");
        let campaign = java.tell("campaign");
        fixture.until_children(PATH, 2).await;
        assert_eq!(observer.ask("leader").await, "ours*");
        assert_eq!(observer.ask("participants").await, "ours* java");
        let names = || async {
            let participants = election.participants().await.expect("listed").into_iter();
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            participants
                .map(|one| (text(&one.value), one.is_leader))
                .collect::<Vec<_>>()
        };
        assert_eq!(names().await, [("ours".to_owned(), true), ("java".to_owned(), false)]);

        if layout == ElectionLayout::LeaderSelector {
            leadership.proclaim("still-ours").await.expect("it leads");
            assert_eq!(observer.ask("leader").await, "still-ours*");
        }
        leadership.resign().await.expect("held until now");
        campaign.done().await;
        let seen = leader.wait_for(|leader| leader.as_ref().is_some_and(|one| &one.value[..] == b"java"));
        within(PATIENCE, "ours sees that Curator leads", seen)
            .await
            .expect("it goes on");
        java.ask("resign").await;
        let seen = leader.wait_for(Option::is_none);
        within(PATIENCE, "ours sees that nobody leads", seen)
            .await
            .expect("it goes on");
        fixture.assert_no_nodes_left(&[PATH]).await;
    }
}

/// A latch of Curator's watches the data of the candidate right ahead, once, and looks again only when that is deleted
/// (`LeaderLatch.checkLeadership`): after any change of the data it sees nothing more. So a leader with a latch behind it
/// does not proclaim, nor is it asked to make way; `LeaderSelector` wakes at any change and looks again.
#[tokio::test]
async fn a_proclamation_makes_the_latch_of_curators_right_behind_miss_its_turn() {
    a_latch_misses_its_turn_after(async |_, leadership| {
        leadership.proclaim("still-ours").await.expect("it leads");
    })
    .await;
}

#[tokio::test]
async fn a_request_to_make_way_makes_the_latch_of_curators_right_behind_miss_its_turn() {
    a_latch_misses_its_turn_after(async |election, leadership| {
        let participants = election.participants().await.expect("listed");
        let asked = election.request_revocation(&participants[0], "a newer version").await;
        assert_eq!(asked, Ok(true));
        within(PATIENCE, "asked", leadership.revocation())
            .await
            .expect("it leads");
    })
    .await;
}

/// Ranks and ready states stand beside the line, so that a candidate of Curator's misses no turn: behind a leader that says
/// it is ready, that makes way to one of higher rank, and behind candidates of ours that step back.
#[tokio::test]
async fn curators_candidates_miss_no_turn_among_ranks_and_ready_states() {
    for (recipe, layout) in [
        ("latch", ElectionLayout::LeaderLatch),
        ("selector", ElectionLayout::LeaderSelector),
    ] {
        let fixture = Fixture::new("ranks_and_ready_states_with_curator").await;
        let curator = Peer::curator();
        let (java_1, java_2) = (
            candidate(&curator, &fixture, recipe, &["java-1"]).await,
            candidate(&curator, &fixture, recipe, &["java-2"]).await,
        );
        let (low, high) = (connect(&fixture).await, connect(&fixture).await);
        let (low, high) = (ranked(&low, layout, 1), ranked(&high, layout, 2));

        // Ours leads with a rank and is ready; Curator is right behind, then another of lower rank, Curator, a higher one.
        let leadership = within(PATIENCE, "leads", low.campaign("low")).await.expect("granted");
        leadership.ready().await.expect("it leads");
        let first = java_1.tell("campaign");
        fixture.until_children(PATH, 2).await;
        let stepping = tokio::spawn({
            let low = low.clone();
            async move { low.campaign("low again").await }
        });
        fixture.until_children(PATH, 3).await;
        let second = java_2.tell("campaign");
        fixture.until_children(PATH, 4).await;
        let preferred = tokio::spawn({
            let high = high.clone();
            async move { high.campaign("high").await }
        });
        within(PATIENCE, "asked to make way", leadership.outranked())
            .await
            .expect("it leads");
        // The one of lower rank goes behind the preferred one, and the order of the others stays.
        let stepped_back = || async {
            let order = names(&high).await;
            order == ["low", "java-1", "java-2", "high", "low again"]
        };
        eventually(PATIENCE, "the lower one steps back", stepped_back).await;
        leadership.resign().await.expect("held until now");

        // Nobody misses a turn: Curator's, though it has no rank, then the preferred one, then the lower one.
        assert_eq!(within(PATIENCE, "java-1 leads", first.done()).await, "leads");
        assert!(
            !high.leader().await.expect("asked").expect("one leads").is_ready,
            "Curator is never ready"
        );
        java_1.ask("resign").await;
        assert_eq!(within(PATIENCE, "java-2 leads", second.done()).await, "leads");
        java_2.ask("resign").await;
        let preferred = within(PATIENCE, "the preferred one leads", preferred)
            .await
            .expect("no panic");
        let preferred = preferred.expect("granted");
        preferred.ready().await.expect("it leads");
        let again = java_1.tell("campaign");
        fixture.until_children(PATH, 3).await;
        preferred.resign().await.expect("held until now");
        let stepped = within(PATIENCE, "the lower one leads", stepping)
            .await
            .expect("no panic");
        stepped.expect("granted").resign().await.expect("held until now");
        assert_eq!(within(PATIENCE, "java-1 leads again", again.done()).await, "leads");
        java_1.ask("resign").await;
        fixture.assert_no_nodes_left(&[PATH, "/leader-__election__"]).await;
    }
}

fn ranked(zk: &Coordinator, layout: ElectionLayout, rank: u32) -> LeaderElection {
    let builder = LeaderElection::builder(zk, PATH).layout(layout).rank(rank);
    builder.hold_down(Duration::ZERO).build().expect("a valid path")
}

async fn names(election: &LeaderElection) -> Vec<String> {
    let participants = election.participants().await.expect("listed").into_iter();
    let name = |one: Participant| String::from_utf8_lossy(&one.value).into_owned();
    participants.map(name).collect()
}

async fn a_latch_misses_its_turn_after(change: impl AsyncFnOnce(&LeaderElection, &Leadership)) {
    let fixture = Fixture::new("the_latch_right_behind_misses_its_turn").await;
    let zk = connect(&fixture).await;
    let election = election(&zk, ElectionLayout::LeaderLatch);
    let java = candidate(&Peer::curator(), &fixture, "latch", &["java"]).await;
    let leadership = election.campaign("ours").await.expect("nobody is there");
    let campaign = java.tell("campaign");
    fixture.until_children(PATH, 2).await;
    let participants = election.participants().await.expect("listed");
    // By us, whose node it is, and by the latch behind it.
    until_watched(&fixture, &participants[0].path, 2).await;
    change(&election, &leadership).await;
    leadership.resign().await.expect("held until now");
    assert!(
        still_waits(&campaign).await,
        "if it leads now, Curator has mended this: say so in docs/interop.md"
    );
    assert_eq!(fixture.children(PATH).await.len(), 1, "nobody else is there");
    drop((campaign, java));
    fixture.assert_no_nodes_left_within(PATIENCE, &[PATH]).await;
}
