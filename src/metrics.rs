//! Metrics, through the facade crate [`metrics`](https://docs.rs/metrics): what this crate counts and measures.
//!
//! With the feature `metrics`, install an exporter of your choice and call [`describe`]. Without an exporter each one costs a
//! few nanoseconds. Names have dots; exporters write `_` where they must. Labels are `recipe`, `outcome`, `operation`, `state`
//! and `error.type`, of which there are a few values each, and `name`, which is what
//! [`Coordinator::named`](crate::Coordinator::named) was given, empty by default: **never a path, a session, an identity**.
//! What OpenTelemetry has names for, `messaging.*`, has its labels too: there the name is `messaging.destination.name`, and
//! is absent by default.
//! So the number of series is bounded, however many locks there are.
//!
//! All of them are in [`TABLE`] and in [docs/metrics.md](https://github.com/zookeeper-recipes/zookeeper-recipes/blob/main/docs/metrics.md).

mod messaging;
mod record;

pub(crate) use self::messaging::{CallTimer, MessagingCall, count_messages, observe_handler};
pub(crate) use self::record::{AcquireTimer, GaugeGuard, UserName, count, observe, set};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its unit, as OpenTelemetry writes it: `s`, `{hold}`.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub description: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    unit: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        labels,
        description,
    }
}

pub(crate) const ACQUIRE_DURATION: &str = "zookeeper_recipes.acquire.duration";
pub(crate) const WAITERS: &str = "zookeeper_recipes.waiters";
pub(crate) const HOLD_DURATION: &str = "zookeeper_recipes.hold.duration";
pub(crate) const HOLDS: &str = "zookeeper_recipes.holds";
pub(crate) const LOSSES: &str = "zookeeper_recipes.losses";
pub(crate) const SLOW_WAITS: &str = "zookeeper_recipes.slow_waits";
pub(crate) const REJOINS: &str = "zookeeper_recipes.rejoins";
pub(crate) const REVOCATIONS: &str = "zookeeper_recipes.revocations";
pub(crate) const REQUEST_DURATION: &str = "zookeeper_recipes.request.duration";
pub(crate) const REQUESTS_IN_FLIGHT: &str = "zookeeper_recipes.requests.inflight";
pub(crate) const REQUEST_RETRIES: &str = "zookeeper_recipes.request.retries";
pub(crate) const SESSIONS: &str = "zookeeper_recipes.sessions";
pub(crate) const SESSION_ENDS: &str = "zookeeper_recipes.session.ends";
pub(crate) const SESSION_DISCONNECTS: &str = "zookeeper_recipes.session.disconnects";
pub(crate) const LEASE_REMAINING: &str = "zookeeper_recipes.lease.remaining";
pub(crate) const PROOF_DURATION: &str = "zookeeper_recipes.proof.duration";
pub(crate) const WATCHED: &str = "zookeeper_recipes.watched";
pub(crate) const CLEANUP_BACKLOG: &str = "zookeeper_recipes.cleanup.backlog";
pub(crate) const ELECTION_LEADING: &str = "zookeeper_recipes.election.leading";
pub(crate) const ELECTION_CHANGES: &str = "zookeeper_recipes.election.changes";
pub(crate) const ELECTION_READY_DURATION: &str = "zookeeper_recipes.election.ready.duration";
pub(crate) const SCHEDULE_RUNS: &str = "zookeeper_recipes.schedule.runs";
pub(crate) const SCHEDULE_LATENESS: &str = "zookeeper_recipes.schedule.lateness";
pub(crate) const QUEUE_ITEMS: &str = "zookeeper_recipes.queue.items";
pub(crate) const QUEUE_OLDEST_AGE: &str = "zookeeper_recipes.queue.oldest.age";
pub(crate) const QUEUE_SETTLED: &str = "zookeeper_recipes.queue.settled";
pub(crate) const QUEUE_ATTEMPTS: &str = "zookeeper_recipes.queue.attempts";
pub(crate) const QUEUE_DEAD_LETTERS: &str = "zookeeper_recipes.queue.dead_letters";
pub(crate) const QUEUE_CLAIMS_LOST: &str = "zookeeper_recipes.queue.claims.lost";
pub(crate) const MESSAGING_OPERATION_DURATION: &str = "messaging.client.operation.duration";
pub(crate) const MESSAGING_PROCESS_DURATION: &str = "messaging.process.duration";
pub(crate) const MESSAGING_SENT: &str = "messaging.client.sent.messages";
pub(crate) const MESSAGING_CONSUMED: &str = "messaging.client.consumed.messages";

