//! A held command from its connect to its exit status.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use zookeeper_recipes::{Coordinator, LossReason};

use super::args::{HoldArgs, OnAsk, Place};
use super::guard::Guard;
use super::running::{self, Ended, How, Lease, Spec};
use super::signals::{Signals, die_of};
use super::wait::{NotHeld, hold, timeout_of};
use super::{nested, report};
use crate::failure::{Failure, INTERNAL, LOST};
use crate::globals::Globals;

/// Runs a command while it holds a place; returns the exit status.
pub(crate) async fn run(globals: &Globals, args: &HoldArgs, place: &Place) -> Result<u8, Failure> {
    let again = matches!(place, Place::Elect { again: true, .. });
    loop {
        let status = once(globals, args, place).await?;
        if !again || status != 0 {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn once(globals: &Globals, args: &HoldArgs, place: &Place) -> Result<u8, Failure> {
    let cluster = globals.cluster()?;
    for path in std::iter::once(&args.path).chain(place.also()) {
        nested::check(cluster, path, place.mode())?;
    }
    let mut signals = Signals::ending().map_err(|error| Failure::internal(format!("no signals: {error}")))?;
    let began = Instant::now();
    let (zk, guard) = match hold(globals, args, place, &mut signals).await {
        Ok(held) => held,
        Err(NotHeld::Signal(signal)) => {
            let waited = (began.elapsed().as_secs_f64(), 0.0);
            let line = report::report(&args.path, None, waited, None, "signalled");
            report::write(args.process.report.as_deref(), &line)?;
            return Ok(die_of(signal));
        }
        Err(NotHeld::Failure(failure)) if failure.status == crate::failure::NO => {
            let waited = (began.elapsed().as_secs_f64(), 0.0);
            let line = report::report(&args.path, None, waited, None, "not_acquired");
            report::write(args.process.report.as_deref(), &line)?;
            return Err(Failure {
                status: args.exit_code,
                ..failure
            }
            .at(&args.path));
        }
        Err(NotHeld::Failure(failure)) => return Err(failure),
    };
    let waited = began.elapsed().as_secs_f64();
    globals.output().detail(&format!(
        "{} is held, token {}, after {waited:.3} s",
        args.path,
        guard.hold().token()
    ));
    if args.hold {
        return hold_only(globals, args, zk, guard, &mut signals).await;
    }
    with_command(globals, args, place, (zk, guard), &mut signals, waited).await
}

async fn with_command(
    globals: &Globals,
    args: &HoldArgs,
    place: &Place,
    (zk, guard): (Coordinator, Guard),
    signals: &mut Signals,
    waited: f64,
) -> Result<u8, Failure> {
    let out = globals.output();
    let began = Instant::now();
    let timeout = timeout_of(&zk).await?;
    let grace = running::grace(args.process.grace, timeout, globals.lease_margin)?;
    let held = Held {
        guard: &guard,
        on_ask: args.on_ask,
        path: &args.path,
    };
    tokio::select! {
        () = running::until_startable(&held, grace, timeout) => {}
        signal = signals.recv() => {
            let _ = release(globals, zk, guard, timeout).await;
            return Ok(die_of(signal as i32));
        }
    }
    let token = i64::from(guard.hold().token());
    let node = guard.hold().path().to_owned();
    let spec = Spec {
        name: &args.path,
        command: &args.command,
        environment: vec![
            ("ZK_LOCK_PATH", args.path.clone()),
            ("ZK_LOCK_TOKEN", token.to_string()),
            ("ZK_LOCK_NODE", node.clone()),
            ("ZK_LOCK_MODE", place.mode().to_owned()),
            nested::with(globals.cluster()?, (&args.path, place.also()), place.mode(), token),
        ],
        input: None,
        captures: false,
        process: &args.process,
        grace,
        timeout,
    };
    let mut ended = if held.remaining().is_zero() {
        never_ran(&guard)
    } else {
        running::run(&spec, &held, signals, out).await?
    };
    // What is not sure now may have been another's while the command ran.
    if ended.lost.is_none() && !guard.hold().is_held() {
        ended.lost = Some(reason(guard.hold().lost().reason()));
    }
    let released = release(globals, zk, guard, timeout).await;
    if let Err(problem) = released.filter_lost(&ended) {
        out.say(&format!(
            "{} is released by the end of the session at the latest: {problem}",
            args.path
        ));
    }
    let outcome = match (&ended.lost, ended.how) {
        (Some(_), _) => "lost",
        (None, How::Signalled(_)) => "signalled",
        _ => "released",
    };
    let times = (waited, began.elapsed().as_secs_f64());
    let line = report::report(&args.path, Some((token, &node)), times, Some(&ended), outcome);
    report::write(args.process.report.as_deref(), &line)?;
    Ok(status(globals, args, &ended))
}

/// The hold was lost before the command was started.
fn never_ran(guard: &Guard) -> Ended {
    Ended {
        how: How::Unknown,
        lost: Some(reason(guard.hold().lost().reason())),
        killed: false,
        left: false,
        written: Vec::new(),
    }
}

fn status(globals: &Globals, args: &HoldArgs, ended: &Ended) -> u8 {
    if let Some(reason) = &ended.lost {
        let how = match ended.how {
            How::Exited(status) => format!("status {status}"),
            How::Signalled(signal) => format!("signal {signal}"),
            How::Unknown => "not started, or its status is not known".to_owned(),
        };
        globals.output().say(&format!(
            "{} was lost before the command ended ({}; {how}); treat its work as unfinished",
            args.path,
            reason.replace('_', " ")
        ));
        return LOST;
    }
    match ended.how {
        How::Exited(status) => u8::try_from(status).unwrap_or(u8::MAX),
        How::Signalled(signal) => die_of(signal),
        How::Unknown => INTERNAL,
    }
}

/// A problem of the release is no news where the hold was lost.
trait FilterLost {
    fn filter_lost(self, ended: &Ended) -> Result<(), String>;
}

impl FilterLost for Result<(), String> {
    fn filter_lost(self, ended: &Ended) -> Result<(), String> {
        if ended.lost.is_some() { Ok(()) } else { self }
    }
}

/// Releases the guard and closes the session, in a third of its timeout.
async fn release(globals: &Globals, zk: Coordinator, guard: Guard, timeout: Duration) -> Result<(), String> {
    let limit = timeout / 3;
    let released = match tokio::time::timeout(limit, guard.release()).await {
        Ok(released) => released.map_err(|error| crate::failure::chain(&error)),
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    };
    let _ = tokio::time::timeout(limit, zk.close()).await;
    globals.output().detail("the session is closed");
    released
}

/// `--hold`: holds until standard input ends.
async fn hold_only(
    globals: &Globals,
    args: &HoldArgs,
    zk: Coordinator,
    guard: Guard,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let out = globals.output();
    let (token, node) = (i64::from(guard.hold().token()), guard.hold().path().to_owned());
    let timeout = timeout_of(&zk).await?;
    match out.json {
        true => out.object(
            "hold",
            json!({"event": "held", "path": args.path, "token": token, "node": node}),
        ),
        false => out.line(&format!("held token={token} node={node}")),
    }
    let held = Held {
        guard: &guard,
        on_ask: OnAsk::Warn,
        path: &args.path,
    };
    let (input_ended, mut is_asked) = (end_of_input(), false);
    tokio::pin!(input_ended);
    let lost = loop {
        tokio::select! {
            biased;
            reason = held.lost() => break Some(reason),
            (what, _) = held.asked(), if !is_asked => {
                is_asked = true;
                match out.json {
                    true => out.object("hold", json!({"event": "asked", "path": args.path, "message": what})),
                    false => out.line(&format!("asked {what}")),
                }
            }
            _ = signals.recv() => break None,
            () = &mut input_ended => break None,
        }
    };
    let _ = release(globals, zk, guard, timeout).await;
    let Some(reason) = lost else { return Ok(0) };
    match out.json {
        true => out.object("hold", json!({"event": "lost", "path": args.path, "reason": reason})),
        false => out.line(&format!("lost {reason}")),
    }
    Ok(LOST)
}

/// On a thread of its own, which ends with the process: a read of a terminal cannot be taken back.
async fn end_of_input() {
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(done);
    });
    let _ = ended.await;
}

struct Held<'a> {
    guard: &'a Guard,
    on_ask: OnAsk,
    path: &'a str,
}

impl Lease for Held<'_> {
    fn remaining(&self) -> Duration {
        self.guard.hold().remaining()
    }

    async fn lost(&self) -> String {
        reason(Some(self.guard.hold().lost().await))
    }

    async fn asked(&self) -> (String, bool) {
        if self.on_ask != OnAsk::Ignore
            && let Ok(revocation) = self.guard.hold().revocation().await
        {
            let who = revocation
                .requester
                .map_or("another client".to_owned(), |who| crate::output::clean(&who));
            let why = revocation
                .reason
                .map(|why| format!(" ({})", crate::output::clean(why.as_bytes())));
            let what = format!("{} is asked for by {who}{}", self.path, why.unwrap_or_default());
            return (what, self.on_ask == OnAsk::Term);
        }
        std::future::pending().await
    }
}

/// One word for programs.
fn reason(reason: Option<LossReason>) -> String {
    match reason {
        Some(LossReason::SessionExpired) => "session_expired",
        Some(LossReason::LeaseLapsed) => "lease_lapsed",
        Some(LossReason::NodeRemoved) => "removed_by_somebody_else",
        Some(LossReason::Closed) => "closed",
        Some(_) => "lost",
        None => "lease_lapsed",
    }
    .to_owned()
}
