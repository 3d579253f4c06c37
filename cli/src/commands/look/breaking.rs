//! `zkr break`: removes one contender, named by its token.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::Instant;
use zookeeper_recipes::inspect::{Inspector, PlaceInfo};
use zookeeper_recipes::{Contender, ContenderLayout, Coordinator, FencingToken};

use super::super::prompt;
use super::ask::{self, parse_token};
use super::{contender, held, name};
use crate::admin::Connections;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::session;
use crate::time::{parse_duration, show_age};

#[derive(Args, Debug)]
pub(crate) struct BreakArgs {
    /// The place, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// The contender; `zkr who` prints it
    #[arg(long, value_name = "T", value_parser = parse_token)]
    token: FencingToken,
    /// Ask it to make way first, and remove it only when so much time has passed
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    ask: Option<Duration>,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Although its owner is not told and goes on believing that it holds
    #[arg(long)]
    even_alive: bool,
}

impl BreakArgs {
    /// As `zkr break PATH --token T`, which shows what it would do and asks.
    pub(crate) fn of(path: &str, token: FencingToken) -> Self {
        Self {
            path: path.to_owned(),
            token,
            ask: None,
            dry_run: false,
            yes: false,
            even_alive: false,
        }
    }
}

pub(crate) async fn run(globals: &Globals, args: &BreakArgs) -> Result<u8, Failure> {
    let zk = globals.connect().await?;
    let result = plan_and_do(globals, &zk, args).await;
    zk.close().await;
    result
}

async fn plan_and_do(globals: &Globals, zk: &Coordinator, args: &BreakArgs) -> Result<u8, Failure> {
    let (path, out) = (&args.path, globals.output());
    let inspector = Inspector::new(zk);
    let place = look(globals, &inspector, path).await?;
    let Some(target) = place.as_ref().and_then(|place| place.contender(args.token)).cloned() else {
        return Err(gone(path, args.token, place.as_ref()));
    };
    let Some(place) = place else {
        return Err(gone(path, args.token, None));
    };
    if !place.certain && target.layout != ContenderLayout::Ours {
        return Err(Failure::layout(format!(
            "{path} may be a {} ({}); only what is certain is broken",
            place.kind, place.because
        ))
        .at(path));
    }
    let is_told = target.layout == ContenderLayout::Ours;
    explain(globals, &place, &target, is_told);
    if let Some(connections) = Connections::ask(globals).await? {
        out.say(&connections.text(target.session_id));
    }
    if args.dry_run {
        if out.json {
            let target = contender(&place, &target);
            out.object(
                "break",
                json!({"path": path, "target": target, "done": false, "dry_run": true}),
            );
        }
        return Ok(0);
    }
    if !is_told && !args.even_alive {
        return Err(Failure::usage(format!(
            "{} would not be told and would go on; stop that process first, then give --even-alive",
            name(&target)
        ))
        .at(path));
    }
    confirm(args).await?;
    if let Some(wait) = args.ask
        && ask_first(globals, zk, (&place, &target), wait).await?
    {
        out.line("it made way; nothing was removed");
        return Ok(0);
    }
    // What was shown is what is broken.
    let again = look(globals, &inspector, path).await?;
    let head = |place: &PlaceInfo| place.contenders.first().map(|one| one.token);
    let is_same = again
        .as_ref()
        .is_some_and(|again| again.contender(args.token).is_some() && head(again) == head(&place));
    if !is_same {
        return Err(gone(path, args.token, again.as_ref()));
    }
    if !inspector.break_contender(&target, args.token).await? {
        return Err(gone(path, args.token, None));
    }
    report(globals, args, &place, &target, look(globals, &inspector, path).await?);
    Ok(0)
}

/// Asks the target to make way; whether it did in time.
async fn ask_first(
    globals: &Globals,
    zk: &Coordinator,
    (place, target): (&PlaceInfo, &Contender),
    wait: Duration,
) -> Result<bool, Failure> {
    ask::check(place, target)?;
    let reason = "it is broken otherwise";
    globals
        .bounded(async { Ok(ask::request(zk, place, target, reason).await?) })
        .await?;
    let inspector = Inspector::new(zk);
    let began = Instant::now();
    loop {
        let seen = look(globals, &inspector, &place.path).await?;
        if seen.is_none_or(|seen| seen.contender(target.token).is_none()) {
            return Ok(true);
        }
        if began.elapsed() >= wait {
            return Ok(false);
        }
        tokio::time::sleep(ask::EVERY).await;
    }
}

async fn look(globals: &Globals, inspector: &Inspector, path: &str) -> Result<Option<PlaceInfo>, Failure> {
    globals.bounded(async { Ok(inspector.line(path).await?) }).await
}

fn gone(path: &str, token: FencingToken, now: Option<&PlaceInfo>) -> Failure {
    let holder = now.and_then(|place| place.holders().next());
    let now = match holder {
        Some(one) => format!("{path} is now held by {} (token {})", name(one), one.token),
        None => format!("nobody holds {path} now"),
    };
    Failure::no(format!(
        "token {token} is gone, or the line has changed; {now}; nothing was done"
    ))
    .at(path)
}

fn explain(globals: &Globals, place: &PlaceInfo, target: &Contender, is_told: bool) {
    let out = globals.output();
    let state = match target.is_holder {
        true => format!("holds {}", held(place, target)),
        false => format!("waits, {} ahead", target.position),
    };
    out.say(&format!(
        "{}: {} (token {}, session {}, joined {} ago) {state}",
        place.path,
        name(target),
        target.token,
        session(target.session_id),
        show_age(target.since)
    ));
    let next = place.contenders.iter().find(|one| one.position > target.position);
    if let (true, Some(next)) = (target.is_holder, next) {
        out.say(&format!("next is {} (token {})", name(next), next.token));
    }
    out.say(match is_told {
        true => "its owner is told at once, and its work is dropped",
        false => "its owner is NOT told and goes on believing that it holds",
    });
}

/// The last digits of the token, typed by one who has read what is shown.
async fn confirm(args: &BreakArgs) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on; look with --dry-run, then give --yes",
        ));
    }
    let token = args.token.to_string();
    let digits = &token[token.len().saturating_sub(4)..];
    let question = format!("Remove it? Type the last {} digits of the token: ", digits.len());
    if prompt(question).await == digits {
        Ok(())
    } else {
        Err(Failure::no("nothing was done"))
    }
}

fn report(globals: &Globals, args: &BreakArgs, before: &PlaceInfo, target: &Contender, after: Option<PlaceInfo>) {
    let out = globals.output();
    let next = after.as_ref().and_then(|place| place.holders().next());
    if out.json {
        let target = contender(before, target);
        let mut object = json!({"path": args.path, "target": target, "done": true, "dry_run": false});
        if let (Some(place), Some(next)) = (&after, next) {
            object["next"] = contender(place, next);
        }
        out.object("break", object);
        return;
    }
    out.line(&match next {
        Some(next) => format!(
            "removed; now held by {} (token {}), waited {}",
            name(next),
            next.token,
            show_age(next.since)
        ),
        None => "removed; nobody waits".to_owned(),
    });
}
