//! The command while it runs, as `zkr` sees it: the monitor is told how long the lease lasts, and tells what happens.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::args::ProcessArgs;
use super::ladder::{largest_grace, reserve};
use super::monitor::Settings;
use super::process::{now, signal_all};
use super::signals::Signals;
use super::stub::{is_foreground, take_terminal};
use crate::failure::Failure;
use crate::output::Output;
use crate::time::show_precise;

/// What is run, and how.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    /// What is held, for messages.
    pub(crate) name: &'a str,
    pub(crate) command: &'a [OsString],
    pub(crate) environment: Vec<(&'static str, String)>,
    /// What the command reads; `zkr`'s own standard input if there is none.
    pub(crate) input: Option<Vec<u8>>,
    /// Whether what the command writes is kept instead of passed on.
    pub(crate) captures: bool,
    pub(crate) process: &'a ProcessArgs,
    pub(crate) grace: Duration,
    /// The negotiated session timeout.
    pub(crate) timeout: Duration,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Exited(i32),
    Signalled(i32),
    /// The monitor was killed, and the command with it.
    Unknown,
}

/// What is known when it has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: How,
    /// Why the hold was lost, or was about to be.
    pub(crate) lost: Option<String>,
    /// Whether SIGKILL was sent.
    pub(crate) killed: bool,
    /// Whether processes of it were left when it had ended.
    pub(crate) left: bool,
    /// What it wrote, where that is kept.
    pub(crate) written: Vec<u8>,
}

/// What is held: how long it lasts, when it ends, when another one asks for it.
pub(crate) trait Lease {
    fn remaining(&self) -> Duration;
    /// Waits until it is lost; returns why, and whether that is by an operator or by the session.
    fn lost(&self) -> impl Future<Output = String>;
    /// Waits until another one asks for it; returns what to say and whether the command is told.
    fn asked(&self) -> impl Future<Output = (String, bool)>;
}

/// The grace of a command: the one asked for if the session timeout carries it.
pub(crate) fn grace(asked: Option<Duration>, timeout: Duration, margin: Option<Duration>) -> Result<Duration, Failure> {
    let most = largest_grace(timeout, margin);
    let grace = asked.unwrap_or(timeout / 10);
    if grace <= most {
        return Ok(grace);
    }
    let needed = grace.as_secs_f64() / (most.as_secs_f64() / timeout.as_secs_f64()).max(0.01);
    Err(Failure::usage(format!(
        "--grace {:.1}s does not fit a session of {:.1}s (at most {:.2}s); use --session-timeout {}s",
        grace.as_secs_f64(),
        timeout.as_secs_f64(),
        most.as_secs_f64(),
        needed.ceil()
    )))
}

