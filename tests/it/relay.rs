//! The relay: one turn after the other, each with the result of the one before; and what its successor is told of one that
//! was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, CompleteError, Coordinator, Error, FencingToken, LossReason, Lost, Relay, ReleaseError,
    TryAcquireError, Turn,
};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::budget::Counted;
use crate::cancellation::poll_times;
use crate::sessions::{assert_expired, expire, session_of};
use crate::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to, create, session_id};

const PATH: &str = "/settlement/chain";
const LINE: &str = "/settlement/chain/line";
const TURN: &str = "/settlement/chain/turn";
const RESULT: &str = "/settlement/chain/result";

fn relay(zk: &Coordinator) -> Relay {
    Relay::new(zk, PATH).unwrap()
}

async fn join(relay: &Relay) -> Turn {
    let joined = within(PATIENCE, "a turn", relay.join()).await;
    joined.unwrap_or_else(|err| panic!("no turn: {err}"))
}

async fn complete(turn: Turn, result: &str) {
    let completed = within(PATIENCE, "completed", turn.complete(result.to_owned())).await;
    completed.unwrap_or_else(|err| panic!("{result} not completed: {err}"));
}

type Joining = JoinHandle<Result<Turn, Error>>;

/// Begins to join in a task, and returns when it stands in line as number `place`.
async fn join_line(fixture: &Fixture, relay: &Relay, place: usize) -> Joining {
    let relay = relay.clone();
    let joining = tokio::spawn(async move { relay.join().await });
    fixture.until_children(LINE, place).await;
    joining
}

async fn granted(joining: Joining) -> Turn {
    within(PATIENCE, "a turn", joining).await.unwrap().unwrap()
}

/// What a turn is told: the result, whether its predecessor was lost, and its number.
fn told(turn: &Turn) -> (Option<&[u8]>, bool, u64) {
    (turn.previous().map(AsRef::as_ref), turn.predecessor_lost(), turn.step())
}

async fn finish(fixture: &Fixture, relay: &Relay) {
    fixture.assert_no_nodes_left(&[LINE]).await;
    relay.remove().await.unwrap();
    fixture.assert_no_nodes_left(&["/settlement"]).await;
}

#[tokio::test]
async fn each_turn_is_given_the_result_of_the_one_before() {
    let fixture = Fixture::new("chain").await;
    let relays = [relay(&connect(&fixture).await), relay(&connect(&fixture).await)];
    assert_eq!(relays[0].path(), PATH);
    assert_eq!(relays[0].latest().await.unwrap(), None);
    let mut before: Option<String> = None;
    let mut token = FencingToken::from_i64(0);
    for step in 0..40 {
        let turn = join(&relays[step % 2]).await;
        assert_eq!(told(&turn), (before.as_ref().map(String::as_bytes), false, step as u64));
        assert!(turn.is_held() && turn.token() > token);
        token = turn.token();
        let result = format!("result {step}");
        complete(turn, &result).await;
        assert_eq!(relays[1].latest().await.unwrap().unwrap(), result);
        before = Some(result);
    }
    finish(&fixture, &relays[0]).await;
}

#[tokio::test]
async fn an_empty_result_is_a_result_and_any_bytes_are() {
    let fixture = Fixture::new("bytes").await;
    let relay = relay(&connect(&fixture).await);
    let results: [Vec<u8>; 3] = [vec![], (0..=255).collect(), vec![]];
    let mut before: Option<&Vec<u8>> = None;
    for result in &results {
        let turn = join(&relay).await;
        assert_eq!(turn.previous().map(AsRef::as_ref), before.map(Vec::as_slice));
        turn.complete(result.clone()).await.unwrap();
        before = Some(result);
    }
    assert_eq!(fixture.raw().get_data(RESULT).await.unwrap().0, b"");
    assert_eq!(relay.latest().await.unwrap(), Some(Bytes::new()));
    finish(&fixture, &relay).await;
}

