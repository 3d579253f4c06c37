//! `zkr doctor`: what is wrong in a tree.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use zookeeper_recipes::Coordinator;
use zookeeper_recipes::inspect::Inspector;
use zookeeper_recipes::inspect::doctor::{Check, Diagnosis, Doctor, Finding, Severity};

use super::super::look;
use super::{contender, name, probe};
use crate::admin::{Connections, Settings};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{Output, clean, counted, session, write_out};
use crate::time::{age, parse_duration, rfc3339, show_clock, show_duration};

/// The lease margin unless another one is asked for, in per cent of the session timeout.
const DEFAULT_MARGIN: u32 = 26;

/// So much of `--timeout` is kept for a second look.
const SECOND_LOOK: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// The tree, from the chroot
    #[arg(value_parser = parse_path, default_value = "/")]
    tree: String,
    /// How to print it; dot and mermaid draw who waits for whom
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only these checks, such as deadlock,sequence
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = parse_check)]
    check: Vec<Check>,
    /// A circle counts once its youngest wait is so old
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    min_age: Duration,
    /// A hold counts as long after that time
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    max_hold: Option<Duration>,
    /// A wait counts as long after that time
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    max_wait: Option<Duration>,
    /// The oldest item of a queue counts as late after that time
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    max_age: Option<Duration>,
    /// Unlikely circles as well
    #[arg(long)]
    all: bool,
    /// Open two short sessions that ask for the smallest and the largest timeout, and make one ephemeral node for the clock
    #[arg(long)]
    probe: bool,
    /// Look again at sessions without a connection after that time; 0s for not. By default after two session timeouts
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    again: Option<Duration>,
    /// From which severity on the exit status is 1
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
    Dot,
    Mermaid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FailOn {
    #[default]
    Warn,
    Error,
}

fn parse_check(text: &str) -> Result<Check, String> {
    let found = Check::ALL.into_iter().find(|check| check.to_string() == text);
    found.ok_or_else(|| {
        let all: Vec<String> = Check::ALL.iter().map(ToString::to_string).collect();
        format!("{text:?} is no check; there are {}", all.join(", "))
    })
}

pub(crate) async fn run(globals: &Globals, args: &DoctorArgs) -> Result<u8, Failure> {
    let found = look(globals, async |zk| {
        let mut doctor = Doctor::new(&Inspector::new(zk)).min_age(args.min_age).all(args.all);
        if !args.check.is_empty() {
            doctor = doctor.only(args.check.iter().copied());
        }
        if let Some(age) = args.max_hold {
            doctor = doctor.max_hold(age);
        }
        if let Some(age) = args.max_wait {
            doctor = doctor.max_wait(age);
        }
        if let Some(age) = args.max_age {
            doctor = doctor.max_item_age(age);
        }
        let started = Instant::now();
        let before = Connections::ask(globals).await?;
        let mut found = doctor.diagnose(&args.tree).await?;
        if let Some(before) = before {
            ask_servers(globals, zk, &before, &mut found).await?;
            if let Err(failure) = look_again(globals, zk, args, (&doctor, started), &mut found).await {
                tell_unconfirmed(&mut found, &failure);
            }
        }
        Ok(found)
    })
    .await?;
    let probed = match args.probe {
        true => Some(globals.bounded(probe::probe(globals)).await?),
        false => None,
    };
    match args.format {
        Format::Dot => write_out(found.graph.to_dot().as_bytes()),
        Format::Mermaid => write_out(found.graph.to_mermaid().as_bytes()),
        Format::Text if !globals.json => {
            if let Some(probed) = &probed {
                probed.print(globals.output());
            }
            print(globals, &found);
        }
        Format::Text | Format::Json => {
            let mut object = object(args, &found);
            if let Some(probed) = &probed {
                object["probe"] = probed.object();
            }
            globals.output().object("doctor", object);
        }
    }
    let least = match args.fail_on {
        FailOn::Warn => Severity::Warn,
        FailOn::Error => Severity::Error,
    };
    let is_skewed = probed.is_some_and(|probed| probed.ahead.abs() > probe::SKEW) && least == Severity::Warn;
    Ok(u8::from(is_skewed || found.worst().is_some_and(|worst| worst >= least)))
}

/// The checks that need what the servers say.
async fn ask_servers(
    globals: &Globals,
    zk: &Coordinator,
    before: &Connections,
    found: &mut Diagnosis,
) -> Result<(), Failure> {
    // Those that came while the tree was read, too.
    let after = Connections::ask(globals).await?.unwrap_or_default();
    match (before.sessions(), after.sessions()) {
        (Ok(before), Ok(after)) => found.tell_ghosts(&before | &after),
        (Err(silent), _) | (_, Err(silent)) => found.skip(Check::Ghost, silent),
    }
    match Settings::ask(globals).await? {
        Some(Settings { tick, sync_limit, .. }) => {
            let timeout = zk.client().await?.session_timeout();
            let margin = globals.lease_margin.unwrap_or(timeout * DEFAULT_MARGIN / 100);
            found.tell_timeouts(timeout, margin, tick, sync_limit);
        }
        None => found.skip(Check::Timeouts, "no server says its tickTime"),
    }
    Ok(())
}

