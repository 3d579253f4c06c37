//! What follows from the session timeout.

use super::*;
use crate::session::lease::terms::Margin;

#[test]
fn a_margin_over_thirty_percent_is_clamped() {
    let margin = |asked| LeaseClock::margin(asked, T);
    let as_asked = |length| Margin {
        length,
        is_clamped: false,
    };
    let clamped = Margin {
        length: ms(3_000),
        is_clamped: true,
    };
    assert_eq!(margin(None), as_asked(ms(2_600)));
    assert_eq!(margin(Some(ms(3_000))), as_asked(ms(3_000)));
    assert_eq!(margin(Some(ms(3_001))), clamped);
}

#[test]
fn the_client_is_silent_for_half_its_connection_timeout() {
    let silence = |connection| LeaseClock::client_silence(connection, T);
    assert_eq!(silence(LeaseClock::connection_timeout(T)), ms(1_500));
    assert_eq!(silence(ms(6_000)), ms(3_000));
    // More than the client takes, or none: it falls back to 2/5 of the timeout.
    assert_eq!(silence(ms(6_001)), ms(2_000));
    assert_eq!(silence(Duration::ZERO), ms(2_000));
    // It never looks more often than every millisecond.
    assert_eq!(silence(ms(4)), ms(4));
}
