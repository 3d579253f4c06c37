//! What the crate warned of.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Collects the warnings of this thread, and so of a whole test on a runtime of one thread.
pub(crate) struct Warnings {
    collected: Arc<Mutex<Vec<String>>>,
    _default: DefaultGuard,
}

impl Warnings {
    pub(crate) fn capture() -> Self {
        let collected = Arc::default();
        let subscriber = tracing_subscriber::registry().with(Collector(Arc::clone(&collected)));
        Self {
            collected,
            _default: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Those with `part` in them.
    pub(crate) fn about(&self, part: &str) -> Vec<String> {
        let collected = self.collected.lock().unwrap();
        collected
            .iter()
            .filter(|warning| warning.contains(part))
            .cloned()
            .collect()
    }
}

struct Collector(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() <= Level::WARN && metadata.target().starts_with("zookeeper_recipes") {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}
