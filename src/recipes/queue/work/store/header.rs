//! The data of the queue's own node: the format, and the options on which all users of a queue agree.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::retry::RetryPolicy;
use crate::error::Error;

const FORMAT: &str = "zookeeper-recipes work queue 2";

/// In which order a queue delivers its items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By priority, then by arrival. Consumers compete for the first item.
    #[default]
    Strict,
    /// A consumer takes one of the first so many pushes that are free, at random.
    ///
    /// Throughput grows with the number of consumers. An item is overtaken by what stands in so many pushes at most, per
    /// consumer. 0 counts as 1.
    Window(u16),
}

/// The options on which all users of a queue agree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) order: Order,
    pub(crate) max_attempts: u32,
    pub(crate) retry: RetryPolicy,
    pub(crate) claim_timeout: Option<Duration>,
    /// How long outcomes are kept.
    pub(crate) retention: Duration,
    /// How long keys are kept after their items are done.
    pub(crate) dedupe: Duration,
    pub(crate) capacity: Option<u64>,
    /// In which time an item becomes more urgent by one.
    pub(crate) aging: Option<Duration>,
    /// Whether every end of an item is kept as an outcome.
    pub(crate) all_outcomes: bool,
}

impl Default for Options {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            order: Order::Strict,
            max_attempts: 5,
            retry: RetryPolicy::immediate(),
            claim_timeout: None,
            retention: DAY,
            dedupe: DAY,
            capacity: None,
            aging: None,
            all_outcomes: false,
        }
    }
}

/// What a user asked for; `None` where that is left to the queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) order: Option<Order>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) claim_timeout: Option<Option<Duration>>,
    pub(crate) retention: Option<Duration>,
    pub(crate) dedupe: Option<Duration>,
    pub(crate) capacity: Option<Option<u64>>,
    pub(crate) aging: Option<Option<Duration>>,
    pub(crate) all_outcomes: Option<bool>,
}

impl Asked {
    /// What a queue is made with.
    pub(crate) fn options(&self) -> Options {
        let default = Options::default();
        let retention = self.retention.unwrap_or(default.retention);
        Options {
            order: self.order.unwrap_or(default.order),
            max_attempts: self.max_attempts.unwrap_or(default.max_attempts),
            retry: self.retry.unwrap_or(default.retry),
            claim_timeout: self.claim_timeout.unwrap_or(default.claim_timeout),
            retention,
            dedupe: self.dedupe.unwrap_or(retention),
            capacity: self.capacity.unwrap_or(default.capacity),
            aging: self.aging.unwrap_or(default.aging),
            all_outcomes: self.all_outcomes.unwrap_or(default.all_outcomes),
        }
    }

    /// An error that shows both if the queue was made otherwise.
    pub(crate) fn check(&self, path: &str, agreed: &Options) -> Result<(), Error> {
        let asked = Options {
            dedupe: self.dedupe.unwrap_or(agreed.dedupe),
            ..self.over(agreed)
        };
        let (asked, agreed) = (asked.lines(), agreed.lines());
        for (option, asked) in &asked {
            let agreed = agreed.get(option).map(String::as_str).unwrap_or_default();
            if asked != agreed {
                return Err(Error::OptionMismatch {
                    path: path.to_owned(),
                    option: (*option).to_owned(),
                    asked: asked.clone(),
                    agreed: agreed.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn over(&self, agreed: &Options) -> Options {
        Options {
            order: self.order.unwrap_or(agreed.order),
            max_attempts: self.max_attempts.unwrap_or(agreed.max_attempts),
            retry: self.retry.unwrap_or(agreed.retry),
            claim_timeout: self.claim_timeout.unwrap_or(agreed.claim_timeout),
            retention: self.retention.unwrap_or(agreed.retention),
            dedupe: self.dedupe.or(self.retention).unwrap_or(agreed.dedupe),
            capacity: self.capacity.unwrap_or(agreed.capacity),
            aging: self.aging.unwrap_or(agreed.aging),
            all_outcomes: self.all_outcomes.unwrap_or(agreed.all_outcomes),
        }
    }
}

fn millis(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "none".to_owned(), |duration| duration.as_millis().to_string())
}

fn duration(text: &str) -> Option<Option<Duration>> {
    match text {
        "none" => Some(None),
        millis => Some(Some(Duration::from_millis(millis.parse().ok()?))),
    }
}

impl Options {
    fn lines(&self) -> BTreeMap<&'static str, String> {
        let order = match self.order {
            Order::Strict => "strict".to_owned(),
            Order::Window(width) => format!("window {width}"),
        };
        BTreeMap::from([
            ("aging", millis(self.aging)),
            (
                "capacity",
                self.capacity
                    .map_or_else(|| "none".to_owned(), |capacity| capacity.to_string()),
            ),
            ("claim_timeout", millis(self.claim_timeout)),
            ("dedupe", millis(Some(self.dedupe))),
            ("max_attempts", self.max_attempts.to_string()),
            ("order", order),
            ("results", if self.all_outcomes { "all" } else { "asked" }.to_owned()),
            ("retention", millis(Some(self.retention))),
            ("retry", self.retry.to_string()),
        ])
    }

    fn set(&mut self, option: &str, value: &str) -> Option<()> {
        match option {
            "aging" => self.aging = duration(value)?,
            "capacity" => {
                self.capacity = match value {
                    "none" => None,
                    capacity => Some(capacity.parse().ok()?),
                };
            }
            "claim_timeout" => self.claim_timeout = duration(value)?,
            "dedupe" => self.dedupe = duration(value)??,
            "max_attempts" => self.max_attempts = value.parse().ok()?,
            "order" => {
                self.order = match value.strip_prefix("window ") {
                    None if value == "strict" => Order::Strict,
                    None => return None,
                    Some(width) => Order::Window(width.parse().ok()?),
                };
            }
            "results" => self.all_outcomes = value == "all",
            "retention" => self.retention = duration(value)??,
            "retry" => self.retry = value.parse().ok()?,
            _ => {}
        }
        Some(())
    }
}

/// What the queue's node says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) options: Options,
    pub(crate) paused: bool,
    /// Who paused it.
    pub(crate) paused_by: Option<String>,
    /// Why.
    pub(crate) pause_reason: Option<String>,
    /// Lines of a newer version, which are kept.
    unknown: Vec<String>,
    /// The version of the node's data.
    pub(crate) version: i32,
}

impl Header {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            paused: false,
            paused_by: None,
            pause_reason: None,
            unknown: Vec::new(),
            version: 0,
        }
    }

