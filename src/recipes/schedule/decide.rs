//! What a leader does next: a pure function of the record and the ensemble's time.

use std::time::Duration;

use super::options::{Misfire, Rules, Starts};
use super::record::{OpenRun, RunRecord};

/// How many due times one record covers at most, so that a decision takes a bounded time.
const COVER_LIMIT: u64 = 10_000;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScheduleStep {
    /// Wait until the ensemble's time is this, then look again.
    WaitUntil(i64),
    /// Write this record, and start nothing.
    Write(RunRecord),
    /// Write this record, then start the run that it names.
    Start(RunRecord),
    /// No due time is left.
    Done,
}

/// Decides at `now`, a time of the ensemble, while no run of our own is going on.
pub(super) fn decide(rules: &Rules, record: &RunRecord, now: i64) -> ScheduleStep {
    let Some(last) = record.last else {
        let first = RunRecord {
            last: Some(now),
            ..record.clone()
        };
        return ScheduleStep::Write(first);
    };
    if let Some(run) = &record.run {
        return left_behind(rules, record, run, now);
    }
    let Some(next) = rules.timetable.next_millis(last) else {
        return ScheduleStep::Done;
    };
    let held_until = match record.started {
        0 => i64::MIN,
        _ => record.started_at.saturating_add(millis(rules.at_least)),
    };
    let earliest = next.max(held_until);
    if now < earliest {
        return ScheduleStep::WaitUntil(earliest);
    }
    if rules.misfire == Misfire::RunAll {
        return ScheduleStep::Start(started(record, next, 1, now));
    }
    let (latest, covers, is_all) = passed(rules, next, now);
    let is_late = now.saturating_sub(latest) > millis(rules.grace);
    if !is_all || (rules.misfire == Misfire::Skip && is_late) {
        return ScheduleStep::Write(RunRecord {
            last: Some(latest),
            skipped: record.skipped.saturating_add(covers),
            ..record.clone()
        });
    }
    ScheduleStep::Start(started(record, latest, covers, now))
}

/// What becomes of a run whose leader is gone.
fn left_behind(rules: &Rules, record: &RunRecord, run: &OpenRun, now: i64) -> ScheduleStep {
    let until = record
        .started_at
        .saturating_add(millis(rules.at_most.unwrap_or_default()));
    if rules.at_most.is_some() && now < until {
        return ScheduleStep::WaitUntil(until);
    }
    match rules.starts {
        Starts::AtMostOnce => ScheduleStep::Write(RunRecord {
            run: None,
            ..record.clone()
        }),
        // The ensemble's clock was set back since its first start.
        Starts::AtLeastOnce if now < run.due => ScheduleStep::WaitUntil(run.due),
        Starts::AtLeastOnce => ScheduleStep::Start(RunRecord {
            run: Some(OpenRun {
                attempt: run.attempt.saturating_add(1),
                ..run.clone()
            }),
            started_at: now,
            ..record.clone()
        }),
    }
}

/// The latest due time that has come, how many have come, and whether these are all.
fn passed(rules: &Rules, next: i64, now: i64) -> (i64, u64, bool) {
    let (mut latest, mut covers) = (next, 1);
    while let Some(due) = rules.timetable.next_millis(latest).filter(|due| *due <= now) {
        if covers == COVER_LIMIT {
            return (latest, covers, false);
        }
        (latest, covers) = (due, covers + 1);
    }
    (latest, covers, true)
}

