//! The protocol of the recipes under a model checker. `cargo run -p model --release` checks all; docs/proof.md tells the
//! story. With names of checks as arguments only these run.

mod lease;
mod line;
mod queue;
mod report;
mod semaphore;

use std::process::ExitCode;

use crate::report::Report;

fn main() -> ExitCode {
    let mut report = Report::new(std::env::args().skip(1).collect());
    lease_checks(&mut report);
    line_checks(&mut report);
    semaphore_checks(&mut report);
    queue_checks(&mut report);
    queue_counter_examples(&mut report);
    report.end()
}

fn lease_checks(report: &mut Report) {
    use crate::lease::{LeaseModel, Without};

    let model = |without, changes| LeaseModel {
        horizon: 52,
        changes,
        without,
    };
    report.holds("lease, two troubles", model(None, 2));
    report.holds(
        "lease, three troubles",
        LeaseModel {
            horizon: 22,
            ..model(None, 3)
        },
    );
    for (name, without, changes) in [
        ("lease without its margin", Without::Margin, 2),
        ("lease counted from the acknowledgement", Without::SendTime, 3),
        ("lease from unanswered heartbeats", Without::Answer, 2),
        ("lease that notes no pauses", Without::PauseNotes, 3),
        ("no lease, the client's word", Without::Lease, 2),
        ("lease with long stalls that no proof sees", Without::StallAssumption, 3),
    ] {
        report.breaks(name, "no belief after the expiry", model(Some(without), changes));
    }
}

fn line_checks(report: &mut Report) {
    use crate::line::{Faults, LineModel, Without};

    const ALL: Faults = Faults {
        breaks: 2,
        ends: 2,
        deletes: 1,
        cuts: 1,
        cancels: 1,
        any: 2,
    };
    let model = |shared: &[bool], rounds, faults, without| LineModel {
        shared: shared.to_vec(),
        rounds,
        faults,
        without,
    };
    const ONE: Faults = Faults { any: 1, ..ALL };
    report.holds("two writers, two faults", model(&[false, false], 1, ALL, None));
    report.holds(
        "two writers, twice each, one fault",
        model(&[false, false], 2, ONE, None),
    );
    report.holds("three writers, one fault", model(&[false, false, false], 1, ONE, None));
    report.holds(
        "writer, reader, writer, one fault",
        model(&[false, true, false], 1, ONE, None),
    );
    report.holds(
        "reader, reader, writer, one fault",
        model(&[true, true, false], 1, ONE, None),
    );
    for (name, property, without) in [
        (
            "no look for the own node",
            "no two believe to hold",
            Without::OwnNodeCheck,
        ),
        ("no sync before recovery", "no waiter is stuck", Without::Sync),
        ("no lease in the line", "no two believe to hold", Without::Lease),
        (
            "lost is removed at once",
            "work ends before the next begins",
            Without::LostIsNotRemoved,
        ),
    ] {
        report.breaks(name, property, model(&[false, false], 1, ALL, Some(without)));
    }
}

fn semaphore_checks(report: &mut Report) {
    use crate::semaphore::{SemaphoreModel, Without};

    let model = |wanted: &[u32], faults, without| SemaphoreModel {
        wanted: wanted.to_vec(),
        limit: 2,
        faults,
        without,
    };
    report.holds("semaphore, two clients, two faults", model(&[1, 2], 2, None));
    report.holds("semaphore, three clients, two faults", model(&[1, 2, 1], 2, None));
    for (name, faults, without) in [
        ("semaphore without its turnstile", 0, Without::Turnstile),
        ("semaphore in two transactions", 0, Without::OneTransaction),
        ("semaphore without a check of the number", 1, Without::LimitCheck),
    ] {
        const LIMIT: &str = "permits stay within their number";
        report.breaks(name, LIMIT, model(&[1, 2], faults, Some(without)));
    }
}

/// A strict queue without deadlines.
fn strict(segments: &[usize], wanted: [usize; 2], faults: u8, choices: u8) -> queue::Scene {
    queue::Scene {
        segments: segments.to_vec(),
        wanted,
        window: None,
        has_deadlines: false,
        faults,
        choices,
    }
}

