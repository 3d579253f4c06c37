//! `zkr top`: the longest lines, the oldest holds and the queues of a tree.
//!
//! * `board` – what was seen, and how it has changed, pure
//! * `scan` – reads the tree again and again, within a budget of requests
//! * `plain` – one look as text
//! * `view` – what a user has chosen, `keys` – by which keys
//! * `screen`, `overlay` – draw it, pure; `terminal` – the loop between them
//! * `dialog` – what leaves the screen

mod board;
mod dialog;
mod keys;
mod overlay;
mod plain;
mod scan;
mod screen;
mod terminal;
mod view;

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::Coordinator;

use self::board::Board;
use self::scan::Scanner;
use super::ended_by_signal;
use super::look::ls;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::time::parse_duration;

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// The tree, from the chroot
    #[arg(value_parser = parse_path, default_value = "/")]
    tree: String,
    /// How long to wait between two looks
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = parse_duration)]
    every: Duration,
    /// Requests per look; a tree that needs more is walked as a whole so rarely that the mean stays below it
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..))]
    budget: u64,
    /// Look once and print it, as is done where the output is no terminal
    #[arg(long)]
    once: bool,
}

/// Not faster than that.
const LEAST: Duration = Duration::from_millis(200);

pub(crate) async fn run(globals: &Globals, args: &TopArgs) -> Result<u8, Failure> {
    let zk = globals.connect().await?;
    let is_screen = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let shown = if args.once || (!globals.json && !is_screen) {
        once(globals, args, &zk).await
    } else if globals.json {
        tokio::select! {
            printed = objects(globals, args, &zk) => printed,
            signal = ended_by_signal() => Ok(crate::hold::signals::die_of(signal)),
        }
    } else {
        terminal::run(globals, args, &zk).await
    };
    zk.close().await;
    shown
}

async fn once(globals: &Globals, args: &TopArgs, zk: &Coordinator) -> Result<u8, Failure> {
    let board = RefCell::new(Board::default());
    let mut scanner = Scanner::new(zk, &args.tree, args.budget);
    globals.bounded(scanner.look(&board)).await?;
    if globals.json {
        globals.output().object("ls", object(args, &board.borrow()));
    } else {
        globals.output().line(plain::text(args, &board.borrow()).trim_end());
    }
    Ok(0)
}

/// `--json`: an object for each look.
async fn objects(globals: &Globals, args: &TopArgs, zk: &Coordinator) -> Result<u8, Failure> {
    let board = RefCell::new(Board::default());
    let mut scanner = Scanner::new(zk, &args.tree, args.budget);
    loop {
        globals.bounded(scanner.look(&board)).await?;
        globals.output().object("ls", object(args, &board.borrow()));
        tokio::time::sleep(args.every.max(LEAST)).await;
    }
}

fn object(args: &TopArgs, board: &Board) -> Value {
    let all: Vec<Value> = board.places().map(ls::object).collect();
    json!({
        "tree": args.tree, "complete": true, "places": all, "sessions": board.sessions(), "requests": board.requests,
    })
}
