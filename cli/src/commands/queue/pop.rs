//! `zkr queue pop`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use zookeeper_recipes::queue::{AckError, Delivery, WorkQueue};
use zookeeper_recipes::{Coordinator, TimeoutError};

use super::peek::{Peek, parse_peek};
use crate::failure::{Failure, INTERNAL, chain};
use crate::globals::{Globals, parse_path};
use crate::hold::args::{ProcessArgs, WaitArgs};
use crate::hold::running::{self, Ended, How, Lease, Spec};
use crate::hold::signals::{Signals, die_of};
use crate::output::{bytes, write_out};

#[derive(Args, Debug)]
pub(crate) struct PopArgs {
    /// The queue, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    #[command(flatten)]
    wait: WaitArgs,
    /// Go on with the next item, until a signal comes; the one in hand is finished
    #[arg(long, requires = "command")]
    repeat: bool,
    /// Keep what the command writes as the result of the item
    #[arg(long, requires = "command")]
    result: bool,
    /// Claim nothing: write the payload of the item that is next; with N, list the next N items
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "",
          conflicts_with_all = ["wait", "no_wait", "repeat", "result", "command"], value_parser = parse_peek)]
    peek: Option<Peek>,
    #[command(flatten)]
    process: ProcessArgs,
    /// A command: the payload is its standard input, its status 0 acknowledges the item
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) async fn run(globals: &Globals, args: &PopArgs) -> Result<u8, Failure> {
    if let Some(peek) = args.peek {
        return peek.run(globals, &args.path).await;
    }
    let mut signals = Signals::ending().map_err(|error| Failure::internal(format!("no signals: {error}")))?;
    let zk = globals.connect().await?;
    let result = pop_all(globals, &zk, args, &mut signals).await;
    zk.close().await;
    result
}

async fn pop_all(globals: &Globals, zk: &Coordinator, args: &PopArgs, signals: &mut Signals) -> Result<u8, Failure> {
    let queue = WorkQueue::new(zk, &args.path)?;
    loop {
        let delivery = tokio::select! {
            delivery = next(&queue, args) => delivery?,
            signal = signals.recv() => {
                queue.close().await;
                return Ok(if args.repeat { 0 } else { die_of(signal as i32) });
            }
        };
        let (status, stops) = match args.command.is_empty() {
            true => (print(globals, delivery).await?, true),
            false => handle(globals, zk, args, delivery, signals).await?,
        };
        if !args.repeat || stops {
            queue.close().await;
            return Ok(status);
        }
    }
}

async fn next(queue: &WorkQueue, args: &PopArgs) -> Result<Delivery, Failure> {
    let empty = || Failure::no(format!("{} has nothing to pop", args.path)).at(&args.path);
    match args.wait.limit() {
        None => Ok(queue.pop().await?),
        Some(Duration::ZERO) => queue.try_pop().await?.ok_or_else(empty),
        Some(limit) => queue.pop_timeout(limit).await.map_err(|error| match error {
            TimeoutError::Error(error) => error.into(),
            TimeoutError::Elapsed { connected: true, .. } => empty(),
            other => Failure::unreachable(chain(&other)).at(&args.path),
        }),
    }
}

/// The payload to standard output; acknowledged once that has taken it.
async fn print(globals: &Globals, delivery: Delivery) -> Result<u8, Failure> {
    let out = globals.output();
    match out.json {
        true => out.object(
            "queue_item",
            json!({
                "id": delivery.id().to_string(), "status": "claimed", "attempt": delivery.attempt(),
                "priority": delivery.priority(), "key": delivery.key(), "group": delivery.group(),
                "payload": bytes(delivery.payload()),
            }),
        ),
        false => write_out(delivery.payload()),
    }
    settled(delivery.ack().await)?;
    Ok(0)
}

fn settled(outcome: Result<(), AckError>) -> Result<(), Failure> {
    outcome.map_err(|error| match error {
        AckError::Error(error) => error.into(),
        other => Failure::lost(chain(&other)),
    })
}

/// Runs the command on one item; also tells whether a signal has asked to stop.
async fn handle(
    globals: &Globals,
    zk: &Coordinator,
    args: &PopArgs,
    delivery: Delivery,
    signals: &mut Signals,
) -> Result<(u8, bool), Failure> {
    let timeout = zk.client().await?.session_timeout();
    let grace = running::grace(args.process.grace, timeout, globals.lease_margin)?;
    let claim = Claim(&delivery);
    running::until_startable(&claim, grace, timeout).await;
    let spec = Spec {
        name: &args.path,
        command: &args.command,
        environment: vec![
            ("ZK_ITEM_ID", delivery.id().to_string()),
            ("ZK_ITEM_ATTEMPT", delivery.attempt().to_string()),
            ("ZK_ITEM_KEY", delivery.key().unwrap_or_default().to_owned()),
            ("ZK_ITEM_TOKEN", delivery.token().to_string()),
            ("ZK_ITEM_QUEUE", args.path.clone()),
        ],
        input: Some(delivery.payload().to_vec()),
        captures: args.result,
        process: &args.process,
        grace,
        timeout,
    };
    let ended = running::run(&spec, &claim, signals, globals.output()).await?;
    if ended.lost.is_some() || !delivery.is_held() {
        return Err(Failure::lost(format!(
            "item {} of {} was lost before the command ended; it is delivered again",
            delivery.id(),
            args.path
        ))
        .at(&args.path));
    }
    settle(args, delivery, ended).await
}

async fn settle(args: &PopArgs, delivery: Delivery, ended: Ended) -> Result<(u8, bool), Failure> {
    match ended.how {
        How::Exited(0) => {
            settled(match args.result {
                true => delivery.ack_with(ended.written).await,
                false => delivery.ack().await,
            })?;
            Ok((0, false))
        }
        How::Exited(status) => {
            settled(delivery.nack_because(format!("status {status}")).await)?;
            Ok((u8::try_from(status).unwrap_or(u8::MAX), false))
        }
        How::Signalled(signal) => {
            settled(delivery.nack_because(format!("signal {signal}")).await)?;
            Ok((u8::try_from(128 + signal).unwrap_or(u8::MAX), true))
        }
        How::Unknown => {
            settled(delivery.nack_because("the monitor was killed").await)?;
            Ok((INTERNAL, true))
        }
    }
}

struct Claim<'a>(&'a Delivery);

impl Lease for Claim<'_> {
    fn remaining(&self) -> Duration {
        self.0.remaining()
    }

    async fn lost(&self) -> String {
        match self.0.run_until_lost(std::future::pending::<()>()).await {
            Ok(()) => String::new(),
            Err(lost) => lost.reason.to_string(),
        }
    }

    async fn asked(&self) -> (String, bool) {
        std::future::pending().await
    }
}
