use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::super::place::{PlaceInfo, PlaceKind};
use super::*;
use crate::line::{ContenderLayout, Mode};
use crate::znode::FencingToken;

/// A contender of a session, with the token `token`.
fn contender(path: &str, session: i64, token: i64, position: usize, is_holder: bool) -> Contender {
    Contender {
        path: format!("{path}/{token}"),
        identity: format!("p{session}").into(),
        reason: None,
        token: FencingToken::from(token),
        position,
        is_holder,
        mode: Mode::Exclusive,
        layout: ContenderLayout::Ours,
        asked: None,
        session_id: session,
        since: UNIX_EPOCH + Duration::from_millis(token.cast_unsigned()),
        own_data: bytes::Bytes::new(),
    }
}

/// A lock with these (session, token), the first of whom holds it.
fn lock(path: &str, line: &[(i64, i64)]) -> PlaceInfo {
    let contenders = line.iter().enumerate();
    let contenders =
        contenders.map(|(position, (session, token))| contender(path, *session, *token, position, position == 0));
    let mut place = super::super::walk::empty_place(path, PlaceKind::Lock);
    place.contenders = contenders.collect();
    place
}

/// A semaphore: these hold permits, those wait.
fn semaphore(path: &str, holders: &[(i64, i64)], waiters: &[(i64, i64)]) -> PlaceInfo {
    let mut place = lock(path, &[]);
    place.kind = PlaceKind::Semaphore;
    let holders = holders.iter().map(|(session, token)| (session, token, true, "leases"));
    let waiters = waiters.iter().map(|(session, token)| (session, token, false, "locks"));
    let all = holders.chain(waiters).enumerate();
    let all = all.map(|(position, (session, token, holds, dir))| {
        contender(&format!("{path}/{dir}"), *session, *token, position, holds)
    });
    place.contenders = all.collect();
    place
}

fn cycles(places: &[PlaceInfo]) -> Vec<(Confidence, Vec<i64>)> {
    let cycles = WaitGraph::of(places).cycles().into_iter();
    cycles
        .map(|cycle| {
            let mut sessions: Vec<_> = cycle.members.iter().map(|member| member.waits.session_id).collect();
            // Each waits for what the next one holds.
            for (member, next) in cycle.members.iter().zip(cycle.members.iter().cycle().skip(1)) {
                assert_eq!(member.waits_at, next.holds_at);
                assert_eq!(member.waits.session_id, member.holds.session_id);
            }
            let first = sessions
                .iter()
                .enumerate()
                .min_by_key(|(_, session)| **session)
                .unwrap()
                .0;
            sessions.rotate_left(first);
            (cycle.confidence, sessions)
        })
        .collect()
}

#[test]
fn three_sessions_over_three_locks_are_a_likely_circle() {
    let places = [
        lock("/a", &[(1, 10), (3, 23)]),
        lock("/b", &[(2, 11), (1, 21)]),
        lock("/c", &[(3, 12), (2, 22)]),
    ];
    assert_eq!(cycles(&places), [(Confidence::Likely, vec![1, 2, 3])]);
    let cycle = WaitGraph::of(&places).cycles().remove(0);
    assert_eq!(cycle.youngest().unwrap().holds.path, "/c/12");
    assert_eq!(cycle.since, UNIX_EPOCH + Duration::from_millis(23));
}

#[test]
fn waiting_in_one_direction_is_no_circle() {
    let places = [
        lock("/a", &[(1, 10), (2, 20), (3, 30)]),
        lock("/b", &[(2, 11), (3, 31)]),
    ];
    assert_eq!(cycles(&places), []);
}

#[test]
fn a_circle_through_a_waiter_ahead_is_seen() {
    // 3 waits behind 2, 2 waits for 1, and 1 waits for what 3 holds.
    let places = [
        lock("/a", &[(1, 10), (2, 20), (3, 30)]),
        lock("/b", &[(3, 11), (1, 31)]),
    ];
    let cycles = cycles(&places);
    assert_eq!(cycles.len(), 1);
    assert_eq!(cycles[0].1, [1, 3]);
}

#[test]
fn two_tasks_of_one_process_on_one_lock_are_not_likely() {
    let places = [lock("/a", &[(1, 10), (2, 20), (1, 30)])];
    assert!(
        cycles(&places)
            .iter()
            .all(|(confidence, _)| *confidence < Confidence::Likely)
    );
    let graph = WaitGraph::of(&places);
    assert_eq!(graph.self_waits().count(), 1);
}