#[tokio::test]
async fn turns_are_granted_one_at_a_time_in_the_order_of_joining() {
    let fixture = Fixture::new("line").await;
    let relays = [relay(&connect(&fixture).await), relay(&connect(&fixture).await)];
    let mut turn = join(&relays[0]).await;
    let mut joining = Vec::new();
    for place in 2..6 {
        joining.push(join_line(&fixture, &relays[place % 2], place).await);
    }
    assert_eq!(relays[1].try_join().await.unwrap_err(), TryAcquireError::Contended);
    let after = Duration::from_millis(100);
    let elapsed = relays[1].join_timeout(after).await.unwrap_err();
    assert_eq!(elapsed, AcquireTimeoutError::Elapsed { after });
    let contenders = relays[0].contenders().await.unwrap();
    assert_eq!(contenders.len(), 5, "who gave up has left the line");
    for (number, next) in joining.into_iter().enumerate() {
        assert!(!next.is_finished());
        assert_eq!(turn.token(), contenders[number].token);
        complete(turn, &number.to_string()).await;
        turn = granted(next).await;
        assert_eq!(
            told(&turn),
            (Some(number.to_string().as_bytes()), false, number as u64 + 1)
        );
    }
    complete(turn, "last").await;
    let turn = relays[1].try_join().await.unwrap();
    assert_eq!(told(&turn), (Some(&b"last"[..]), false, 5));
    complete(turn, "tried").await;
    let turn = relays[1].join_timeout(LONG).await.unwrap();
    assert_eq!(told(&turn), (Some(&b"tried"[..]), false, 6));
    turn.complete("").await.unwrap();
    finish(&fixture, &relays[0]).await;
}

/// In every way in which a turn can end without a result.
#[tokio::test]
async fn the_successor_of_a_turn_without_a_result_gets_the_last_one_and_is_told() {
    let fixture = Fixture::new("lost").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (ours, others) = (relay(&zk), relay(&other));
    let mut before: Option<String> = None;
    for (step, way) in ["dropped", "released", "removed", "expired"].into_iter().enumerate() {
        let turn = join(&ours).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), false, step as u64),
            "{way}"
        );
        let next = join_line(&fixture, &others, 2).await;
        match way {
            "dropped" => drop(turn),
            "released" => turn.release().await.unwrap(),
            "removed" => {
                fixture.raw().delete(turn.path(), None).await.unwrap();
                let lost = within(PATIENCE, "told", turn.lost()).await;
                assert_eq!(lost, LossReason::NodeRemoved);
                let reason = LossReason::NodeRemoved;
                assert_eq!(turn.complete("late").await, Err(CompleteError::Lost(Lost { reason })));
            }
            _ => {
                expire(&fixture, &zk).await;
                assert_expired(within(PATIENCE, "told", turn.lost()).await);
                assert!(matches!(turn.complete("late").await, Err(CompleteError::Lost(_))));
            }
        }
        let turn = granted(next).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), true, step as u64),
            "{way}"
        );
        // Of two that are lost in a row, the second was told of the first, and so is the third of the second.
        drop(turn);
        let turn = join(&others).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), true, step as u64),
            "{way}"
        );
        complete(turn, way).await;
        before = Some(way.to_owned());
    }
    let turn = join(&ours).await;
    assert_eq!(told(&turn), (Some(&b"expired"[..]), false, 4));
    complete(turn, "end").await;
    finish(&fixture, &ours).await;
}

/// Who left the line before it was its turn is nobody's predecessor.
#[tokio::test]
async fn who_leaves_while_waiting_is_not_a_lost_predecessor() {
    let fixture = Fixture::new("left").await;
    let (one, two, three) = (
        relay(&connect(&fixture).await),
        relay(&connect(&fixture).await),
        relay(&connect(&fixture).await),
    );
    let turn = join(&one).await;
    let leaves = join_line(&fixture, &two, 2).await;
    let next = join_line(&fixture, &three, 3).await;
    leaves.abort();
    fixture.until_children(LINE, 2).await;
    complete(turn, "a").await;
    let turn = granted(next).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
    complete(turn, "b").await;
    finish(&fixture, &one).await;
}

