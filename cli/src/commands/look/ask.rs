//! `zkr ask`: asks the holder to make way.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;
use zookeeper_recipes::inspect::{Inspector, PlaceInfo, PlaceKind};
use zookeeper_recipes::{
    Contender, ContenderLayout, Coordinator, Error, FairLock, FencingToken, LeaderElection, RwLock,
};

use super::{contender, name};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::time::{parse_duration, show_precise};

#[derive(Args, Debug)]
pub(crate) struct AskArgs {
    /// The place, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// Only the holder with this token
    #[arg(long, value_name = "T", value_parser = parse_token)]
    token: Option<FencingToken>,
    /// Why; the holder sees it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Wait so long for it to go
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    wait: Option<Duration>,
}

impl AskArgs {
    /// Asks one holder of a place.
    pub(crate) fn of(path: &str, token: FencingToken, reason: &str) -> Self {
        Self {
            path: path.to_owned(),
            token: Some(token),
            reason: reason.to_owned(),
            wait: None,
        }
    }
}

/// Decimal, or hexadecimal as ZooKeeper's shell prints `cZxid`.
pub(crate) fn parse_token(text: &str) -> Result<FencingToken, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number
        .map(FencingToken::from)
        .ok_or_else(|| format!("{text:?} is no token; zkr who prints them"))
}

pub(crate) async fn run(globals: &Globals, args: &AskArgs) -> Result<u8, Failure> {
    let zk = globals.connect().await?;
    let result = ask(globals, &zk, args).await;
    zk.close().await;
    result
}

/// How often a holder that was asked is looked for.
pub(super) const EVERY: Duration = Duration::from_millis(200);

async fn ask(globals: &Globals, zk: &Coordinator, args: &AskArgs) -> Result<u8, Failure> {
    let (path, out) = (&args.path, globals.output());
    let inspector = Inspector::new(zk);
    let nobody = || Failure::no(format!("{path}: nobody holds it")).at(path);
    let place = globals
        .bounded(async { Ok(inspector.line(path).await?) })
        .await?
        .ok_or_else(nobody)?;
    let holders = place
        .holders()
        .filter(|one| args.token.is_none_or(|token| one.token == token));
    let holders: Vec<Contender> = holders.cloned().collect();
    if holders.is_empty() {
        return Err(match args.token {
            Some(token) => Failure::no(format!("token {token} does not hold {path}; zkr who shows who does")).at(path),
            None => nobody(),
        });
    }
    // All are checked before one is written to.
    for one in &holders {
        check(&place, one)?;
    }
    for one in &holders {
        globals
            .bounded(async { Ok(request(zk, &place, one, &args.reason).await?) })
            .await?;
    }
    let began = Instant::now();
    let (mut now, mut is_gone) = (place, false);
    while let Some(wait) = args.wait {
        let seen = globals.bounded(async { Ok(inspector.line(path).await?) }).await?;
        is_gone = holders
            .iter()
            .all(|one| seen.as_ref().is_none_or(|place| place.contender(one.token).is_none()));
        if let Some(seen) = seen {
            now = seen;
        } else {
            now.contenders.clear();
        }
        if is_gone || began.elapsed() >= wait {
            break;
        }
        tokio::time::sleep(EVERY).await;
    }
    let after = show_precise(began.elapsed());
    let next = now.holders().next().filter(|_| is_gone);
    if out.json {
        let asked: Vec<Value> = holders.iter().map(|one| contender(&now, one)).collect();
        let mut object = json!({
            "path": path, "asked": asked, "gone": args.wait.map(|_| is_gone),
            "after_s": args.wait.map(|_| began.elapsed().as_secs_f64()),
        });
        if let Some(next) = next {
            object["now"] = contender(&now, next);
        }
        out.object("ask", object);
    } else {
        for one in &holders {
            let end = match (args.wait, is_gone, next) {
                (None, ..) => String::new(),
                (Some(_), false, _) => format!("; still there after {after}"),
                (Some(_), true, Some(next)) => format!("; gone after {after}, now held by {}", name(next)),
                (Some(_), true, None) => format!("; gone after {after}, now free"),
            };
            out.line(&format!("asked {} (token {}){end}", name(one), one.token));
        }
    }
    Ok(u8::from(args.wait.is_some() && !is_gone))
}

/// Those who do not listen are not written to.
pub(super) fn check(place: &PlaceInfo, one: &Contender) -> Result<(), Failure> {
    let is_lock = matches!(place.kind, PlaceKind::Lock | PlaceKind::ReadWriteLock);
    let listens = match one.layout {
        ContenderLayout::Ours => is_lock || place.kind == PlaceKind::Election,
        ContenderLayout::Curator => is_lock,
        _ => false,
    };
    if listens && (place.certain || one.layout == ContenderLayout::Ours) {
        return Ok(());
    }
    let (path, who) = (&place.path, name(one));
    Err(Failure::layout(format!(
        "{who} holds {path} as a {} of {}, which listens to nobody; nothing was written; stop that process instead",
        place.kind, one.layout
    ))
    .at(path))
}

pub(super) async fn request(zk: &Coordinator, place: &PlaceInfo, one: &Contender, reason: &str) -> Result<bool, Error> {
    match place.kind {
        PlaceKind::ReadWriteLock => RwLock::new(zk, &place.path)?.request_revocation(one, reason).await,
        PlaceKind::Election => {
            let election = LeaderElection::new(zk, &place.path)?;
            let all = election.participants().await?;
            match all.into_iter().find(|participant| participant.term == one.token) {
                Some(participant) => election.request_revocation(&participant, reason).await,
                None => Ok(false),
            }
        }
        _ => FairLock::new(zk, &place.path)?.request_revocation(one, reason).await,
    }
}
