//! `zkr value`: a shared value, or a counter.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use zookeeper_recipes::{Coordinator, SharedCounter, SharedValue, SharedValueError, Versioned};

use super::{ended_by_signal, look, payload};
use crate::failure::{Failure, chain};
use crate::globals::{Globals, parse_path};
use crate::output::{Output, bytes, clean, write_out};

#[derive(Debug, Subcommand)]
pub(crate) enum ValueCommand {
    /// Print the bytes as they are
    Get(GetArgs),
    /// Write a value
    Set(SetArgs),
    /// Print a line for each change
    Watch(GetArgs),
}

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// A SharedCounter
    Long,
    /// Curator's SharedCount
    Count,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The value, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Read it as a counter
    #[arg(long = "as", value_enum)]
    encoding: Option<Encoding>,
}

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// The value, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The text, - for standard input, @FILE for a file
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    /// Only if it has this version; -1 only if there is none
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    if_version: Option<i32>,
    /// Write it as a counter
    #[arg(long = "as", value_enum)]
    encoding: Option<Encoding>,
}

pub(crate) async fn run(globals: &Globals, command: &ValueCommand) -> Result<u8, Failure> {
    match command {
        ValueCommand::Get(args) => look(globals, async |zk| get(globals.output(), zk, args).await).await,
        ValueCommand::Set(args) => {
            let value = payload(args.value.as_deref())?;
            look(globals, async |zk| set(globals.output(), zk, args, value).await).await
        }
        ValueCommand::Watch(args) => {
            let zk = globals.connect().await?;
            let result = tokio::select! {
                watched = watch(globals.output(), &zk, args) => watched,
                signal = ended_by_signal() => Ok(crate::hold::signals::die_of(signal)),
            };
            zk.close().await;
            result
        }
    }
}

fn counter(zk: &Coordinator, path: &str, encoding: Encoding) -> Result<SharedCounter, Failure> {
    Ok(match encoding {
        Encoding::Long => SharedCounter::new(zk, path)?,
        Encoding::Count => SharedCounter::new_shared_count(zk, path)?,
    })
}

fn object(path: &str, value: &Versioned) -> Value {
    json!({"path": path, "value": bytes(&value.value), "version": value.version, "zxid": value.zxid})
}

async fn get(out: Output, zk: &Coordinator, args: &GetArgs) -> Result<u8, Failure> {
    if let Some(encoding) = args.encoding {
        let count = counter(zk, &args.path, encoding)?.get().await?;
        match out.json {
            true => out.object("value", json!({"path": args.path, "count": count})),
            false => out.line(&count.to_string()),
        }
        return Ok(0);
    }
    let value = SharedValue::new(zk, &args.path)?.get().await?;
    let Some(value) = value else {
        return Err(Failure::no(format!("{} has no value; zkr value set writes one", args.path)).at(&args.path));
    };
    match out.json {
        true => out.object("value", object(&args.path, &value)),
        false => write_out(&value.value),
    }
    Ok(0)
}

async fn set(out: Output, zk: &Coordinator, args: &SetArgs, bytes: Vec<u8>) -> Result<u8, Failure> {
    if let Some(encoding) = args.encoding {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let count: i64 = text
            .parse()
            .map_err(|_| Failure::usage(format!("{text:?} is no whole number")))?;
        let counter = counter(zk, &args.path, encoding)?;
        counter
            .set(count)
            .await
            .map_err(|error| Failure::layout(chain(&error)).at(&args.path))?;
        return written(out, &args.path, json!({"count": count}));
    }
    let value = SharedValue::new(zk, &args.path)?;
    if let Some(version) = args.if_version {
        let now = value.get().await?;
        let expected = now.filter(|now| now.version == version);
        let is_there = version != -1;
        if is_there && expected.is_none() {
            return Err(
                Failure::no(format!("{} does not have version {version}; read it again", args.path)).at(&args.path),
            );
        }
        let set = value.compare_and_set(expected.as_ref(), bytes).await;
        set.map_err(|error| wrong(error, &args.path))?;
    } else {
        value.set(bytes).await.map_err(|error| wrong(error, &args.path))?;
    }
    written(out, &args.path, json!({}))
}

fn written(out: Output, path: &str, mut object: Value) -> Result<u8, Failure> {
    if out.json {
        object["path"] = json!(path);
        out.object("value_set", object);
    }
    Ok(0)
}

fn wrong(error: SharedValueError, path: &str) -> Failure {
    let failure = match error {
        SharedValueError::Error(error) => error.into(),
        SharedValueError::Changed => Failure::no(format!("{path} was changed meanwhile; read it again")),
        other => Failure::lost(chain(&other)),
    };
    failure.at(path)
}

async fn watch(out: Output, zk: &Coordinator, args: &GetArgs) -> Result<u8, Failure> {
    if let Some(encoding) = args.encoding {
        let mut counts = counter(zk, &args.path, encoding)?.observe().await?;
        let mut next = Some(counts.current_and_update());
        while let Some(count) = next {
            let count = count?;
            match out.json {
                true => out.object("value", json!({"path": args.path, "count": count})),
                false => out.line(&count.to_string()),
            }
            next = counts.changed().await;
        }
        return Err(Failure::unreachable("the session is over; start again"));
    }
    let mut values = SharedValue::new(zk, &args.path)?.observe().await?;
    let mut next = Some(values.current_and_update());
    while let Some(value) = next {
        match (value, out.json) {
            (Some(value), true) => out.object("value", object(&args.path, &value)),
            (Some(value), false) => out.line(&format!("{} {}", value.version, clean(&value.value))),
            (None, true) => out.object("value", json!({"path": args.path, "value": null})),
            (None, false) => out.line("-"),
        }
        next = values.changed().await;
    }
    Err(Failure::unreachable("the session is over; start again"))
}