/// A holder that is cut off, does not know it and completes later: nothing of it is stored.
#[tokio::test]
async fn a_result_that_comes_after_the_loss_is_not_stored() {
    let fixture = Fixture::new("late").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    complete(join(&others).await, "a").await;
    let turn = join(&ours).await;
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceBefore);
    let completing = tokio::spawn(turn.complete("late"));
    fault.fired().await;
    fixture.expire(&session).await;
    let next = join(&others).await;
    assert_eq!(told(&next), (Some(&b"a"[..]), true, 1));
    complete(next, "b").await;
    proxy.cut();
    proxy.heal();
    let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
    assert!(matches!(outcome, Err(CompleteError::Lost(_))), "{outcome:?}");
    assert_eq!(others.latest().await.unwrap().unwrap(), "b");
    finish(&fixture, &others).await;
}

/// A result whose reply is lost with the session is found again in the next one, whoever came after it.
#[tokio::test]
async fn a_result_whose_reply_is_lost_with_the_session_is_found_again() {
    let fixture = Fixture::new("found again").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    for (followers, expected) in [(0, Ok(())), (3, Ok(())), (16, Err(CompleteError::Indeterminate))] {
        let turn = join(&ours).await;
        let step = turn.step();
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
        let completing = tokio::spawn(turn.complete("ours"));
        fault.fired().await;
        for follower in 0..followers {
            let turn = join(&others).await;
            assert!(!turn.predecessor_lost());
            assert_eq!(turn.step(), step + 1 + follower);
            complete(turn, "theirs").await;
        }
        fixture.expire(&session).await;
        proxy.cut();
        proxy.heal();
        let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
        assert_eq!(outcome, expected, "{followers} followers");
    }
    finish(&fixture, &others).await;
}

/// The relay was removed after the result was stored and before its participant knew: nobody can tell any more.
#[tokio::test]
async fn a_result_of_a_relay_that_was_removed_since_is_in_doubt() {
    let fixture = Fixture::new("removed since").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    let turn = join(&ours).await;
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
    let completing = tokio::spawn(turn.complete("ours"));
    fault.fired().await;
    others.remove().await.unwrap();
    let turn = join(&others).await;
    assert_eq!(told(&turn), (None, false, 0));
    fixture.expire(&session).await;
    proxy.cut();
    proxy.heal();
    let outcome = within(PATIENCE, "an outcome", completing).await.unwrap();
    assert_eq!(outcome, Err(CompleteError::Indeterminate));
    complete(turn, "theirs").await;
    finish(&fixture, &others).await;
}

/// One that has begun anew while it was removed stays whole: at no moment is there a record without its result.
#[tokio::test]
async fn a_relay_is_removed_as_a_whole_whatever_is_left_of_it() {
    let fixture = Fixture::new("whole").await;
    let (ours, others) = (relay(&connect(&fixture).await), relay(&connect(&fixture).await));
    for gone in [&[][..], &[TURN], &[RESULT], &[TURN, RESULT]] {
        complete(join(&ours).await, "a").await;
        for path in gone {
            fixture.raw().delete(path, None).await.unwrap();
        }
        others.remove().await.unwrap();
        for path in [TURN, RESULT] {
            assert!(fixture.raw().check_stat(path).await.unwrap().is_none(), "{gone:?}");
        }
        others.remove().await.unwrap();
    }
    for step in 0..20 {
        // At any moment of the other one's turn.
        let (turn, removed) = tokio::join!(join(&ours), others.remove());
        removed.unwrap();
        match within(PATIENCE, "an outcome", turn.complete("a")).await {
            Ok(()) => {}
            Err(error) => assert!(
                matches!(error, CompleteError::Error(Error::Layout { .. })),
                "{step}: {error}"
            ),
        }
        let turn = join(&ours).await;
        assert_eq!(turn.previous().is_some(), turn.step() > 0);
        drop(turn);
    }
    finish(&fixture, &ours).await;
}