fn timed(segments: &[usize], faults: u8, choices: u8) -> queue::Scene {
    queue::Scene {
        has_deadlines: true,
        ..strict(segments, [1, 1], faults, choices)
    }
}

fn window(segments: &[usize], faults: u8, choices: u8) -> queue::Scene {
    queue::Scene {
        window: Some(2),
        ..strict(segments, [1, 2], faults, choices)
    }
}

fn queue_checks(report: &mut Report) {
    use crate::queue::{QueueModel, Without};

    for (name, scene) in [
        ("queue, strict, one fault", strict(&[2, 1], [1, 1], 1, 0)),
        ("queue, strict, one nack", strict(&[2, 1], [1, 1], 0, 1)),
        ("queue, window, one fault", window(&[2, 1], 1, 0)),
        ("queue, window, one nack", window(&[2, 1], 0, 1)),
        ("queue, two items, two faults", strict(&[2], [1, 2], 2, 0)),
        ("queue, two items, a fault and a nack", strict(&[2], [1, 2], 1, 1)),
        (
            "queue, two pushes, fetched ahead, a fault",
            strict(&[2, 1], [2, 3], 1, 0),
        ),
        (
            "queue, two pushes, fetched ahead, two nacks",
            strict(&[2, 1], [2, 3], 0, 2),
        ),
        ("queue, one item, a fault and three nacks", strict(&[1], [1, 1], 1, 3)),
        ("queue, deadlines, one item, two faults", timed(&[1], 2, 2)),
        ("queue, deadlines, two items, one fault", timed(&[2], 1, 0)),
    ] {
        report.holds(name, QueueModel::new(scene, None));
    }
    // What it refuses is refused by something else as well.
    let without = Some(Without::ClaimCheck);
    let name = "queue without the look for the own claim";
    report.holds(name, QueueModel::new(timed(&[1], 2, 0), without));
}

fn queue_counter_examples(report: &mut Report) {
    use crate::queue::{ONE_PLACE, ORDER, QueueModel, REFUSED, TOLD, TWO_HOLD, Without};

    let two = |faults, choices| strict(&[2], [1, 2], faults, choices);
    let one = |faults, choices| strict(&[1], [1, 1], faults, choices);
    for (name, property, without, scene) in [
        ("the probe", ONE_PLACE, Without::Probe, two(2, 0)),
        ("the right name in the probe", REFUSED, Without::RightProbe, one(0, 1)),
        ("the tally's version", ONE_PLACE, Without::TallyVersion, two(0, 1)),
        ("the look for the segment", ONE_PLACE, Without::SegmentCheck, one(0, 0)),
        ("a producer's ledger", ONE_PLACE, Without::PushLedger, one(1, 0)),
        ("a consumer's ledger", TOLD, Without::Ledger, two(1, 0)),
        (
            "the list behind the claim",
            ORDER,
            Without::List,
            strict(&[2], [1, 1], 1, 0),
        ),
        (
            "the holder's own deadline",
            TWO_HOLD,
            Without::OwnDeadline,
            timed(&[1], 1, 0),
        ),
        (
            "any condition of an ack",
            ONE_PLACE,
            Without::ClaimAndTally,
            timed(&[1], 2, 0),
        ),
        (
            "the version of a claim",
            TWO_HOLD,
            Without::ClaimVersion,
            timed(&[1], 2, 2),
        ),
        (
            "the first item that is left",
            ORDER,
            Without::Firsts,
            strict(&[3], [3, 1], 1, 1),
        ),
        (
            "the end of a claim ahead of a piece",
            REFUSED,
            Without::Cut,
            strict(&[3], [3, 2], 1, 1),
        ),
        (
            "the look for pieces",
            ORDER,
            Without::Pieces,
            strict(&[3], [3, 3], 1, 2),
        ),
    ] {
        let name = format!("queue without {name}");
        report.breaks(&name, property, QueueModel::new(scene, Some(without)));
    }
}
