//! `zkr ls`, `who`, `watch`, `ask`, `break`, `doctor`: what stands there, read with an [`Inspector`](zookeeper_recipes::inspect::Inspector).

pub(crate) mod ask;
pub(crate) mod breaking;
pub(crate) mod doctor;
mod events;
pub(crate) mod ls;
mod probe;
pub(crate) mod watch;
pub(crate) mod who;

use std::time::SystemTime;

use serde_json::{Value, json};
use zookeeper_recipes::Contender;
use zookeeper_recipes::inspect::PlaceInfo;

use crate::output::{bytes, clean, session};
use crate::time::{age, rfc3339, show_age};

/// A contender as JSON. Its place tells how long it has held it.
pub(crate) fn contender<'a>(place: impl Into<Option<&'a PlaceInfo>>, one: &Contender) -> Value {
    let since = place.into().map(|place| place.held_since(one));
    let (at_most, at_least) = since.unwrap_or((one.since, None));
    let held = |moment: SystemTime| one.is_holder.then(|| age(moment).as_secs_f64());
    let asked = one
        .asked
        .as_ref()
        .map(|asked| json!({"by": bytes(asked.requester.as_deref().unwrap_or_default()), "reason": asked.reason}));
    json!({
        "path": one.path, "token": one.token.as_i64(), "position": one.position, "holds": one.is_holder,
        "mode": one.mode.to_string(), "layout": one.layout.to_string(), "identity": bytes(&one.identity),
        "reason": one.reason, "host": one.host(), "pid": one.pid(), "process": one.process(),
        "session": session(one.session_id),
        "joined_at": rfc3339(one.since), "held_min_s": at_least.and_then(held), "held_max_s": held(at_most),
        "asked": asked,
    })
}

/// Who it is, for people.
pub(crate) fn name(one: &Contender) -> String {
    match clean(&one.identity) {
        name if name.is_empty() => session(one.session_id),
        name => name,
    }
}

/// How long it has held the place: `43s..3m12s`, `<=41s`.
pub(crate) fn held(place: &PlaceInfo, one: &Contender) -> String {
    match place.held_since(one) {
        (most, Some(least)) if most == least => show_age(most),
        (most, Some(least)) => format!("{}..{}", show_age(least), show_age(most)),
        (most, None) => format!("<={}", show_age(most)),
    }
}