#[tokio::test]
async fn a_turn_whose_replies_are_lost_is_begun_and_completed_once() {
    let fixture = Fixture::new("lost replies").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, others) = (
        relay(&connect_to(&servers, LONG).await),
        relay(&connect(&fixture).await),
    );
    complete(join(&others).await, "a").await;
    for (step, injection) in (1..).step_by(2).zip([Injection::LoseReply, Injection::CutBefore]) {
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), injection);
        let turn = join(&ours).await;
        fault.fired().await;
        assert_eq!(told(&turn), (Some(&b"a"[..]), false, step), "{injection:?}");
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), injection);
        complete(turn, "b").await;
        fault.fired().await;
        let turn = join(&others).await;
        assert_eq!(told(&turn), (Some(&b"b"[..]), false, step + 1), "{injection:?}");
        complete(turn, "a").await;
    }
    finish(&fixture, &others).await;
}

/// The session ends when the turn has begun and its participant does not know yet: it joins again, and is not its own
/// lost predecessor. Somebody who really was lost before it is still told of.
#[tokio::test]
async fn a_turn_that_began_and_was_never_returned_is_not_a_lost_predecessor_of_its_own_call() {
    let fixture = Fixture::new("unreturned").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    complete(join(&others).await, "a").await;
    for lost in [false, true] {
        if lost {
            join(&others).await.release().await.unwrap();
        }
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi).path(TURN), Injection::SilenceReply);
        let joining = tokio::spawn({
            let ours = ours.clone();
            async move { ours.join().await }
        });
        fault.fired().await;
        fixture.expire(&session).await;
        proxy.cut();
        proxy.heal();
        let turn = granted(joining).await;
        assert_eq!(turn.predecessor_lost(), lost);
        complete(turn, "b").await;
    }
    finish(&fixture, &others).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("relay", |fixture, zk, path| async move {
        let relay = Relay::new(&zk, &format!("{path}/r")).unwrap();
        let other = Relay::new(&connect(&fixture).await, relay.path()).unwrap();
        let turn = relay.join().await.unwrap();
        assert_eq!(told(&turn), (None, false, 0));
        turn.complete("a").await.unwrap();
        let turn = other.join().await.unwrap();
        assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
        let waiting = tokio::spawn({
            let relay = relay.clone();
            async move { relay.join().await.unwrap() }
        });
        fixture.until_children(&format!("{path}/r/line"), 2).await;
        drop(turn);
        let turn = waiting.await.unwrap();
        assert_eq!(told(&turn), (Some(&b"a"[..]), true, 1));
        turn.complete("b").await.unwrap();
        assert_eq!(relay.latest().await.unwrap().unwrap(), "b");
        let turn = other.join().await.unwrap();
        assert_eq!(told(&turn), (Some(&b"b"[..]), false, 2));
        turn.complete("c").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_waiting_participant_goes_on_in_the_next_session() {
    let fixture = Fixture::new("expired").await;
    let zk = connect(&fixture).await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    let turn = join(&others).await;
    let waiting = join_line(&fixture, &ours, 2).await;
    let before = expire(&fixture, &zk).await;
    eventually(PATIENCE, "in line again", || async {
        let owners: Vec<_> = fixture.ephemerals().await.into_values().collect();
        owners.len() == 2 && !owners.contains(&before)
    })
    .await;
    complete(turn, "a").await;
    let turn = granted(waiting).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
    complete(turn, "b").await;
    finish(&fixture, &ours).await;
}

/// The directory of the line is a container, which the server removes while nobody is there; the results stay.
#[tokio::test]
async fn the_chain_goes_on_when_the_directory_of_its_line_was_reaped() {
    let fixture = Fixture::new("reaped").await;
    let relay = relay(&connect(&fixture).await);
    for (step, before) in [None, Some("a"), Some("a")].into_iter().enumerate() {
        let turn = join(&relay).await;
        assert_eq!(told(&turn), (before.map(str::as_bytes), false, step as u64));
        complete(turn, "a").await;
        eventually(PATIENCE, "the line is reaped", || async {
            fixture.children(PATH).await == ["result", "turn"]
        })
        .await;
    }
    finish(&fixture, &relay).await;
}

/// Dropped after any number of polls, a join leaves no node; the next one is told of a lost predecessor at most.
#[tokio::test]
async fn a_join_or_a_completion_that_is_dropped_anywhere_leaves_nothing_and_blocks_nobody() {
    let fixture = Fixture::new("dropped").await;
    let (ours, others) = (relay(&connect(&fixture).await), relay(&connect(&fixture).await));
    let mut steps = 0;
    for polls in 1..30 {
        let mut joining = Box::pin(ours.join());
        let polled = tokio::time::timeout(PATIENCE, poll_times(joining.as_mut(), polls)).await;
        let joined = polled.ok().flatten();
        drop(joining);
        if let Some(turn) = joined {
            let mut completing = Box::pin(turn.unwrap().complete("ours"));
            let polled = poll_times(completing.as_mut(), polls % 5 + 1).await;
            drop(completing);
            assert!(matches!(polled, None | Some(Ok(()))), "{polled:?}");
        }
        fixture.until_children(LINE, 0).await;
        let turn = join(&others).await;
        assert!(turn.step() == steps || (turn.step() == steps + 1 && !turn.predecessor_lost()));
        steps = turn.step() + 1;
        complete(turn, "theirs").await;
        let turn = join(&others).await;
        assert_eq!(told(&turn), (Some(&b"theirs"[..]), false, steps), "{polls} polls");
        steps += 1;
        complete(turn, "theirs").await;
    }
    finish(&fixture, &ours).await;
}

/// A chain of increments, while links are cut, sessions expire and holders drop their turns: no increment is lost, none is
/// done twice, and none is done on anything but the result of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_chain_under_faults_neither_forks_nor_forgets() {
    const STEPS: u64 = 120;
    let fixture = Arc::new(Fixture::new("faults").await);
    let done = Arc::new(AtomicBool::new(false));
    let (mut tasks, mut links, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..4 {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, LONG).await;
        links.push(proxy);
        sessions.push(zk.clone());
        let (relay, done) = (relay(&zk), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let (mut completed, mut in_doubt) = (Vec::new(), Vec::new());
            while !done.load(Ordering::SeqCst) {
                let turn = relay.join().await.unwrap();
                let count = turn.previous().map_or(0, count);
                assert_eq!(count, turn.step(), "the result is that of the step before");
                let step = turn.step();
                if step >= STEPS {
                    done.store(true, Ordering::SeqCst);
                }
                if (step + number) % 7 == 0 {
                    drop(turn);
                    continue;
                }
                match turn.complete((count + 1).to_string()).await {
                    Ok(()) => completed.push(step),
                    Err(CompleteError::Lost(_)) => {}
                    Err(CompleteError::Indeterminate) => in_doubt.push(step),
                    Err(err) => panic!("{err}"),
                }
            }
            (completed, in_doubt)
        }));
    }
    let links = Arc::new(links);
    let trouble = tokio::spawn({
        let (links, fixture, sessions) = (Arc::clone(&links), Arc::clone(&fixture), sessions.clone());
        async move {
            for round in 0_usize.. {
                let injection = [Injection::LoseReply, Injection::CutBefore][round % 2];
                let fault = links[round % 4].inject(When::request(Op::Multi), injection);
                tokio::time::sleep(Duration::from_millis(50)).await;
                fault.disarm();
                if round % 5 == 4 {
                    expire(&fixture, &sessions[round / 5 % 4]).await;
                }
            }
        }
    });
    let (mut completed, mut in_doubt) = (Vec::new(), Vec::new());
    for task in tasks {
        let (theirs, doubtful) = within(PATIENCE * 4, "the chain is done", task).await.unwrap();
        completed.extend(theirs);
        in_doubt.extend(doubtful);
    }
    trouble.abort();
    let relay = relay(&connect(&fixture).await);
    let latest = count(&relay.latest().await.unwrap().unwrap());
    completed.sort_unstable();
    let twice = completed.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None, "completed twice");
    let missing: Vec<_> = (0..latest)
        .filter(|step| completed.binary_search(step).is_err())
        .collect();
    assert!(
        missing.iter().all(|step| in_doubt.contains(step)),
        "{missing:?} of {latest}"
    );
    assert!(completed.last().is_some_and(|last| *last < latest));
    drop(sessions);
    finish(&fixture, &relay).await;
    drop(links);
}