/// The labels of a counter of messages.
const COUNTED: &[&str] = &[
    "messaging.system",
    "messaging.destination.name",
    "messaging.operation.name",
];

/// The labels of a duration of messaging.
const TIMED: &[&str] = &[
    "messaging.system",
    "messaging.destination.name",
    "messaging.operation.name",
    "messaging.operation.type",
    "error.type",
];

/// All metrics that this crate records.
pub const TABLE: &[Metric] = &[
    metric(
        ACQUIRE_DURATION,
        MetricKind::Histogram,
        "s",
        &["recipe", "name", "outcome"],
        "How long a call waited for its place; outcome: granted, timeout, contended, cancelled, error",
    ),
    metric(
        WAITERS,
        MetricKind::Gauge,
        "{waiter}",
        &["recipe", "name"],
        "How many calls wait for a place at this moment",
    ),
    metric(
        HOLD_DURATION,
        MetricKind::Histogram,
        "s",
        &["recipe", "name", "outcome"],
        "How long a place was held; outcome: released, dropped, lost",
    ),
    metric(
        HOLDS,
        MetricKind::Gauge,
        "{hold}",
        &["recipe", "name"],
        "How many guards live at this moment",
    ),
    metric(
        LOSSES,
        MetricKind::Counter,
        "{hold}",
        &["recipe", "name", "error.type"],
        "Holds that were lost, counted when the guard is dropped; error.type: session_expired, lease_lapsed, node_removed, \
         revoked, closed, given_up",
    ),
    metric(
        SLOW_WAITS,
        MetricKind::Counter,
        "{wait}",
        &["recipe", "name"],
        "How often a wait was longer than ConnectOptions::long_wait; the log names the holder",
    ),
    metric(
        REJOINS,
        MetricKind::Counter,
        "{wait}",
        &["recipe", "name"],
        "How often a waiter lost its place in line, with its session or by an operator, and joined again at the tail",
    ),
    metric(
        REVOCATIONS,
        MetricKind::Counter,
        "{request}",
        &["recipe", "name", "outcome"],
        "Requests to make way; outcome: asked (of another), received (by a holder that looks at them), granted (released after \
         one)",
    ),
    metric(
        REQUEST_DURATION,
        MetricKind::Histogram,
        "s",
        &["operation", "error.type"],
        "How long a request took; operation: read, write, transaction; error.type: none, refused, busy, no_answer",
    ),
    metric(
        REQUESTS_IN_FLIGHT,
        MetricKind::Gauge,
        "{request}",
        &[],
        "How many requests are on their way",
    ),
    metric(
        REQUEST_RETRIES,
        MetricKind::Counter,
        "{retry}",
        &[],
        "How many requests were sent again",
    ),
    metric(
        SESSIONS,
        MetricKind::Gauge,
        "{session}",
        &[],
        "How many sessions are open",
    ),
    metric(
        SESSION_ENDS,
        MetricKind::Counter,
        "{session}",
        &["error.type"],
        "Sessions that were lost; error.type: session_expired, lease_lapsed, given_up",
    ),
    metric(
        SESSION_DISCONNECTS,
        MetricKind::Counter,
        "{disconnect}",
        &[],
        "How often a session lost its connection",
    ),
    metric(
        LEASE_REMAINING,
        MetricKind::Histogram,
        "s",
        &[],
        "How much of the lease of a session that holds something was left when it was prolonged",
    ),
    metric(
        PROOF_DURATION,
        MetricKind::Histogram,
        "s",
        &[],
        "How long a request took that was committed and so prolongs the lease",
    ),
    metric(
        WATCHED,
        MetricKind::Histogram,
        "By",
        &[],
        "How many bytes of paths a session watched when it came to watch one more",
    ),
    metric(
        CLEANUP_BACKLOG,
        MetricKind::Gauge,
        "{node}",
        &[],
        "How many abandoned nodes have yet to be removed",
    ),
    metric(
        ELECTION_LEADING,
        MetricKind::Gauge,
        "{leadership}",
        &["name"],
        "How many leaderships this process has; over all processes of one election it is 1",
    ),
    metric(
        ELECTION_CHANGES,
        MetricKind::Counter,
        "{leadership}",
        &["name"],
        "How many leaderships this process has begun",
    ),
    metric(
        ELECTION_READY_DURATION,
        MetricKind::Histogram,
        "s",
        &["name"],
        "How long a leader took from its election to LeaderElection::ready",
    ),
    metric(
        SCHEDULE_RUNS,
        MetricKind::Counter,
        "{run}",
        &["name", "outcome"],
        "Due times; outcome: started, skipped, dropped",
    ),
    metric(
        SCHEDULE_LATENESS,
        MetricKind::Histogram,
        "s",
        &["name"],
        "How long behind its due time a run started",
    ),
    metric(
        QUEUE_ITEMS,
        MetricKind::Gauge,
        "{item}",
        &["name", "state"],
        "Depth, as WorkQueue::stats saw it last; state: ready, delayed, claimed, dead",
    ),
    metric(
        QUEUE_OLDEST_AGE,
        MetricKind::Gauge,
        "s",
        &["name"],
        "Age of the oldest item that could be delivered, as WorkQueue::stats saw it last",
    ),
    metric(
        QUEUE_SETTLED,
        MetricKind::Counter,
        "{item}",
        &["name", "outcome"],
        "What became of items; outcome: done, failed, rejected, lost",
    ),
    metric(
        QUEUE_ATTEMPTS,
        MetricKind::Histogram,
        "{attempt}",
        &["name"],
        "How many attempts an item took that is done or rejected",
    ),
    metric(
        QUEUE_DEAD_LETTERS,
        MetricKind::Counter,
        "{item}",
        &["name"],
        "Items that became dead letters: rejected, out of attempts, lost at the last attempt, unreadable",
    ),
    metric(
        QUEUE_CLAIMS_LOST,
        MetricKind::Counter,
        "{claim}",
        &["name", "error.type"],
        "Claims that were lost with items that were not settled; error.type: session_expired, lease_lapsed, node_removed, \
         revoked, closed, given_up",
    ),
    metric(
        MESSAGING_OPERATION_DURATION,
        MetricKind::Histogram,
        "s",
        TIMED,
        "How long a call of a WorkQueue took, the wait of a pop included; operation: push, pop, ack, nack, reject, extend; \
         error.type: lost, indeterminate, full, error, cancelled",
    ),
    metric(
        MESSAGING_PROCESS_DURATION,
        MetricKind::Histogram,
        "s",
        TIMED,
        "How long a handler of a Worker took; error.type: failed, panicked, lost",
    ),
    metric(
        MESSAGING_SENT,
        MetricKind::Counter,
        "{message}",
        COUNTED,
        "Items that were pushed",
    ),
    metric(
        MESSAGING_CONSUMED,
        MetricKind::Counter,
        "{message}",
        COUNTED,
        "Items that were handed out",
    ),
];

/// Registers names, units and descriptions of all metrics with the recorder that is installed. Call it once, behind the
/// installation of the exporter.
#[cfg(feature = "metrics")]
pub fn describe() {
    for metric in TABLE {
        let unit = match metric.unit {
            "s" => ::metrics::Unit::Seconds,
            "By" => ::metrics::Unit::Bytes,
            _ => ::metrics::Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => ::metrics::describe_counter!(metric.name, unit, metric.description),
            MetricKind::Gauge => ::metrics::describe_gauge!(metric.name, unit, metric.description),
            MetricKind::Histogram => ::metrics::describe_histogram!(metric.name, unit, metric.description),
        }
    }
}