fn started(record: &RunRecord, due: i64, covers: u64, now: i64) -> RunRecord {
    RunRecord {
        last: Some(due),
        run: Some(OpenRun {
            due,
            attempt: 1,
            covers,
        }),
        started_at: now,
        started: record.started.saturating_add(1),
        skipped: record.skipped.saturating_add(covers - 1),
        ..record.clone()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::timetable::Timetable;
    use super::*;

    const PERIOD: i64 = 100;

    fn rules(misfire: Misfire, starts: Starts, at_most: Option<u64>, at_least: u64) -> Rules {
        Rules {
            timetable: Timetable::every(Duration::from_millis(100)).unwrap(),
            misfire,
            starts,
            at_most: at_most.map(Duration::from_millis),
            at_least: Duration::from_millis(at_least),
            grace: Duration::from_millis(50),
        }
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        let misfire = prop_oneof![Just(Misfire::RunOnce), Just(Misfire::RunAll), Just(Misfire::Skip)];
        let starts = prop_oneof![Just(Starts::AtLeastOnce), Just(Starts::AtMostOnce)];
        let at_most = proptest::option::of(1..400u64);
        (misfire, starts, at_most, 0..250u64)
            .prop_map(|(misfire, starts, at_most, at_least)| rules(misfire, starts, at_most, at_least))
    }

    #[test]
    fn a_due_time_is_skipped_only_once_it_is_later_than_the_grace() {
        let rules = rules(Misfire::Skip, Starts::AtMostOnce, None, 0);
        let record = RunRecord {
            last: Some(5_000),
            ..RunRecord::default()
        };
        assert!(matches!(decide(&rules, &record, 5_150), ScheduleStep::Start(_)));
        let skipped = RunRecord {
            last: Some(5_100),
            skipped: 1,
            ..record.clone()
        };
        assert_eq!(decide(&rules, &record, 5_151), ScheduleStep::Write(skipped));
    }

    #[test]
    fn a_run_whose_leader_is_gone_waits_for_its_bounds() {
        let run = OpenRun {
            due: 5_100,
            attempt: 1,
            covers: 1,
        };
        let record = RunRecord {
            last: Some(5_100),
            run: Some(run.clone()),
            started_at: 5_100,
            started: 1,
            ..RunRecord::default()
        };
        let once = rules(Misfire::RunOnce, Starts::AtMostOnce, Some(300), 0);
        assert_eq!(decide(&once, &record, 5_399), ScheduleStep::WaitUntil(5_400));
        let given_up = RunRecord {
            run: None,
            ..record.clone()
        };
        assert_eq!(decide(&once, &record, 5_400), ScheduleStep::Write(given_up));

        // With no bound of its time, the clock alone counts, which may have been set back.
        let again = rules(Misfire::RunOnce, Starts::AtLeastOnce, None, 0);
        assert_eq!(decide(&again, &record, 5_099), ScheduleStep::WaitUntil(5_100));
        let started = RunRecord {
            run: Some(OpenRun { attempt: 2, ..run }),
            ..record.clone()
        };
        assert_eq!(decide(&again, &record, 5_100), ScheduleStep::Start(started));
    }

    proptest! {
        /// A clock that jumps either way, and leaders that vanish in the middle of a run.
        #[test]
        fn every_due_time_is_recorded_once_and_none_starts_early(
            rules in any_rules(),
            ticks in prop::collection::vec((-300..900i64, any::<bool>()), 1..200),
        ) {
            let (mut record, mut now, mut anchor) = (RunRecord::default(), 5_000, None);
            let (mut starts, mut last_start) = (Vec::new(), i64::MIN);
            for (jump, leader_survives) in ticks {
                now += jump;
                let before = record.clone();
                match decide(&rules, &record, now) {
                    ScheduleStep::WaitUntil(until) => { prop_assert!(until > now); continue }
                    ScheduleStep::Done => prop_assert!(false, "an interval never ends"),
                    ScheduleStep::Write(next) => record = next,
                    ScheduleStep::Start(next) => {
                        let run = next.run.clone().unwrap();
                        prop_assert!(run.due <= now, "{} starts before it is due, at {now}", run.due);
                        if run.attempt > 1 {
                            prop_assert_eq!(rules.starts, Starts::AtLeastOnce);
                            let until = before.started_at + rules.at_most.map_or(0, millis);
                            prop_assert!(rules.at_most.is_none() || now >= until);
                        } else {
                            let held = last_start.saturating_add(millis(rules.at_least));
                            prop_assert!(last_start == i64::MIN || now >= held);
                        }
                        last_start = now;
                        starts.push((run.due, run.attempt));
                        record = next;
                        if leader_survives {
                            record.run = None;
                        }
                    }
                }
                let last = record.last.unwrap();
                prop_assert!(before.last.is_none_or(|before| before <= last), "the record goes back");
                let first = *anchor.get_or_insert(last);
                let due = last.div_euclid(PERIOD) - first.div_euclid(PERIOD);
                prop_assert_eq!(record.started + record.skipped, due.unsigned_abs());
            }
            let first_starts: Vec<_> = starts.iter().filter(|(_, attempt)| *attempt == 1).collect();
            prop_assert_eq!(first_starts.len() as u64, record.started);
            prop_assert!(first_starts.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", first_starts);
            if rules.misfire == Misfire::RunAll {
                prop_assert_eq!(record.skipped, 0);
            }
        }
    }

    fn at(last: i64) -> RunRecord {
        RunRecord {
            last: Some(last),
            ..RunRecord::default()
        }
    }

    #[test]
    fn what_was_missed_is_run_once_in_full_or_skipped() {
        let step = |misfire, now| decide(&rules(misfire, Starts::AtLeastOnce, None, 0), &at(1_000), now);
        let due = |step| match step {
            ScheduleStep::Start(record) => record.run.map(|run| (run.due, run.covers)),
            _ => None,
        };
        assert_eq!(due(step(Misfire::RunOnce, 1_499)), Some((1_400, 4)));
        assert_eq!(due(step(Misfire::RunAll, 1_499)), Some((1_100, 1)));
        assert_eq!(
            due(step(Misfire::Skip, 1_410)),
            Some((1_400, 4)),
            "the latest is not late"
        );
        let skipped = RunRecord {
            skipped: 4,
            ..at(1_400)
        };
        assert_eq!(step(Misfire::Skip, 1_499), ScheduleStep::Write(skipped));
        assert_eq!(step(Misfire::RunAll, 1_099), ScheduleStep::WaitUntil(1_100));
    }

    #[test]
    fn a_long_absence_takes_several_records() {
        let rules = rules(Misfire::RunOnce, Starts::AtLeastOnce, None, 0);
        let now = PERIOD * 25_000;
        let (mut record, mut writes) = (at(0), 0);
        while let ScheduleStep::Write(next) = decide(&rules, &record, now) {
            (record, writes) = (next, writes + 1);
        }
        assert_eq!((writes, record.skipped), (2, 20_000));
        assert!(matches!(decide(&rules, &record, now), ScheduleStep::Start(last) if last.skipped == 24_999));
    }
}
