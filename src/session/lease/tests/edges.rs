//! Where one rule ends and the next begins: what mutants of the comparisons get wrong.

use super::*;

#[test]
fn an_older_proof_changes_nothing() {
    let start = start();
    let mut clock = clock(start);
    let sent = run_until(&mut clock, start, ms(60_000));
    clock.proved(sent, sent + ms(1));
    let (latest, end) = (clock.latest, clock.end);
    clock.proved(sent - ms(500), sent + ms(2));
    assert_eq!((clock.latest, clock.end), (latest, end));
}

#[test]
fn the_longest_unnoticed_gap_is_no_pause() {
    let start = start();
    let mut clock = clock(start);
    clock.alive(start + clock.unnoticed());
    assert!(clock.paused.is_none());
    clock.alive(start + clock.unnoticed() * 2 + ms(1));
    assert!(clock.paused.is_some());
}

#[test]
fn pauses_are_two_where_a_ping_fits_between() {
    let start = start();
    let mut clock = clock(start);
    let between = clock.longest_gap() + clock.margin;
    let first = start + ms(1_000);
    clock.pause(start, first);
    clock.pause(first + between, first + between + ms(1_000));
    assert_eq!(clock.paused.map(|pause| pause.from), Some(first + between));
    clock.pause(
        first + between + ms(1_000) + between - ms(1),
        first + between * 2 + ms(2_000),
    );
    assert_eq!(clock.paused.map(|pause| pause.from), Some(first + between));
}

#[test]
fn only_a_proof_that_took_longer_than_a_hundredth_counts_as_a_pause() {
    let start = start();
    let mut clock = clock(start);
    let sent = start + ms(1_000);
    clock.proved(sent, sent + T / 100);
    assert!(clock.paused.is_none());
    clock.proved(sent + T, sent + T + T / 100 + ms(1));
    assert!(clock.paused.is_some());
}

#[test]
fn proofs_that_follow_each_other_fast_are_not_all_kept() {
    let start = start();
    let mut clock = clock(start);
    for proof in 0..=50 {
        let sent = start + proof * (T / 500);
        clock.proved(sent, sent);
    }
    let kept: Vec<_> = clock.proofs.iter().map(|proof| proof.sent).collect();
    assert_eq!(kept, [start + T / 500, start + T / 500 + T / 20]);
}

#[test]
fn a_pause_is_over_once_a_later_ping_has_got_to_the_leader() {
    let start = start();
    let mut clock = clock(start);
    let paused = start + ms(30_000);
    clock.pause(paused, paused + ms(1_000));
    let gap = clock.longest_gap();
    let forgotten = paused + ms(1_000) + clock.margin + gap;
    clock.alive = forgotten;
    assert_eq!(clock.pinged_before(forgotten), Some(forgotten - gap));
    assert_eq!(clock.pinged_before(forgotten - ms(1)), Some(paused - gap));
}

#[test]
fn there_is_a_deadline_while_something_is_held() {
    let mut clock = clock(start());
    for holds in 1..=2 {
        clock.hold();
        assert_eq!((clock.holds(), clock.deadline()), (holds, Some(clock.end)));
    }
    for holds in [1, 0] {
        clock.release();
        assert_eq!(clock.holds(), holds);
    }
    assert_eq!(clock.deadline(), None);
}