fn count(result: &Bytes) -> u64 {
    std::str::from_utf8(result).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_no_relay_and_what_is_too_large_are_errors_that_name_the_path() {
    let fixture = Fixture::new("bad").await;
    let zk = connect(&fixture).await;
    for path in ["", "a", "/", "/a/", "/a//b", "/🔒"] {
        let refused = Relay::new(&zk, path).unwrap_err();
        assert!(matches!(refused, Error::InvalidPath { .. }), "{path:?}: {refused}");
    }
    let relay = relay(&zk);
    complete(join(&relay).await, "a").await;

    let turn = join(&relay).await;
    let session = session_id(&zk).await;
    let refused = turn.complete(vec![0; 2_000_000]).await;
    assert!(
        matches!(&refused, Err(CompleteError::Error(Error::TooLarge { path, .. })) if path == RESULT),
        "{refused:?}"
    );
    assert_eq!(session_id(&zk).await, session, "no connection was cut for it");
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), true, 1));
    turn.complete(vec![7; 1_000_000]).await.unwrap();

    // Somebody else writes into it: no turn that is on is completed, and none begins.
    let turn = join(&relay).await;
    fixture.raw().set_data(TURN, b"127.0.0.1", None).await.unwrap();
    let refused = turn.complete("b").await;
    assert!(
        matches!(&refused, Err(CompleteError::Error(Error::Layout { path, .. })) if path == TURN),
        "{refused:?}"
    );
    fixture.until_children(LINE, 0).await;
    for refused in [relay.join().await.err(), relay.latest().await.err()] {
        assert!(
            matches!(&refused, Some(Error::Layout { path, .. }) if path == TURN),
            "{refused:?}"
        );
    }
    fixture.until_children(LINE, 0).await;

    // Removed, it begins anew; a turn that was on is not completed.
    relay.remove().await.unwrap();
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (None, false, 0));
    relay.remove().await.unwrap();
    let refused = turn.complete("c").await;
    assert!(
        matches!(refused, Err(CompleteError::Error(Error::Layout { .. }))),
        "{refused:?}"
    );
    fixture.until_children(LINE, 0).await;
    create(&fixture, RESULT, zk::CreateMode::Persistent).await;
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (None, false, 0), "without a record, a result is nobody's");
    let again = turn.release().await;
    assert_eq!(again, Ok::<(), ReleaseError>(()));
    finish(&fixture, &relay).await;
}

