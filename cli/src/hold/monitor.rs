//! The hidden verb `__monitor`: a process of its own that runs the command and kills it in time, whatever happens to
//! `zkr`. It has one thread, since the command dies with the thread that started it, and knows nothing of ZooKeeper.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::ladder::{Ladder, Step};
use super::process::{descendants, name_of, now, signal_all};
use crate::failure::INTERNAL;

/// What `zkr` tells the monitor when it starts it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) deadline: Duration,
    pub(crate) grace: Duration,
    pub(crate) reserve: Duration,
    /// How often it looks at the clock.
    pub(crate) wake: Duration,
    pub(crate) signal: i32,
    pub(crate) foreground: bool,
    pub(crate) leave_orphans: bool,
}

impl Settings {
    pub(crate) fn encode(&self) -> String {
        let times = [self.deadline, self.grace, self.reserve, self.wake].map(|time| time.as_nanos().to_string());
        let flags = [self.foreground, self.leave_orphans].map(|flag| u8::from(flag).to_string());
        format!("{},{},{}", times.join(","), self.signal, flags.join(","))
    }

    fn decode(text: &str) -> Option<Self> {
        let numbers: Vec<u64> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[deadline, grace, reserve, wake, signal, foreground, leave_orphans] = numbers.as_slice() else {
            return None;
        };
        Some(Self {
            deadline: Duration::from_nanos(deadline),
            grace: Duration::from_nanos(grace),
            reserve: Duration::from_nanos(reserve),
            wake: Duration::from_nanos(wake),
            signal: i32::try_from(signal).ok()?,
            foreground: foreground == 1,
            leave_orphans: leave_orphans == 1,
        })
    }
}

/// `__monitor SOCKET SETTINGS COMMAND ARGUMENTS...`
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let mut text = || arguments.next()?.into_string().ok();
    let (Some(socket), Some(settings)) = (text(), text().as_deref().and_then(Settings::decode)) else {
        return INTERNAL;
    };
    let Ok(zkr) = SocketAddr::from_abstract_name(&socket).and_then(|name| UnixStream::connect_addr(&name)) else {
        return INTERNAL;
    };
    match Monitor::start(zkr, settings, arguments) {
        Ok(monitor) => monitor.watch(),
        Err(error) => {
            eprintln!("zkr: cannot start the monitor: {error}");
            INTERNAL
        }
    }
}

struct Monitor {
    zkr: UnixStream,
    /// What came from `zkr` and is no whole line yet.
    unread: Vec<u8>,
    /// Whether `zkr` is there.
    is_attended: bool,
    signals: SignalFd,
    settings: Settings,
    ladder: Ladder,
    command: Pid,
    has_ended: bool,
    was_killed: bool,
}

