use super::*;
use crate::jepsen::place::{Care, Recipe};

fn calls(lines: &[(&str, What, i64, u64, u64)]) -> Calls {
    let mut calls = Calls::default();
    for (turn, what, number, called, returned) in lines {
        calls.note(Call {
            turn: (*turn).to_owned(),
            place: String::new(),
            what: *what,
            number: *number,
            shares: 1,
            called: Duration::from_millis(*called),
            returned: (*returned != 0).then(|| Duration::from_millis(*returned)),
        });
    }
    calls
}

fn anomalies(duty: Duty, found: &str, lines: &[(&str, What, i64, u64, u64)]) -> Vec<usize> {
    let place = Place {
        recipe: Recipe::FairLock,
        duty,
        copy: 0,
    };
    let verdicts = judge(place, &calls(lines), found);
    verdicts.iter().map(|verdict| verdict.anomalies).collect()
}

use What::*;

#[test]
fn a_holder_that_outlives_its_lease_is_an_anomaly_only_if_blind() {
    let paused = [
        ("a", Acquire, 1, 0, 1),
        ("a", Release, 0, 5, 99),
        ("a", BlindRelease, 0, 90, 99),
        ("b", Acquire, 2, 0, 50),
        ("b", Release, 0, 60, 61),
        ("b", BlindRelease, 0, 60, 61),
    ];
    assert_eq!(anomalies(Duty::Mutex, "", &paused), [0, 1]);
    let mut believed = paused;
    believed[1].3 = 55;
    assert_eq!(anomalies(Duty::Mutex, "", &believed), [1, 1]);
}

#[test]
fn a_killed_holder_may_have_held_at_any_time() {
    let killed = [
        ("a", Acquire, 1, 0, 1),
        ("b", Acquire, 2, 0, 50),
        ("b", Release, 0, 60, 61),
        ("b", BlindRelease, 0, 60, 61),
    ];
    assert_eq!(anomalies(Duty::Mutex, "", &killed), [0, 0]);
}

#[test]
fn elements_are_neither_lost_nor_made_up() {
    let duty = Duty::SetInEnsemble(Care::Fenced);
    let lines = [
        ("a", Change, 0, 0, 1),
        ("b", Change, 0, 2, 0),
        ("c", Change, 0, 3, 0),
        ("c", NoChange, 0, 3, 0),
    ];
    for (found, expected) in [("a ", 0), ("a b ", 0), ("b ", 1), ("a c ", 1), ("", 1), ("a d ", 1)] {
        assert_eq!(anomalies(duty, found, &lines), [expected], "{found}");
    }
}

#[test]
fn a_number_that_two_leaders_left_is_an_anomaly() {
    let duty = Duty::Register(Care::Fenced);
    let in_turn = [
        ("a", Change, 0, 0, 10),
        ("b", Change, 1, 5, 20),
        ("c", Change, 2, 15, 0),
    ];
    assert_eq!(anomalies(duty, "2", &in_turn), [0]);
    assert_eq!(anomalies(duty, "3", &in_turn), [0]);
    assert_eq!(anomalies(duty, "1", &in_turn), [1]);
    let twice = [
        ("a", Change, 0, 0, 10),
        ("b", Change, 0, 5, 20),
        ("c", Change, 0, 5, 30),
    ];
    assert_eq!(anomalies(duty, "1", &twice), [2]);
}
