//! The hidden verb `__exec`: becomes the command, once it is sure that the command dies with the monitor.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpgrp, getppid, tcsetpgrp};

/// `__exec MONITOR FOREGROUND COMMAND ARGUMENTS...`; returns the status of a command that could not be started.
pub(crate) fn become_command(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let mut number = || arguments.next()?.to_str()?.parse::<i32>().ok();
    let (Some(monitor), Some(foreground)) = (number(), number()) else {
        return crate::failure::INTERNAL;
    };
    let Some(program) = arguments.next() else {
        return crate::failure::INTERNAL;
    };
    // The monitor may have died before the signal was asked for.
    if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != Pid::from_raw(monitor) {
        return crate::failure::INTERNAL;
    }
    if foreground == 1 {
        take_terminal(getpgrp());
    }
    // The monitor reads its signals; the command shall get them.
    if SigSet::empty().thread_set_mask().is_err() {
        return crate::failure::INTERNAL;
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("zkr: cannot run {}: {error}", program.to_string_lossy());
    match error.kind() {
        std::io::ErrorKind::NotFound => 127,
        _ => 126,
    }
}

/// Makes a process group the foreground of the terminal, from whichever group.
pub(crate) fn take_terminal(group: Pid) {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        return;
    };
    // Or this process would be stopped by it.
    let mut block = SigSet::empty();
    block.add(Signal::SIGTTOU);
    if block.thread_block().is_ok() {
        let _ = tcsetpgrp(&terminal, group);
        let _ = block.thread_unblock();
    }
}

/// Whether this process is in the foreground of its terminal.
pub(crate) fn is_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| nix::unistd::tcgetpgrp(&terminal) == Ok(getpgrp()))
}