#[tokio::test]
async fn a_turn_is_six_requests_to_begin_and_one_to_complete_and_waiting_costs_nothing() {
    let fixture = Fixture::new("budget").await;
    let (counted, other) = (Counted::connect(&fixture).await, relay(&connect(&fixture).await));
    let ours = relay(&counted.zk);
    // Kept, so that the line is not reaped.
    let keep = format!("{LINE}/keep");
    complete(join(&other).await, "a").await;
    create(&fixture, &keep, zk::CreateMode::Persistent).await;
    for _ in 0..3 {
        let turn = join(&ours).await;
        // Create, list; two reads; the transaction; the watch on the own node.
        let counts = counted.requests(6).await;
        assert_eq!(
            (
                counts.creates(),
                counts.lists(),
                counts.of(Op::GetData),
                counts.of(Op::Multi),
                counts.of(Op::Exists)
            ),
            (1, 1, 2, 1, 1),
            "{counts}"
        );
        assert_eq!(counts.total(), 6, "{counts}");
        complete(turn, "b").await;
        let counts = counted.requests(1).await;
        assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    }
    let turn = join(&other).await;
    let waiting = join_line(&fixture, &ours, 3).await;
    let counts = counted.requests(4).await;
    assert_eq!(counts.total(), 4, "{counts}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(counted.requests(0).await.total(), 0);
    complete(turn, "c").await;
    let turn = granted(waiting).await;
    // A list; two reads; the transaction.
    let counts = counted.requests(4).await;
    assert_eq!(counts.without_heartbeats().total(), 4, "{counts}");
    complete(turn, "d").await;
    fixture.raw().delete(&keep, None).await.unwrap();
    finish(&fixture, &ours).await;
}
