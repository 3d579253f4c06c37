//! When heartbeats are due, and what may be granted.

use super::*;

const MARGIN: Duration = Duration::from_millis(2_600);

#[test]
fn no_heartbeat_is_due_while_nothing_needs_one() {
    let mut clock = clock(start());
    assert_eq!(clock.heartbeat_due(), None);
    clock.hold();
    assert_eq!(clock.heartbeat_due(), Some(start() + T / 5));
    clock.release();
    assert_eq!(clock.heartbeat_due(), None);
    clock.await_grant();
    assert_eq!(clock.heartbeat_due(), Some(start() + T / 5));
    clock.grant_ended();
    assert_eq!(clock.heartbeat_due(), None);
}

#[test]
fn a_heartbeat_is_due_when_the_oldest_unused_voucher_is_ripe() {
    let mut clock = clock(start());
    clock.hold();
    let first = start() + ms(1_000);
    clock.proved(first, first + ms(10));
    assert_eq!(clock.heartbeat_due(), Some(first + T / 5));
    let second = first + T / 5;
    clock.proved(second, second + ms(10));
    assert_eq!(clock.heartbeat_due(), Some(first + ms(10) + MARGIN));
    // Sent too early to use the first.
    let early = first + MARGIN;
    clock.proved(early, early + ms(10));
    assert_eq!(clock.heartbeat_due(), Some(first + ms(10) + MARGIN));
    let used = first + ms(10) + MARGIN;
    clock.proved(used, used + ms(10));
    assert_eq!(clock.heartbeat_due(), Some(used + T / 5));
}

#[test]
fn heartbeats_keep_their_distance_from_the_two_before() {
    let mut clock = clock(start());
    clock.hold();
    let at = |millis| start() + ms(millis);
    clock.proved(at(1_000), at(1_000));
    clock.proved(at(3_590), at(3_590));
    // The first voucher is ripe at 3,600.
    clock.heartbeat_sent(at(500));
    clock.heartbeat_sent(at(3_590));
    assert_eq!(clock.heartbeat_due(), Some(at(3_590) + T / 20));
    clock.heartbeat_sent(at(3_591));
    assert_eq!(
        clock.heartbeat_due(),
        Some(at(3_590) + T / 5),
        "T/4 would be later than the regular one"
    );
}

#[test]
fn a_hold_that_cannot_be_prolonged_is_not_granted() {
    let mut clock = clock(start());
    let first = start() + ms(60_000);
    let took = ms(300);
    // No sign of life before: the lease waits for a voucher.
    clock.proved(first, first + took);
    assert!(!clock.may_grant(first + took));
    let second = first + took + MARGIN;
    clock.proved(second, second + took);
    // The lease runs to 67,400; the second voucher is ripe at 66,100 and one more proof takes 300.
    assert_eq!(clock.end, first + T - MARGIN);
    assert!(clock.may_grant(second + took));
    let last = clock.end - took - T / 100;
    assert!(clock.may_grant(last - ms(1)));
    assert!(!clock.may_grant(last));
}

#[test]
fn a_voucher_that_ripens_too_late_forbids_a_grant() {
    let mut clock = clock(start());
    let first = start() + ms(60_000);
    clock.proved(first, first);
    let second = first + ms(4_800);
    clock.proved(second, second);
    // It uses the first, so that the lease ends at 67,400, when the second is ripe.
    assert_eq!(clock.end, second + MARGIN);
    assert_eq!(clock.remaining(second), MARGIN);
    assert!(!clock.may_grant(second));
}

#[test]
fn proofs_too_slow_for_the_margin_are_told() {
    let mut clock = clock(start());
    for (took, hopeless) in [(1_399, false), (1_400, true), (10, false)] {
        let sent = clock.latest + ms(2_000);
        clock.proved(sent, sent + ms(took));
        assert_eq!(clock.cannot_be_kept(), hopeless, "{took} ms");
        assert_eq!((clock.latency(), clock.margin_length()), (ms(took), MARGIN));
    }
}
