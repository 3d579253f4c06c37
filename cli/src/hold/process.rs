//! Processes: signals to a group and to all that descend from this process, and the clock of the ladder.

use std::fs;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::ladder::Moment;

/// Now, by the clock that goes on while the machine sleeps.
pub(crate) fn now() -> Moment {
    let read = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
    read.map(Duration::from).unwrap_or_default()
}

/// Sends a signal to the group of the command and to all that descend from `root` otherwise. Tells whether the system
/// refused one.
pub(crate) fn signal_all(root: Pid, group: Pid, signal: Signal) -> bool {
    let mut refused = killpg(group, signal) == Err(Errno::EPERM);
    for pid in descendants(root) {
        let in_group = nix::unistd::getpgid(Some(pid)) == Ok(group);
        if !in_group {
            refused |= kill(pid, signal) == Err(Errno::EPERM);
        }
    }
    refused
}

/// All that descend from `root` and are not dead, without `root`.
pub(crate) fn descendants(root: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut ahead = vec![root.as_raw()];
    while let Some(parent) = ahead.pop() {
        for child in children(parent) {
            ahead.push(child);
            if !is_zombie(child) {
                found.push(Pid::from_raw(child));
            }
        }
    }
    found
}

fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks
        .flatten()
        .map(|task| fs::read_to_string(task.path().join("children")));
    let mut all = Vec::new();
    for list in lists.flatten() {
        all.extend(
            list.split_ascii_whitespace()
                .filter_map(|text| text.parse::<i32>().ok()),
        );
    }
    all
}

fn is_zombie(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first().copied());
    matches!(state, Some(Some(b'Z' | b'X')))
}

/// The name of a program, for people.
pub(crate) fn name_of(pid: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{} (pid {pid})", crate::output::clean(name.trim_end().as_bytes()))
}
