//! Schedules: what is due is recorded once, whatever process leads, and started as the options say.

mod basics;
mod clocks;
mod history;

use std::time::Duration;

use zookeeper_recipes::{Coordinator, Schedule, ScheduleBuilder, Timetable};

const JOB: &str = "/jobs/job";
const LEADER: &str = "/leader";

fn every(zk: &Coordinator, path: &str, millis: u64) -> ScheduleBuilder {
    Schedule::builder(zk, path, Timetable::every(Duration::from_millis(millis)).unwrap())
}
