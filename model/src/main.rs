//! The protocol of the recipes under a model checker. `cargo run -p model --release` checks all; docs/proof.md tells the
//! story. With names of checks as arguments only these run.

mod lease;
mod line;
mod report;
mod semaphore;

use std::process::ExitCode;

use crate::report::Report;

fn main() -> ExitCode {
    let mut report = Report::new(std::env::args().skip(1).collect());
    lease_checks(&mut report);
    line_checks(&mut report);
    semaphore_checks(&mut report);
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