#[test]
fn what_was_taken_after_the_wait_began_makes_it_unlikely() {
    let places = [lock("/a", &[(1, 10), (2, 20)]), lock("/b", &[(2, 30), (1, 31)])];
    assert_eq!(cycles(&places), [(Confidence::Unlikely, vec![1, 2])]);
}

#[test]
fn a_permit_of_anybody_ends_the_wait() {
    let waiting = |others: &[(i64, i64)]| [semaphore("/s", others, &[(1, 20)]), lock("/a", &[(1, 10), (2, 21)])];
    assert_eq!(cycles(&waiting(&[(2, 5)])), [(Confidence::Likely, vec![1, 2])]);
    assert_eq!(cycles(&waiting(&[(2, 5), (3, 6)])), [], "3 waits for nothing");
}

#[test]
fn drawings_escape_what_others_wrote() {
    let mut place = lock("/a\"|", &[(1, 10), (2, 20)]);
    for contender in &mut place.contenders {
        contender.identity = "web\"|<b>\n".into();
    }
    let graph = WaitGraph::of(&[place]);
    let (dot, mermaid) = (graph.to_dot(), graph.to_mermaid());
    assert!(dot.contains("/a\\\"|") && !dot.contains("\n\""), "{dot}");
    assert!(
        !mermaid.contains("<b>") && mermaid.lines().all(|line| !line.contains("/a\"|")),
        "{mermaid}"
    );
}

#[test]
fn a_circle_is_drawn_red() {
    let graph = WaitGraph::of(&[
        lock("/a", &[(1, 10), (2, 20), (3, 30)]),
        lock("/b", &[(2, 11), (1, 21)]),
    ]);
    let dot = graph.to_dot();
    assert_eq!(dot.matches("color=red").count(), 2, "{dot}");
    assert_eq!(dot.matches("style=dashed").count(), 1, "{dot}");
    assert!(graph.to_mermaid().contains("linkStyle"));
}

/// Tasks that take locks in one order never wait in a circle.
fn ordered_history(steps: &[(usize, usize)]) -> Vec<PlaceInfo> {
    let mut lines: BTreeMap<usize, Vec<(i64, i64)>> = BTreeMap::new();
    let mut at: BTreeMap<usize, usize> = BTreeMap::new();
    let mut token = 0;
    for (task, lock) in steps {
        let session = i64::try_from(*task).unwrap() + 1;
        let waits = lines
            .values()
            .any(|line| line.iter().skip(1).any(|(other, _)| *other == session));
        if waits || at.get(task).is_some_and(|last| last >= lock) {
            // It waits, or it is done and gives all back.
            if !waits {
                lines
                    .values_mut()
                    .for_each(|line| line.retain(|(other, _)| *other != session));
                at.remove(task);
            }
            continue;
        }
        token += 1;
        lines.entry(*lock).or_default().push((session, token));
        at.insert(*task, *lock);
    }
    lines
        .iter()
        .map(|(number, line)| lock(&format!("/{number}"), line))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn tasks_that_never_lock_each_other_out_give_no_circle(
        steps in prop::collection::vec((0..8_usize, 0..6_usize), 1..60)
    ) {
        prop_assert_eq!(cycles(&ordered_history(&steps)), []);
    }

    /// In whatever order locks are taken, a circle is found if and only if there is one in the whole relation.
    #[test]
    fn a_circle_is_found_if_there_is_one(lines in prop::collection::vec(
        prop::collection::vec(0..7_i64, 1..5), 1..6)
    ) {
        let mut token = 0;
        let mut places = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let mut seen = Vec::new();
            for session in line {
                if !seen.iter().any(|(other, _)| other == session) {
                    token += 1;
                    seen.push((*session, token));
                }
            }
            places.push(lock(&format!("/{number}"), &seen));
        }
        prop_assert_eq!(!cycles(&places).is_empty(), has_circle(&places));
    }
}

/// By the definition: each contender waits for all that stand ahead; what cannot end is a circle.
fn has_circle(places: &[PlaceInfo]) -> bool {
    let mut waits: Vec<(i64, i64)> = Vec::new();
    for place in places {
        for (index, one) in place.contenders.iter().enumerate() {
            waits.extend(
                place.contenders[..index]
                    .iter()
                    .map(|ahead| (one.session_id, ahead.session_id)),
            );
        }
    }
    loop {
        let before = waits.len();
        let stuck: HashSet<i64> = waits.iter().map(|(from, _)| *from).collect();
        waits.retain(|(_, to)| stuck.contains(to));
        if waits.len() == before {
            return !waits.is_empty();
        }
    }
}
