use super::*;
use crate::history::things::{Access, Holding, Register, Shares};

const STEPS: usize = 1_000_000;

fn timed<Op>(op: Op, called: u64, returned: u64) -> Timed<Op> {
    Timed {
        op,
        called: Duration::from_millis(called),
        returned: (returned != u64::MAX).then(|| Duration::from_millis(returned)),
    }
}

fn acquire(token: i64, called: u64, returned: u64) -> Timed<Holding> {
    timed(Holding::Acquire { shares: 1, token }, called, returned)
}

fn release(called: u64, returned: u64) -> Timed<Holding> {
    timed(Holding::Release { shares: 1 }, called, returned)
}

fn mutex(history: &[Timed<Holding>]) -> Linear {
    linearizable(&Shares { limit: 1 }, history, STEPS)
}

fn register(history: &[Timed<Access>]) -> Linear {
    linearizable(&Register, history, STEPS)
}

#[test]
fn holders_in_turn_are_linearizable() {
    assert_eq!(mutex(&[]), Linear::Yes);
    let history = [acquire(1, 0, 1), acquire(2, 0, 12), release(10, 11), release(20, 21)];
    assert_eq!(mutex(&history), Linear::Yes);
}

#[test]
fn two_holders_at_once_are_not() {
    let history = [acquire(1, 0, 1), acquire(2, 0, 5), release(10, 11), release(20, 21)];
    assert_eq!(mutex(&history), Linear::No { stuck: 1 });
}

#[test]
fn a_release_may_take_effect_before_it_returns() {
    let history = [acquire(1, 0, 1), release(10, 30), acquire(2, 0, 12)];
    assert_eq!(mutex(&history), Linear::Yes);
    assert_ne!(
        mutex(&[acquire(1, 0, 1), release(13, 30), acquire(2, 0, 12)]),
        Linear::Yes
    );
}

#[test]
fn what_never_returned_may_have_happened_or_not() {
    let killed = [acquire(1, 0, 1), release(10, u64::MAX)];
    assert_eq!(mutex(&killed), Linear::Yes);
    for granted in [11, 1_000] {
        let history = [killed[0].clone(), killed[1].clone(), acquire(2, 0, granted)];
        assert_eq!(mutex(&history), Linear::Yes);
    }
    let too_early = [killed[0].clone(), killed[1].clone(), acquire(2, 0, 9)];
    assert_ne!(mutex(&too_early), Linear::Yes);
}

#[test]
fn tokens_that_shrink_are_not_linearizable() {
    let in_turn = |one, other| [acquire(one, 0, 1), release(2, 3), acquire(other, 4, 5)];
    assert_eq!(mutex(&in_turn(1, 2)), Linear::Yes);
    assert_ne!(mutex(&in_turn(2, 1)), Linear::Yes);
    assert_ne!(mutex(&in_turn(1, 1)), Linear::Yes);
}

#[test]
fn shares_stay_within_their_limit() {
    let take = |shares, token, called| timed(Holding::Acquire { shares, token }, called, called + 1);
    let semaphore = |history: &[Timed<Holding>]| linearizable(&Shares { limit: 3 }, history, STEPS);
    assert_eq!(semaphore(&[take(2, 2, 0), take(1, 1, 2)]), Linear::Yes);
    assert_ne!(semaphore(&[take(2, 1, 0), take(2, 2, 2)]), Linear::Yes);
    // A writer takes all, after each reader before it.
    let give = |shares, called| timed(Holding::Release { shares }, called, called + 1);
    assert_eq!(semaphore(&[take(1, 5, 0), give(1, 2), take(3, 6, 4)]), Linear::Yes);
    assert_ne!(semaphore(&[take(1, 5, 0), give(1, 2), take(3, 4, 4)]), Linear::Yes);
    assert_ne!(semaphore(&[take(3, 5, 0), give(3, 2), take(1, 4, 4)]), Linear::Yes);
}

#[test]
fn a_lost_update_is_not_linearizable() {
    let one = timed(Access::Change(0, 1), 0, 10);
    assert_eq!(
        register(&[one.clone(), timed(Access::Change(1, 2), 5, 15)]),
        Linear::Yes
    );
    assert_ne!(
        register(&[one.clone(), timed(Access::Change(0, 1), 5, 15)]),
        Linear::Yes
    );
    assert_eq!(register(&[one.clone(), timed(Access::Read(1), 11, 12)]), Linear::Yes);
    assert_ne!(register(&[one.clone(), timed(Access::Read(0), 11, 12)]), Linear::Yes);
    // One that may have happened did.
    let doubted = timed(Access::Change(1, 2), 5, u64::MAX);
    assert_eq!(register(&[one, doubted, timed(Access::Read(2), 11, 12)]), Linear::Yes);
}

#[test]
fn a_search_without_end_is_given_up() {
    let history = [acquire(1, 0, 1), acquire(2, 0, 5)];
    assert_eq!(linearizable(&Shares { limit: 1 }, &history, 1), Linear::Undecided);
}

/// All orders, one after the other.
fn by_brute_force(history: &[Timed<Access>], state: u64, left: &mut Vec<usize>) -> bool {
    if left.iter().all(|op| history[*op].returned.is_none()) {
        return true;
    }
    for at in 0..left.len() {
        let op = left.remove(at);
        let is_too_late = left.iter().any(|other| {
            history[*other]
                .returned
                .is_some_and(|returned| returned < history[op].called)
        });
        let after = Register.step(&state, &history[op].op).filter(|_| !is_too_late);
        let found = after.is_some_and(|after| by_brute_force(history, after, left));
        left.insert(at, op);
        if found {
            return true;
        }
    }
    false
}

#[test]
fn random_histories_are_judged_as_by_brute_force() {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut sound = 0;
    for _ in 0..20_000 {
        let count = random(6) + 1;
        let history: Vec<Timed<Access>> = (0..count)
            .map(|_| {
                let (value, called) = (random(3), random(12));
                let op = match random(2) {
                    0 => Access::Read(value),
                    _ => Access::Change(value, random(3)),
                };
                let returned = if random(6) == 0 { u64::MAX } else { called + random(8) };
                timed(op, called, returned)
            })
            .collect();
        let expected = by_brute_force(&history, 0, &mut (0..history.len()).collect());
        let found = register(&history);
        assert_ne!(found, Linear::Undecided);
        assert_eq!(found == Linear::Yes, expected, "{history:?}");
        sound += usize::from(expected);
    }
    assert!((1_000..19_000).contains(&sound), "{sound} of 20000 are sound");
}