/// Waits until the lease carries a command: one that would be told to stop at once is not begun.
pub(crate) async fn until_startable(lease: &impl Lease, grace: Duration, timeout: Duration) {
    let needed = grace + reserve(timeout) + timeout / 10;
    while lease.remaining() < needed {
        tokio::select! {
            _ = lease.lost() => return,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// Runs a command under a lease until it and all of its processes have ended.
pub(crate) async fn run(
    spec: &Spec<'_>,
    lease: &impl Lease,
    signals: &mut Signals,
    out: Output,
) -> Result<Ended, Failure> {
    let is_foreground = is_foreground();
    let broken = |error: std::io::Error| Failure::internal(format!("cannot start the monitor: {error}"));
    let started = start(spec, lease, is_foreground).await.map_err(broken)?;
    let (mut child, socket, input, output) = (started.child, started.socket, started.input, started.output);
    let feed = async {
        if let (Some(mut input), Some(bytes)) = (input, &spec.input) {
            // A command that does not read all of it is free to do so.
            let _ = input.write_all(bytes).await;
        }
    };
    let collect = async {
        let mut written = Vec::new();
        if let Some(mut output) = output {
            let _ = output.read_to_end(&mut written).await;
        }
        written
    };
    let (events, orders) = socket.into_split();
    let mut running = Running {
        spec,
        out,
        orders,
        events: BufReader::new(events),
        command: None,
        ended: Ended {
            how: How::Unknown,
            lost: None,
            killed: false,
            left: false,
            written: Vec::new(),
        },
        has_ended: false,
        is_done: false,
    };
    let (_, written, ()) = futures::join!(feed, collect, running.watch(lease, signals));
    running.ended.written = written;
    let _ = child.wait().await;
    if !running.is_done {
        running.kill_the_rest().await;
    }
    if is_foreground {
        take_terminal(getpgrp());
    }
    Ok(running.ended)
}

/// A monitor that has called back.
struct Started {
    child: Child,
    socket: UnixStream,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
}

/// Starts the monitor and waits until it has called back.
async fn start(spec: &Spec<'_>, lease: &impl Lease, foreground: bool) -> std::io::Result<Started> {
    let name = format!("zkr-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    // Orphans of a monitor that was killed come to us.
    nix::sys::prctl::set_child_subreaper(true)?;
    let at = now();
    let settings = Settings {
        deadline: at + lease.remaining(),
        grace: spec.grace,
        reserve: reserve(spec.timeout),
        wake: spec.timeout / 100,
        signal: spec.process.signal,
        foreground,
        leave_orphans: spec.process.leave_orphans,
    };
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("__monitor")
        .arg(name)
        .arg(settings.encode())
        .args(spec.command);
    command.envs(spec.environment.iter().map(|(name, value)| (name, value)));
    if !spec.process.pass_auth {
        command.env_remove("ZOOKEEPER_AUTH").env_remove("ZOOKEEPER_SASL");
    }
    if spec.input.is_some() {
        command.stdin(Stdio::piped());
    }
    if spec.captures {
        command.stdout(Stdio::piped());
    }
    let mut child = command.process_group(0).spawn()?;
    // Taken before anything waits for the child, which would close it.
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let status = tokio::select! {
        biased;
        socket = accept(&listener, pid) => {
            let socket = socket?;
            return Ok(Started { child, socket, input, output });
        }
        status = child.wait() => status?,
    };
    // A monitor may be done before its call is taken.
    match tokio::time::timeout(Duration::from_millis(100), accept(&listener, pid)).await {
        Ok(socket) => {
            let socket = socket?;
            Ok(Started {
                child,
                socket,
                input,
                output,
            })
        }
        Err(_) => Err(std::io::Error::other(format!("it ended with {status}"))),
    }
}

/// The call of the monitor: the name can be seen by all users of the machine, so the process is checked.
async fn accept(listener: &UnixListener, monitor: Option<i32>) -> std::io::Result<UnixStream> {
    loop {
        let (socket, _) = listener.accept().await?;
        let peer = socket.peer_cred()?.pid();
        if peer.is_some() && peer == monitor {
            return Ok(socket);
        }
    }
}

struct Running<'a> {
    spec: &'a Spec<'a>,
    out: Output,
    orders: OwnedWriteHalf,
    events: BufReader<OwnedReadHalf>,
    command: Option<Pid>,
    ended: Ended,
    has_ended: bool,
    is_done: bool,
}

impl Running<'_> {
    async fn watch(&mut self, lease: &impl Lease, signals: &mut Signals) {
        let mut tick = tokio::time::interval(self.spec.timeout / 20);
        let mut forwarded = Signals::forwarded().ok();
        let (mut is_lost, mut is_asked) = (false, false);
        let mut line = Vec::new();
        let (lost, asked) = (lease.lost(), lease.asked());
        tokio::pin!(lost, asked);
        loop {
            tokio::select! {
                biased;
                read = self.events.read_until(b'\n', &mut line) => {
                    match read {
                        Ok(size) if size > 0 => {}
                        _ => return,
                    }
                    let event = String::from_utf8_lossy(&line).trim_end().to_owned();
                    line.clear();
                    self.hear(&event, lease);
                    if self.is_done {
                        return;
                    }
                }
                reason = &mut lost, if !is_lost => {
                    is_lost = true;
                    self.ended.lost = Some(reason);
                    self.order("kill").await;
                }
                (what, tells) = &mut asked, if !is_asked => {
                    is_asked = true;
                    self.out.say(&what);
                    if tells {
                        self.order(&format!("pass {}", self.spec.process.signal)).await;
                    }
                }
                signal = signals.recv() => self.order(&format!("pass {}", signal as i32)).await,
                signal = next(&mut forwarded) => self.order(&format!("first {}", signal as i32)).await,
                _ = tick.tick(), if !is_lost => {
                    // First the clock, then the lease: what passes between them makes the deadline earlier.
                    let at = now();
                    let deadline = (at + lease.remaining()).as_nanos();
                    self.order(&format!("deadline {deadline}")).await;
                }
            }
        }
    }

    async fn order(&mut self, line: &str) {
        let _ = self.orders.write_all(format!("{line}\n").as_bytes()).await;
    }

    fn hear(&mut self, event: &str, lease: &impl Lease) {
        let (verb, rest) = event.split_once(' ').unwrap_or((event, ""));
        let name = self.spec.name;
        let command = self
            .spec
            .command
            .first()
            .map(|word| word.to_string_lossy().into_owned());
        let command = command.unwrap_or_default();
        let number = || rest.parse::<i32>().unwrap_or_default();
        match verb {
            "started" => self.command = Some(Pid::from_raw(number())),
            "exited" => (self.ended.how, self.has_ended) = (How::Exited(number()), true),
            "signalled" => (self.ended.how, self.has_ended) = (How::Signalled(number()), true),
            "warned" if !self.has_ended => {
                let left = show_precise(lease.remaining());
                self.ended.lost.get_or_insert_with(|| "lease_lapsed".to_owned());
                let signal = Signal::try_from(self.spec.process.signal).map_or("SIGTERM", Signal::as_str);
                self.out.say(&format!(
                    "{name} is being lost (no quorum; {left} are left): {signal} to {command}"
                ));
            }
            "killed" => {
                self.ended.killed = true;
                if !self.has_ended {
                    self.ended.lost.get_or_insert_with(|| "lease_lapsed".to_owned());
                    self.out.say(&format!(
                        "{name} is lost: SIGKILL to {command} and all of its processes"
                    ));
                }
            }
            "left" => {
                self.ended.left = true;
                self.out.say(&format!(
                    "{command} has ended and left {rest}; ended before {name} is released"
                ));
            }
            "continued" => {
                self.out.say(&format!(
                    "{command} was stopped and goes on: a stopped holder of {name} blocks all others"
                ));
            }
            "refused" => self.out.say(&format!(
                "may not signal a process of {command}; run zkr itself with those rights: sudo zkr ... -- {command}"
            )),
            "done" => self.is_done = true,
            _ => {}
        }
    }

    /// The monitor was killed, and the command with it. What else is left is killed before the release.
    async fn kill_the_rest(&mut self) {
        self.out
            .say("the monitor of the command was killed: SIGKILL to all that it left");
        let Some(command) = self.command else { return };
        let own = nix::unistd::getpid();
        loop {
            let _ = signal_all(own, command, Signal::SIGKILL);
            if super::process::descendants(own).is_empty() && killpg(command, None).is_err() {
                return;
            }
            // They are our children now, and count as members of the group until they are reaped.
            let group = Pid::from_raw(-command.as_raw());
            let reap = || waitpid(group, Some(WaitPidFlag::WNOHANG));
            while reap().is_ok_and(|status| status != WaitStatus::StillAlive) {}
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.recv().await,
        None => std::future::pending().await,
    }
}
