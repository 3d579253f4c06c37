//! What happened at a place between two looks: pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use zookeeper_recipes::Contender;
use zookeeper_recipes::inspect::{PlaceInfo, PlaceKind};

use super::{held, name};
use crate::output::clean;
use crate::time::{age, show_duration};

/// More events of one name in one look are one line.
const MOST: usize = 16;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    /// What happened.
    pub(super) name: &'static str,
    /// To whom, if to one alone.
    pub(super) contender: Option<Contender>,
    /// How long that one had waited.
    pub(super) waited: Option<Duration>,
    /// How many events this one stands for.
    pub(super) count: usize,
    /// The rest, for people.
    pub(super) text: String,
}

impl Event {
    pub(super) fn of_place(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            contender: None,
            waited: None,
            count: 1,
            text: text.into(),
        }
    }

    fn of(name: &'static str, contender: &Contender, text: impl Into<String>) -> Self {
        Self {
            contender: Some(contender.clone()),
            ..Self::of_place(name, text)
        }
    }

    /// The line without the moment in front.
    pub(super) fn line(&self) -> String {
        let about = match &self.contender {
            Some(one) => format!("{} {} {}", self.name, one.token, name(one)),
            None if self.count > 1 => format!("{} {} contenders", self.name, self.count),
            None => self.name.to_owned(),
        };
        match self.text.as_str() {
            "" => about,
            text => format!("{about} {text}"),
        }
    }
}

/// Who stands there when the watch begins.
pub(super) fn standing(place: Option<&PlaceInfo>) -> Vec<Event> {
    let Some(place) = place else {
        return vec![Event::of_place("empty", "there is no node")];
    };
    let events: Vec<Event> = place.contenders.iter().map(|one| stands(place, one)).collect();
    match (events.is_empty(), place.kind) {
        (false, _) => merged(events),
        (true, PlaceKind::Node) => vec![data(place)],
        (true, kind) => vec![Event::of_place("empty", format!("{kind}, {} children", place.count))],
    }
}

fn stands(place: &PlaceInfo, one: &Contender) -> Event {
    match one.is_holder {
        true => Event::of("holds", one, held(place, one)),
        false => waits(one),
    }
}

fn waits(one: &Contender) -> Event {
    let waited = age(one.since);
    Event {
        waited: Some(waited),
        ..Event::of("waits", one, show_duration(waited))
    }
}

fn data(place: &PlaceInfo) -> Event {
    let (version, length) = (place.stat.version, place.stat.data_length);
    Event::of_place("data", format!("version {version}, {length} bytes"))
}

/// What happened between two looks: leaves first, then grants, joins and requests.
pub(super) fn between(old: Option<&PlaceInfo>, new: Option<&PlaceInfo>) -> Vec<Event> {
    let (Some(old), Some(new)) = (old, new) else {
        return match (old, new) {
            (Some(old), None) => {
                let mut events: Vec<Event> = old.contenders.iter().map(|one| left(old, one)).collect();
                events.push(Event::of_place("empty", "the node is gone"));
                merged(events)
            }
            (None, Some(new)) if new.kind == PlaceKind::Node && new.stat.data_length > 0 => vec![data(new)],
            (None, Some(new)) => merged(arrivals(new, &HashMap::new())),
            _ => Vec::new(),
        };
    };
    let there: HashSet<_> = new.contenders.iter().map(|one| one.token).collect();
    let before: HashMap<_, _> = old.contenders.iter().map(|one| (one.token, one)).collect();
    let gone = old.contenders.iter().filter(|one| !there.contains(&one.token));
    let mut events: Vec<Event> = gone.map(|one| left(old, one)).collect();
    events.extend(arrivals(new, &before));
    // The first contender makes a lock of a mere directory.
    let is_node = [old.kind, new.kind].contains(&PlaceKind::Node);
    if old.kind != new.kind && !is_node {
        events.push(Event::of_place("kind", new.kind.to_string()));
    }
    if new.contenders.is_empty() && old.contenders.is_empty() {
        if (old.stat.mzxid, old.stat.czxid) != (new.stat.mzxid, new.stat.czxid) {
            events.push(data(new));
        }
        if old.count != new.count {
            events.push(Event::of_place("children", new.count.to_string()));
        }
    }
    merged(events)
}

fn arrivals(new: &PlaceInfo, before: &HashMap<zookeeper_recipes::FencingToken, &Contender>) -> Vec<Event> {
    let mut events = Vec::new();
    for one in &new.contenders {
        let known = before.get(&one.token);
        if known.is_none() {
            events.push(Event::of(
                "joined",
                one,
                one.reason.as_deref().map_or(String::new(), quoted),
            ));
        }
        let is_granted = one.is_holder && known.is_none_or(|known| !known.is_holder);
        if new.kind.is_line() && is_granted {
            let waited = age(one.since);
            events.push(Event {
                waited: Some(waited),
                ..Event::of("granted", one, format!("waited {}", show_duration(waited)))
            });
        }
        if let Some(asked) = &one.asked
            && known.is_none_or(|known| known.asked != one.asked)
        {
            let by = asked
                .requester
                .as_ref()
                .map_or("another client".to_owned(), |by| clean(by));
            let why = asked.reason.as_deref().map_or(String::new(), quoted);
            events.push(Event::of("asked", one, format!("to make way by {by} {why}").trim_end()));
        }
    }
    // Grants before joins, as they follow a leave.
    events.sort_by_key(|event| {
        ["granted", "joined", "asked"]
            .iter()
            .position(|name| *name == event.name)
    });
    events
}

fn quoted(text: &str) -> String {
    format!("({})", clean(text.as_bytes()))
}

fn left(old: &PlaceInfo, one: &Contender) -> Event {
    match one.is_holder && old.kind.is_line() {
        true => Event::of("left", one, format!("held {}", held(old, one))),
        false => Event::of("left", one, format!("after {}", show_duration(age(one.since)))),
    }
}

/// Many events of one name become one.
fn merged(events: Vec<Event>) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    let mut of_name: HashMap<&str, usize> = HashMap::new();
    for event in &events {
        *of_name.entry(event.name).or_default() += 1;
    }
    for event in events {
        let count = of_name[event.name];
        if count <= MOST {
            all.push(event);
        } else if !all.iter().any(|other| other.name == event.name) {
            all.push(Event {
                count,
                ..Event::of_place(event.name, "")
            });
        }
    }
    all
}