impl Monitor {
    fn start(zkr: UnixStream, settings: Settings, command: impl Iterator<Item = OsString>) -> std::io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGTTOU,
            Signal::SIGTSTP,
            Signal::SIGPIPE,
        ] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        prctl::set_child_subreaper(true)?;
        zkr.set_nonblocking(true)?;
        let child = Command::new("/proc/self/exe")
            .arg("__exec")
            .arg(getpid().to_string())
            .arg(u8::from(settings.foreground).to_string())
            .args(command)
            .process_group(0)
            .spawn()?;
        let command = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let ladder = Ladder::new(settings.deadline, settings.grace, settings.reserve);
        let mut monitor = Self {
            zkr,
            unread: Vec::new(),
            is_attended: true,
            signals,
            settings,
            ladder,
            command,
            has_ended: false,
            was_killed: false,
        };
        monitor.tell(&format!("started {command}"));
        Ok(monitor)
    }

    fn watch(mut self) -> u8 {
        loop {
            self.reap();
            if self.has_ended && self.is_clean() {
                self.tell("done");
                return 0;
            }
            let until = self.climb();
            let pause = until.saturating_sub(now()).min(self.settings.wake);
            let pause = PollTimeout::try_from(pause.as_millis() + 1).unwrap_or(PollTimeout::ZERO);
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if self.is_attended {
                ready.push(PollFd::new(self.zkr.as_fd(), PollFlags::POLLIN));
            }
            let _ = poll(&mut ready, pause);
            self.hear_signals();
            self.hear_zkr();
        }
    }

    /// Does what the clock asks for; returns when it asks again.
    fn climb(&mut self) -> Duration {
        match self.ladder.step(now()) {
            Step::Wait(until) => until,
            Step::Warn => {
                self.tell("warned");
                let signal = Signal::try_from(self.settings.signal).unwrap_or(Signal::SIGTERM);
                self.send(signal);
                self.send(Signal::SIGCONT);
                now()
            }
            Step::Kill => {
                if !self.was_killed {
                    self.was_killed = true;
                    self.tell("killed");
                }
                // Again at each look: what forks while it is killed leaves children behind.
                self.send(Signal::SIGKILL);
                now() + self.settings.wake
            }
        }
    }

    fn send(&mut self, signal: Signal) {
        if signal_all(getpid(), self.command, signal) {
            self.tell("refused");
        }
    }

    fn reap(&mut self) {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        loop {
            let (pid, end) = match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, format!("exited {status}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("signalled {}", signal as i32)),
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    self.stopped(pid, signal);
                    continue;
                }
                Err(Errno::EINTR) | Ok(WaitStatus::Continued(_)) => continue,
                Ok(_) | Err(_) => return,
            };
            if pid == self.command && !self.has_ended {
                self.has_ended = true;
                self.tell(&end);
                self.end_the_rest();
            }
        }
    }

    /// A stopped holder blocks all others, so it goes on; but not where it would be stopped again at once.
    fn stopped(&mut self, pid: Pid, signal: Signal) {
        if pid == self.command && matches!(signal, Signal::SIGTSTP | Signal::SIGSTOP) {
            self.tell("continued");
            let _ = killpg(self.command, Signal::SIGCONT);
        }
    }

    /// The command has ended: what it left in its group or elsewhere is ended before the place is given up.
    fn end_the_rest(&mut self) {
        let rest = descendants(getpid());
        if rest.is_empty() || self.settings.leave_orphans {
            return;
        }
        let names: Vec<String> = rest.into_iter().take(5).map(name_of).collect();
        self.tell(&format!("left {}", names.join(", ")));
        if !self.ladder.has_begun() {
            self.ladder.orphaned(now());
            self.climb();
        }
    }

    fn is_clean(&self) -> bool {
        self.settings.leave_orphans || descendants(getpid()).is_empty()
    }

    fn hear_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok());
            if let Some(signal @ (Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM)) = signal {
                self.send(signal);
            }
        }
    }

    fn hear_zkr(&mut self) {
        let mut buffer = [0; 4096];
        while self.is_attended {
            match self.zkr.read(&mut buffer) {
                Ok(0) => self.is_attended = false,
                Ok(size) => self.unread.extend_from_slice(&buffer[..size]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.is_attended = false,
            }
            if !self.is_attended && !self.has_ended {
                self.ladder.orphaned(now());
            }
        }
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            self.obey(String::from_utf8_lossy(&line).trim_end());
        }
    }

    fn obey(&mut self, line: &str) {
        let (verb, number) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "deadline" => {
                if let Ok(deadline) = number.parse() {
                    self.ladder.prolong(Duration::from_nanos(deadline));
                }
            }
            "kill" => self.ladder.give_up(),
            // The ladder goes on by itself; a signal that was passed on does not begin it.
            "pass" | "first" if !self.has_ended => {
                let signal = number
                    .parse::<i32>()
                    .ok()
                    .and_then(|number| Signal::try_from(number).ok());
                match signal {
                    Some(signal) if verb == "pass" => self.send(signal),
                    Some(signal) => drop(nix::sys::signal::kill(self.command, signal)),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn tell(&mut self, line: &str) {
        if self.is_attended {
            // A reader that is stopped is no reason to wait: the ladder needs nobody.
            let _ = self.zkr.write_all(format!("{line}\n").as_bytes());
        }
    }
}
