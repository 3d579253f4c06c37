//! What every public error answers, and that its message leaves its source out.

use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::Path;
use std::time::Duration;

use zookeeper_recipes::queue::{
    AckError, CancelError, DeadItemError, FifoPopError, FifoPushError, InvalidItemId, ItemId, PushError, ResultError,
};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, CompleteError, ConnectError, DowngradeError, Error, FencedWriteError, FencingToken,
    InvalidLayout, InvalidToken, JoinError, LatchError, Layout, LossReason, Lost, OncePerError, PermitError,
    ProclaimError, ReleaseError, RunError, ScheduleError, SharedCounterError, SharedValueError, TimeoutError,
    TryAcquireError, TryPermitError,
};

struct Sample {
    name: &'static str,
    is_timeout: bool,
    is_lost: bool,
    is_closed: bool,
    error: Box<dyn std::error::Error>,
}

/// The questions are inherent methods: an error that lacks one does not compile here.
macro_rules! samples {
    (@one $name:ident, $type:ty, [$($error:expr),*]) => {
        vec![$({
            let error: $type = $error;
            Sample {
                name: stringify!($name),
                is_timeout: error.is_timeout(),
                is_lost: error.is_lost(),
                is_closed: error.is_closed(),
                error: Box::new(error),
            }
        }),*]
    };
    ($($name:ident$(<$of:ty>)?: [$($error:expr),* $(,)?]),* $(,)?) => {{
        let mut samples = Vec::new();
        $(samples.extend(samples!(@one $name, $name$(<$of>)?, [$($error),*]));)*
        samples
    }};
}

const LOST: Lost = Lost {
    reason: LossReason::SessionExpired,
};
const ENDED: Lost = Lost {
    reason: LossReason::Closed,
};
const REFUSAL: zk::Error = zk::Error::NodeExists;

fn path() -> String {
    "/p".to_owned()
}

fn client() -> Error {
    Error::Client {
        path: path(),
        source: REFUSAL,
    }
}

fn id() -> ItemId {
    "100.0.abcdefghijklmnop.0".parse().unwrap()
}

fn of_all() -> Vec<Sample> {
    let mut samples = of_session_and_line();
    samples.extend(of_recipes());
    samples.extend(of_queues());
    samples
}

fn of_session_and_line() -> Vec<Sample> {
    let (after, reason) = (Duration::from_secs(1), "a reason");
    samples! {
        Error: [
            Error::Closed,
            Error::AuthFailed,
            Error::Denied { path: path() },
            Error::Layout { path: path(), reason },
            Error::InvalidPath { path: path(), reason },
            Error::Value { path: path(), reason: reason.to_owned() },
            Error::OptionMismatch {
                path: path(),
                option: path(),
                asked: path(),
                agreed: path(),
            },
            Error::TooLarge { path: path(), size: 2, limit: 1 },
            Error::TooManyEphemerals { path: path(), nodes: 1, bytes: 2, limit: 3 },
            Error::SessionsFull {
                path: path(),
                sessions: 1,
                max_sessions: 2,
                bytes: 3,
                limit: 4,
            },
            Error::LineFull { path: path(), contenders: 2, limit: 1 },
            Error::ConnectionBreaks { path: path(), size: 2, connections: 3 },
            client(),
        ],
        TimeoutError<Error>: [
            TimeoutError::Elapsed { path: path(), after, connected: false },
            TimeoutError::Error(Error::Closed),
            TimeoutError::Error(client()),
        ],
        TimeoutError<ReleaseError>: [TimeoutError::Error(ReleaseError::Lost(LOST))],
        Lost: [LOST, ENDED],
        ConnectError: [
            ConnectError::ConnectString { cluster: path(), reason: reason.to_owned() },
            ConnectError::Options { reason: reason.to_owned() },
            ConnectError::Unreachable { cluster: path(), after, tls: false, source: REFUSAL },
            ConnectError::AuthFailed,
            ConnectError::NoChroot { cluster: path() },
            ConnectError::CreateChroot { cluster: path(), source: REFUSAL },
            ConnectError::UnknownHost { host: path(), reason: reason.to_owned() },
            ConnectError::Runtime { reason: reason.to_owned() },
        ],
        FencedWriteError: [
            FencedWriteError::Lost(LOST),
            FencedWriteError::Lost(ENDED),
            FencedWriteError::Refused { index: 0, source: REFUSAL },
            FencedWriteError::Indeterminate,
            FencedWriteError::Error(Error::Closed),
            FencedWriteError::Error(client()),
        ],
        ScheduleError: [ScheduleError::Lost(LOST), ScheduleError::Lost(ENDED), ScheduleError::Error(client())],
        OncePerError: [OncePerError::Indeterminate, OncePerError::Error(Error::Closed)],
        ReleaseError: [
            ReleaseError::Lost(LOST),
            ReleaseError::Lost(ENDED),
            ReleaseError::Error(Error::Closed),
            ReleaseError::Error(client()),
        ],
        InvalidLayout: ["x".parse::<Layout>().unwrap_err()],
        InvalidToken: ["x".parse::<FencingToken>().unwrap_err()],
        AcquireTimeoutError: [
            AcquireTimeoutError::Elapsed { path: path(), after, connected: false, blocker: None },
            AcquireTimeoutError::Error(Error::Closed),
            AcquireTimeoutError::Error(client()),
        ],
        TryAcquireError: [
            TryAcquireError::Contended,
            TryAcquireError::Error(Error::Closed),
            TryAcquireError::Error(client()),
        ],
        RunError: [
            RunError::Lost(LOST),
            RunError::Lost(ENDED),
            RunError::Error(Error::Closed),
            RunError::Error(client()),
        ],
    }
}

