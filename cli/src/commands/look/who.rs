//! `zkr who`: who stands in a line.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::inspect::{Inspector, PlaceInfo};
use zookeeper_recipes::{Contender, Mode};

use super::super::look;
use super::{contender, held, name};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{clean, session, table};
use crate::time::{show_age, show_clock};

#[derive(Args, Debug)]
pub(crate) struct WhoArgs {
    /// The place, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(crate) async fn run(globals: &Globals, args: &WhoArgs) -> Result<u8, Failure> {
    let path = &args.path;
    let place = look(globals, async |zk| Ok(Inspector::new(zk).line(path).await?)).await?;
    let Some(place) = place.filter(|place| place.count > 0) else {
        return Err(Failure::no(format!("{path}: nobody holds it, and nobody waits")).at(path));
    };
    let out = globals.output();
    if out.json {
        let all: Vec<Value> = place.contenders.iter().map(|one| contender(&place, one)).collect();
        out.object(
            "who",
            json!({"path": path, "place": place.kind.to_string(), "contenders": all}),
        );
        return Ok(0);
    }
    let layouts: Vec<String> = place.layouts().iter().map(ToString::to_string).collect();
    let next = place
        .next_sequence
        .map(|next| format!(", next number {next}"))
        .unwrap_or_default();
    let doubt = if place.certain { "" } else { "?" };
    out.prose(&format!(
        "{path}: {}{doubt}, {} contenders ({}){next}",
        place.kind,
        place.contenders.len(),
        layouts.join(", ")
    ));
    let shown = &place.contenders[..place.contenders.len().min(args.limit)];
    let rows: Vec<Vec<String>> = shown.iter().map(|one| row(&place, one, out.utc)).collect();
    out.line(table(&["#", "TOKEN", "WHO", "SESSION", "JOINED", "STATE"], &rows, &[2, 5]).trim_end());
    for one in shown {
        remarks(one, |remark| out.prose(&format!("#{} {remark}", one.position)));
    }
    if shown.len() < place.contenders.len() {
        out.line(&format!(
            "{} more; --limit shows them",
            place.contenders.len() - shown.len()
        ));
    }
    Ok(0)
}

fn row(place: &PlaceInfo, one: &Contender, utc: bool) -> Vec<String> {
    let state = match (one.is_holder, one.mode) {
        (true, Mode::Shared) => format!("shares {}", held(place, one)),
        (true, _) => format!("holds {}", held(place, one)),
        (false, _) => "waits".to_owned(),
    };
    vec![
        one.position.to_string(),
        one.token.to_string(),
        name(one),
        session(one.session_id),
        format!("{} ({})", show_clock(one.since, utc), show_age(one.since)),
        state,
    ]
}

fn remarks(one: &Contender, mut say: impl FnMut(&str)) {
    let reason = one.reason.as_ref().map(|reason| clean(reason.as_bytes()));
    let asked = one.asked.as_ref().map(|asked| {
        let by = asked
            .requester
            .as_ref()
            .map_or("another client".to_owned(), |by| clean(by));
        let why = asked.reason.as_ref().map(|why| format!(" ({})", clean(why.as_bytes())));
        format!("asked to make way by {by}{}", why.unwrap_or_default())
    });
    let all: Vec<String> = reason.into_iter().chain(asked).collect();
    if !all.is_empty() {
        say(&all.join("; "));
    }
}