    pub(crate) fn parse(path: &str, data: &[u8], version: i32) -> Result<Self, Error> {
        let problem = |reason| Error::Layout {
            path: path.to_owned(),
            reason,
        };
        let foreign = "it holds something else than a work queue of this crate; choose another path";
        let text = std::str::from_utf8(data).map_err(|_| problem(foreign))?;
        let mut lines = text.lines();
        match lines.next() {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("zookeeper-recipes work queue ") => {
                return Err(problem(
                    "it is a work queue of another format, and this crate writes format 2; choose another path",
                ));
            }
            _ => return Err(problem(foreign)),
        }
        let mut header = Self {
            version,
            ..Self::new(Options::default())
        };
        let known = header.options.lines();
        for line in lines {
            let unreadable = "an option of the queue cannot be read; write it again with the version that made it";
            match line.split_once(' ') {
                Some(("paused", value)) => header.paused = value == "1",
                Some(("paused_by", value)) => header.paused_by = Some(value.to_owned()),
                Some(("pause_reason", value)) => header.pause_reason = Some(value.to_owned()),
                Some(("requires", _)) => {
                    return Err(problem(
                        "it requires a newer version of this crate; update all users of the queue",
                    ));
                }
                Some((option, value)) if known.contains_key(option) => {
                    header.options.set(option, value).ok_or_else(|| problem(unreadable))?;
                }
                _ => header.unknown.push(line.to_owned()),
            }
        }
        // An older version that resumes leaves them standing.
        if !header.paused {
            (header.paused_by, header.pause_reason) = (None, None);
        }
        Ok(header)
    }

    /// Pauses the queue, in the name of an identity.
    pub(crate) fn pause(&mut self, identity: &[u8], reason: &str) {
        self.paused = true;
        self.paused_by = one_line(&String::from_utf8_lossy(identity));
        self.pause_reason = one_line(reason);
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
        self.paused_by = None;
        self.pause_reason = None;
    }

    pub(crate) fn data(&self) -> Bytes {
        let mut lines: Vec<String> = self
            .options
            .lines()
            .into_iter()
            .map(|(option, value)| format!("{option} {value}"))
            .collect();
        lines.push(format!("paused {}", u8::from(self.paused)));
        let told = [("paused_by", &self.paused_by), ("pause_reason", &self.pause_reason)];
        let told = told
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_deref()?)));
        lines.extend(told.map(|(name, text)| format!("{name} {text}")));
        lines.extend(self.unknown.iter().cloned());
        lines.sort();
        format!("{FORMAT}\n{}\n", lines.join("\n")).into()
    }
}

/// Text that fits into a line of the header; nothing if it is empty.
fn one_line(text: &str) -> Option<String> {
    const LONGEST: usize = 512;
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
