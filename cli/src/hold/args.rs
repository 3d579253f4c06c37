//! The options of the commands that hold a place.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::globals::parse_path;
use crate::time::parse_duration;

/// What is held.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Of further paths all are held, or none.
    Lock {
        layout: LockLayout,
        also: Vec<String>,
    },
    Read,
    Write,
    Permit {
        of: u32,
        take: u32,
    },
    Elect {
        layout: ElectLayout,
        again: bool,
    },
}

impl Place {
    /// The value of `ZK_LOCK_MODE`.
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Lock { .. } | Self::Write => "exclusive",
            Self::Read => "shared",
            Self::Permit { .. } => "permit",
            Self::Elect { .. } => "leader",
        }
    }

    /// The paths that are held beside the first one.
    pub(crate) fn also(&self) -> &[String] {
        match self {
            Self::Lock { also, .. } => also,
            _ => &[],
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LockLayout {
    /// As this crate and Apache Curator name their nodes
    #[default]
    Curator,
    /// As kazoo names them
    Kazoo,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ElectLayout {
    /// Curator's LeaderLatch
    #[default]
    Latch,
    /// Curator's LeaderSelector
    Selector,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnAsk {
    /// Say so on standard error
    #[default]
    Warn,
    /// Send the first signal to the command
    Term,
    /// Do nothing
    Ignore,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct LockArgs {
    /// Whose node names to use
    #[arg(long, value_enum, default_value_t)]
    pub(crate) layout: LockLayout,
    /// A further lock: all are acquired together, or none. Repeat it for more; two zkr can not dead-lock by their order
    #[arg(long, value_name = "PATH", value_parser = parse_path)]
    pub(crate) also: Vec<String>,
    #[command(flatten)]
    pub(crate) hold: HoldArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PermitArgs {
    /// How many permits there are; all users agree on one number
    #[arg(long, value_name = "N")]
    pub(crate) of: u32,
    /// How many to take
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub(crate) take: u32,
    #[command(flatten)]
    pub(crate) hold: HoldArgs,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ElectArgs {
    /// Whose node names to use
    #[arg(long, value_enum, default_value_t)]
    pub(crate) layout: ElectLayout,
    /// Campaign again when the command has ended with 0
    #[arg(long)]
    pub(crate) again: bool,
    #[command(flatten)]
    pub(crate) hold: HoldArgs,
}

/// Options of all commands that hold.
#[derive(Args, Clone, Debug)]
pub(crate) struct HoldArgs {
    /// The place, from the chroot
    #[arg(value_parser = parse_path)]
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    /// The exit status when the place was not acquired
    #[arg(short = 'E', long, value_name = "N", default_value_t = 1)]
    pub(crate) exit_code: u8,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// What to do when another one asks for the place
    #[arg(long, value_enum, default_value_t)]
    pub(crate) on_ask: OnAsk,
    /// Why; others see it in `zkr who`
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Who; by default host and process
    #[arg(long, value_name = "TEXT")]
    pub(crate) id: Option<String>,
    /// Hold until standard input ends or a signal comes, without a command
    #[arg(long, conflicts_with = "command")]
    pub(crate) hold: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD", required_unless_present = "hold")]
    pub(crate) command: Vec<OsString>,
}

/// How long to wait.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitArgs {
    /// Give up after that time
    #[arg(long, value_name = "DUR", value_parser = parse_duration, conflicts_with = "no_wait")]
    wait: Option<Duration>,
    /// Do not wait
    #[arg(short = 'n', long)]
    no_wait: bool,
}

impl WaitArgs {
    /// None for ever, zero not at all.
    pub(crate) fn limit(&self) -> Option<Duration> {
        if self.no_wait { Some(Duration::ZERO) } else { self.wait }
    }
}

/// How the command is run and ended.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProcessArgs {
    /// Between the first signal and SIGKILL; by default a tenth of the session timeout
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// The first signal
    #[arg(long, value_name = "SIG", default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: i32,
    /// A file for how it ended, as one line of JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Release although processes of the command's group are left
    #[arg(long)]
    pub(crate) leave_orphans: bool,
    /// Let the command inherit ZOOKEEPER_AUTH and ZOOKEEPER_SASL
    #[arg(long)]
    pub(crate) pass_auth: bool,
}

/// `TERM`, `SIGTERM` or `15`.
fn parse_signal(text: &str) -> Result<i32, String> {
    #[cfg(unix)]
    {
        use nix::sys::signal::Signal;
        let number = text.parse::<i32>().ok();
        let named = if text.starts_with("SIG") {
            text.to_owned()
        } else {
            format!("SIG{text}")
        };
        let signal = number
            .and_then(|number| Signal::try_from(number).ok())
            .or_else(|| named.parse::<Signal>().ok());
        signal
            .map(|signal| signal as i32)
            .ok_or_else(|| format!("{text:?} is no signal; write TERM, INT, USR1 or a number"))
    }
    #[cfg(not(unix))]
    Err(format!("{text:?}: there are no signals here"))
}