fn of_recipes() -> Vec<Sample> {
    let (ours, agreed) = (2, 3);
    samples! {
        DowngradeError: [
            DowngradeError::Lost(LOST),
            DowngradeError::Lost(ENDED),
            DowngradeError::Error(Error::Closed),
            DowngradeError::Error(client()),
        ],
        JoinError: [
            JoinError::Taken { id: "a".to_owned(), session_id: 1 },
            JoinError::Error(Error::Closed),
            JoinError::Error(client()),
        ],
        CompleteError: [
            CompleteError::Lost(LOST),
            CompleteError::Lost(ENDED),
            CompleteError::Indeterminate,
            CompleteError::Error(Error::Closed),
            CompleteError::Error(client()),
        ],
        SharedValueError: [
            SharedValueError::Changed,
            SharedValueError::Indeterminate,
            SharedValueError::Error(Error::Closed),
            SharedValueError::Error(client()),
        ],
        SharedCounterError: [
            SharedCounterError::Overflow,
            SharedCounterError::Indeterminate,
            SharedCounterError::Error(Error::Closed),
            SharedCounterError::Error(client()),
        ],
        ProclaimError: [
            ProclaimError::Lost(LOST),
            ProclaimError::Lost(ENDED),
            ProclaimError::Error(Error::Closed),
            ProclaimError::Error(client()),
        ],
        LatchError: [
            LatchError::Mismatch { path: path(), ours, agreed },
            LatchError::Error(Error::Closed),
            LatchError::Error(client()),
        ],
        PermitError: [
            PermitError::Unsatisfiable { requested: 2, permits: 1 },
            PermitError::Mismatch { path: path(), ours, agreed },
            PermitError::Error(Error::Closed),
            PermitError::Error(client()),
        ],
        TryPermitError: [
            TryPermitError::NoPermits,
            TryPermitError::Permit(PermitError::Error(Error::Closed)),
            TryPermitError::Permit(PermitError::Error(client())),
        ],
    }
}

