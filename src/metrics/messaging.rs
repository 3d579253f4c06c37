//! The metrics of queues that OpenTelemetry has names for.

use std::time::{Duration, Instant};

use super::record::{Series, UserName, count_series, observe_series};
use super::{MESSAGING_CONSUMED, MESSAGING_OPERATION_DURATION, MESSAGING_PROCESS_DURATION, MESSAGING_SENT};

/// What `messaging.system` says.
const SYSTEM: &str = "zookeeper_recipes";

/// A call of a queue that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessagingCall {
    Push,
    Pop,
    Ack,
    Nack,
    Reject,
    Extend,
}

impl MessagingCall {
    fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pop => "pop",
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Reject => "reject",
            Self::Extend => "extend",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Push => "send",
            Self::Pop => "receive",
            Self::Ack | Self::Nack | Self::Reject | Self::Extend => "settle",
        }
    }
}

/// The labels of a series; without an error none is named, as OpenTelemetry has it.
fn series(user: &UserName, name: &'static str, kind: Option<&'static str>, error: Option<&'static str>) -> Series {
    let mut series = Series::destination(user, "messaging.destination.name");
    series.push("messaging.system", SYSTEM);
    series.push("messaging.operation.name", name);
    if let Some(kind) = kind {
        series.push("messaging.operation.type", kind);
    }
    if let Some(error) = error {
        series.push("error.type", error);
    }
    series
}

/// Counts items that were pushed, or handed out.
pub(crate) fn count_messages(user: &UserName, call: MessagingCall, by: u64) {
    let metric = match call {
        MessagingCall::Push => MESSAGING_SENT,
        _ => MESSAGING_CONSUMED,
    };
    count_series(metric, series(user, call.name(), None, None), by);
}

/// Takes how long a handler took.
pub(crate) fn observe_handler(user: &UserName, took: Duration, error: Option<&'static str>) {
    let series = series(user, "handle", Some("process"), error);
    observe_series(MESSAGING_PROCESS_DURATION, series, took.as_secs_f64());
}

/// Times one call. Dropped without an outcome, the call was cancelled.
#[derive(Debug)]
pub(crate) struct CallTimer {
    user: UserName,
    call: MessagingCall,
    began: Instant,
    error: Option<&'static str>,
}

impl CallTimer {
    pub(crate) fn start(user: &UserName, call: MessagingCall) -> Self {
        Self {
            user: user.clone(),
            call,
            began: Instant::now(),
            error: Some("cancelled"),
        }
    }

    pub(crate) fn ended(mut self, error: Option<&'static str>) {
        self.error = error;
    }
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        let series = series(&self.user, self.call.name(), Some(self.call.kind()), self.error);
        observe_series(MESSAGING_OPERATION_DURATION, series, self.began.elapsed().as_secs_f64());
    }
}
