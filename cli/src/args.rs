//! The command line.

use clap::{Parser, Subcommand};

use crate::commands::look::{ask, breaking, doctor, ls, watch, who};
use crate::commands::top;
use crate::commands::{barrier, group, leader, queue, server, value};
use crate::globals::Globals;
use crate::hold::args::{ElectArgs, HoldArgs, LockArgs, PermitArgs};

const EXAMPLES: &str = "\
Examples:
  zkr -c zk1:2181,zk2:2181 lock /jobs/nightly --wait 30s -- ./settle.sh
  zkr queue push /pay/orders --key 4711 '{\"amount\": 3}'
  zkr server start -- ./integration-test.sh

Exit status:
  0 done, 1 the answer is no, 64 usage, 65 something else stands there, 69 unreachable,
  70 a bug, 75 lost while the command ran, 77 no rights, 126 and 127 as a shell, 128+n by signal n";

/// Runs commands under ZooKeeper locks, shows who holds and who waits, drives work queues
#[derive(Debug, Parser)]
#[command(name = "zkr", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hold a lock while a command runs
    #[command(after_help = "Example: zkr lock /jobs/nightly --wait 30s --reason 'settle' -- ./settle.sh")]
    Lock(LockArgs),
    /// Hold a read lock while a command runs
    #[command(after_help = "Example: zkr read /config -- ./report.sh")]
    Read(HoldArgs),
    /// Hold a write lock while a command runs
    #[command(after_help = "Example: zkr write /config -n -- ./migrate.sh")]
    Write(HoldArgs),
    /// Hold permits of a semaphore while a command runs
    #[command(after_help = "Example: zkr permit /bank --of 3 -- ./transfer.sh")]
    Permit(PermitArgs),
    /// Lead while a command runs
    #[command(after_help = "Example: zkr elect /scheduler --again -- ./lead.sh")]
    Elect(ElectArgs),
    /// Show what stands in a tree: locks, elections, queues
    #[command(after_help = "Example: zkr ls /pay --waiters 1 --sort wait")]
    Ls(ls::LsArgs),
    /// Show who holds a place and who waits
    #[command(after_help = "Example: zkr who /pay/accounts/17")]
    Who(who::WhoArgs),
    /// Print a line for each event at a place, until a signal comes
    #[command(after_help = "Example: zkr watch /pay/leader")]
    Watch(watch::WatchArgs),
    /// Show the longest lines, the oldest holds and the queues of a tree on a live screen
    #[command(after_help = "Example: zkr top /pay --every 5s")]
    Top(top::TopArgs),
    /// Ask the holder to make way
    #[command(after_help = "Example: zkr ask /pay/accounts/17 --reason deploy --wait 10s")]
    Ask(ask::AskArgs),
    /// Remove one contender, named by its token
    #[command(after_help = "Example: zkr break /pay/accounts/17 --token 21474839063 --dry-run")]
    Break(breaking::BreakArgs),
    /// Look for dead-locks and for what will go wrong
    #[command(after_help = "Example: zkr doctor /pay --format dot | dot -Tsvg > waits.svg")]
    Doctor(doctor::DoctorArgs),
    /// Show who leads
    #[command(after_help = "Example: zkr leader /scheduler")]
    Leader(leader::LeaderArgs),
    /// Show the members of a group
    #[command(after_help = "Example: zkr group /workers")]
    Group(group::GroupArgs),
    /// Read, write or follow a value
    #[command(subcommand, after_help = "Example: zkr value set /config/limit 30")]
    Value(value::ValueCommand),
    /// Look at, set, lift or wait for a barrier
    #[command(subcommand, after_help = "Example: zkr barrier wait /freeze --wait 1m")]
    Barrier(barrier::BarrierCommand),
    /// Push to, pop from and repair a work queue
    #[command(subcommand, after_help = "Example: zkr queue pop /pay/orders -- ./handle.sh")]
    Queue(queue::QueueCommand),
    /// The embedded server, for trying
    #[command(subcommand, after_help = "Example: zkr server start --listen 127.0.0.1:0")]
    Server(server::ServerCommand),
    /// Print the completion of a shell
    #[command(after_help = "Example: zkr completion bash > /etc/bash_completion.d/zkr")]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them to a directory
    #[command(after_help = "Example: zkr man /usr/local/share/man/man1")]
    Man {
        /// Where the pages go
        directory: Option<std::path::PathBuf>,
    },
}