fn of_queues() -> Vec<Sample> {
    let reason = "a reason".to_owned();
    samples! {
        FifoPushError: [
            FifoPushError::Indeterminate,
            FifoPushError::Error(Error::Closed),
            FifoPushError::Error(client()),
        ],
        FifoPopError: [
            FifoPopError::Indeterminate { path: path(), item: "item".into() },
            FifoPopError::Error(Error::Closed),
            FifoPopError::Error(client()),
        ],
        PushError: [
            PushError::QueueFull { path: path(), capacity: 1 },
            PushError::NeverFits { path: path(), items: 2, capacity: 1 },
            PushError::InvalidKey { size: 0, limit: 1 },
            PushError::Unencodable { reason: reason.clone() },
            PushError::DelayedGroup,
            PushError::Indeterminate { ids: vec![id()] },
            PushError::Error(Error::Closed),
            PushError::Error(client()),
        ],
        AckError: [
            AckError::Lost(LOST),
            AckError::Lost(ENDED),
            AckError::Indeterminate,
            AckError::Push(PushError::Error(Error::Closed)),
            AckError::Push(PushError::Error(client())),
            AckError::Error(Error::Closed),
            AckError::Error(client()),
        ],
        ResultError: [
            ResultError::Unknown { id: id() },
            ResultError::NoResult { id: id() },
            ResultError::Cancelled { id: id() },
            ResultError::Expired { id: id() },
            ResultError::Undecodable { id: id(), reason: reason.clone() },
            ResultError::Dead { id: id(), reason },
            ResultError::Error(Error::Closed),
            ResultError::Error(client()),
        ],
        CancelError: [
            CancelError::Unknown { id: id() },
            CancelError::Claimed { id: id(), by: path() },
            CancelError::Indeterminate,
            CancelError::Error(Error::Closed),
            CancelError::Error(client()),
        ],
        DeadItemError: [
            DeadItemError::Unknown { id: id() },
            DeadItemError::Unreadable { id: id() },
            DeadItemError::Indeterminate,
            DeadItemError::Error(Error::Closed),
            DeadItemError::Error(client()),
        ],
        InvalidItemId: ["x".parse::<ItemId>().unwrap_err()],
    }
}

/// What is declared behind `derive(.. thiserror::Error)`: the type's name and what follows.
fn declarations(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            declarations(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for derived in text.split("thiserror::Error)]").skip(1) {
            let (kind, rest) = derived.split_once("pub ").unwrap();
            assert!(
                kind.trim().is_empty() || kind.contains("#["),
                "{}: {kind}",
                path.display()
            );
            let declared = rest.strip_prefix("enum ").or(rest.strip_prefix("struct ")).unwrap();
            found.push(declared.split("\n}").next().unwrap().to_owned());
        }
    }
}

/// The names of an enum's variants, by their indentation.
fn variants(declared: &str) -> impl Iterator<Item = &str> {
    let names = declared.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split([' ', '(', ',']).next().unwrap())
}

#[test]
fn every_public_error_and_variant_has_a_sample() {
    let mut found = Vec::new();
    declarations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(
        found.len() > 20,
        "the errors are declared in another way: adapt this test"
    );
    let samples = of_all();
    let sampled: BTreeSet<String> = samples
        .iter()
        .map(|sample| {
            let shown = format!("{:?}", sample.error);
            let variant = shown.split([' ', '(']).next().unwrap();
            format!("{}::{variant}", sample.name)
        })
        .collect();
    for declared in &found {
        let name = declared.split([' ', '<']).next().unwrap();
        assert!(samples.iter().any(|sample| sample.name == name), "no sample of {name}");
        for variant in variants(declared) {
            let variant = format!("{name}::{variant}");
            assert!(sampled.contains(&variant), "no sample of {variant}");
        }
    }
}

/// What an error embeds is seen in its debug text, whichever way it is declared.
#[test]
fn every_error_answers_for_what_it_embeds() {
    for sample in of_all() {
        let shown = format!("{:?}", sample.error);
        let embeds = |parts: &[&str]| parts.iter().any(|part| shown.contains(part));
        assert_eq!(sample.is_timeout, embeds(&["Elapsed {", "Unreachable {"]), "{shown}");
        assert_eq!(sample.is_lost, embeds(&["Lost {"]), "{shown}");
        let has_coordinator = sample.name != "ConnectError";
        assert_eq!(
            sample.is_closed,
            has_coordinator && embeds(&["Closed", "AuthFailed"]),
            "{shown}"
        );
    }
}

#[test]
fn no_message_repeats_its_source() {
    let mut sources = 0;
    for sample in of_all() {
        let chain: Vec<_> = iter::successors(Some(&*sample.error), |error| error.source()).collect();
        for pair in chain.windows(2) {
            sources += 1;
            let (message, source) = (pair[0].to_string(), pair[1].to_string());
            assert!(!message.contains(&source), "{message:?} repeats {source:?}");
        }
    }
    assert!(sources > 30, "only {sources} sources: where are they?");
}
