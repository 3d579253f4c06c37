//! What the crate tells through `tracing`, on whatever thread: for the whole process, so a test asks for paths of its own.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Kept by the process: level and text of each event.
static RECORDED: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Begins to record, once in a process. `RUST_LOG` shows what the crate does.
pub(crate) fn record() {
    let shown = tracing_subscriber::fmt::layer()
        .with_test_writer()
        .with_filter(EnvFilter::from_default_env());
    let recorded = Recorder.with_filter(OfTheCrate);
    // An error means that another test was first.
    let _ = tracing_subscriber::registry().with(shown).with(recorded).try_init();
}

/// Events of the crate at `level` with `part` in them: a message, a field or its value.
pub(crate) fn about(level: Level, part: &str) -> Vec<String> {
    let recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    let of_them = recorded.iter().filter(|(at, text)| *at == level && text.contains(part));
    of_them.map(|(_, text)| text.clone()).collect()
}

struct Recorder;

/// What an operator sees by default. The rest is too much to be kept.
struct OfTheCrate;

impl<S> Filter<S> for OfTheCrate {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("zookeeper_recipes")
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.push((*event.metadata().level(), text.0));
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