/// A dead process is a ghost for as long as its session lasts; what is there longer is an error.
async fn look_again(
    globals: &Globals,
    zk: &Coordinator,
    args: &DoctorArgs,
    (doctor, started): (&Doctor, Instant),
    found: &mut Diagnosis,
) -> Result<(), Failure> {
    let ghosts = found.findings.iter().filter(|one| one.check == Check::Ghost).count();
    let own = zk.client().await?.session_timeout();
    let after = args.again.unwrap_or(own * 2);
    if ghosts == 0 || after.is_zero() {
        return Ok(());
    }
    let out = globals.output();
    let (who, shown) = (counted(ghosts, "session"), show_duration(after));
    if started.elapsed() + after + SECOND_LOOK > globals.timeout {
        out.say(&format!(
            "without a connection: {who}; not looked at again, for {shown} do not fit --timeout: raise it"
        ));
        return Ok(());
    }
    out.say(&format!("without a connection: {who}; looking again in {shown}"));
    tokio::time::sleep(after).await;
    let confirming = confirm(globals, doctor, after, found);
    let late = |_| Failure::unreachable("the second look takes too long");
    tokio::time::timeout(SECOND_LOOK, confirming).await.map_err(late)?
}

async fn confirm(globals: &Globals, doctor: &Doctor, after: Duration, found: &mut Diagnosis) -> Result<(), Failure> {
    let connected = Connections::ask(globals).await?.unwrap_or_default();
    match connected.sessions() {
        Ok(connected) => {
            // Servers end sessions up to a tick late, and a leader that was just elected begins to count anew.
            let longest = Settings::ask(globals).await?;
            let longest = longest.and_then(|settings| Some(settings.longest? + settings.tick * 2));
            Ok(doctor.confirm_ghosts(found, &connected, after, longest).await?)
        }
        Err(silent) => Err(Failure::unreachable(silent)),
    }
}

/// What the first look told stands.
fn tell_unconfirmed(found: &mut Diagnosis, failure: &Failure) {
    for ghost in found.findings.iter_mut().filter(|one| one.check == Check::Ghost) {
        ghost.remedy = format!("{}; not looked at again: {}", ghost.remedy, failure.message);
    }
}

fn object(args: &DoctorArgs, found: &Diagnosis) -> Value {
    let findings: Vec<Value> = found.findings.iter().map(finding).collect();
    let skip = |(check, because): (String, &str)| json!({"check": check, "because": because});
    let skipped = found
        .skipped
        .iter()
        .map(|one| skip((one.check.to_string(), &one.because)));
    json!({
        "tree": args.tree, "complete": true, "findings": findings, "skipped": skipped.collect::<Vec<_>>(),
        "places": found.places, "sessions": found.sessions, "requests": found.requests,
    })
}

fn finding(one: &Finding) -> Value {
    let mut object = json!({
        "check": one.check.to_string(), "severity": one.severity.to_string(), "path": one.path,
        "message": one.message, "remedy": one.remedy, "since": one.since.map(rfc3339),
        "contenders": one.contenders.iter().map(|one| contender(None, one)).collect::<Vec<_>>(),
    });
    if let Some(confidence) = one.confidence {
        object["confidence"] = json!(confidence.to_string());
    }
    if let Some(cycle) = &one.cycle {
        let members = cycle.members.iter().map(|member| {
            json!({
                "session": session(member.waits.session_id), "holds": contender(None, &member.holds),
                "waits": contender(None, &member.waits),
            })
        });
        object["cycle"] = members.collect();
    }
    object
}

fn print(globals: &Globals, found: &Diagnosis) {
    let out = globals.output();
    for one in &found.findings {
        let since = one
            .since
            .map(|since| format!(", since {} ({})", show_clock(since, out.utc), show_duration(age(since))));
        out.prose(&format!(
            "{}  {}  {}{}",
            colored(out, one.severity),
            one.check,
            clean(one.message.as_bytes()),
            since.unwrap_or_default()
        ));
        for member in one.cycle.iter().flat_map(|cycle| &cycle.members) {
            out.prose(&format!(
                "  {}  holds {} ({})  waits for {}",
                name(&member.holds),
                member.holds_at,
                member.holds.token,
                member.waits_at
            ));
        }
        if !one.remedy.is_empty() {
            out.prose(&format!("    {}", clean(one.remedy.as_bytes())));
        }
    }
    for skipped in &found.skipped {
        out.detail(&format!("not checked: {}, {}", skipped.check, skipped.because));
    }
    out.line(&format!(
        "{} in {}, {}; {} requests",
        counted(found.findings.len(), "finding"),
        counted(found.places, "place"),
        counted(found.sessions, "session"),
        found.requests
    ));
}

/// The severity, five characters wide.
fn colored(out: Output, severity: Severity) -> String {
    let text = format!("{:<5}", severity.to_string());
    match (out.colors, severity) {
        (true, Severity::Error) => format!("\x1b[31m{text}\x1b[0m"),
        (true, Severity::Warn) => format!("\x1b[33m{text}\x1b[0m"),
        _ => text,
    }
}
