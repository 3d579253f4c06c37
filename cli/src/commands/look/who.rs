//! `zkr who`: who stands in a line.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::inspect::{Detail, Inspector, PlaceInfo};
use zookeeper_recipes::{Contender, Mode};

use super::super::look;
use super::{contender, held, name};
use crate::admin::{Connections, session_id};
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{clean, counted, session, table};
use crate::time::{show_age, show_clock};

#[derive(Args, Debug)]
pub(crate) struct WhoArgs {
    /// The place, from the chroot; with --session the tree
    #[arg(value_parser = parse_path, required_unless_present = "session")]
    path: Option<String>,
    /// All that this session holds and waits for below the path, such as 0x1000a1b2c3d0007
    #[arg(long, value_name = "ID", value_parser = parse_session)]
    session: Option<i64>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl WhoArgs {
    pub(crate) fn of(path: &str) -> Self {
        Self {
            path: Some(path.to_owned()),
            session: None,
            limit: 100,
        }
    }
}

pub(crate) async fn run(globals: &Globals, args: &WhoArgs) -> Result<u8, Failure> {
    if let Some(id) = args.session {
        return of_session(globals, args, id).await;
    }
    let path = args.path.as_deref().unwrap_or("/");
    let connections = Connections::ask(globals).await?;
    let place = look(globals, async |zk| Ok(Inspector::new(zk).line(path).await?)).await?;
    let Some(place) = place.filter(|place| place.count > 0) else {
        return Err(Failure::no(format!("{path}: nobody holds it, and nobody waits")).at(path));
    };
    let out = globals.output();
    if out.json {
        let connected = |one: &Contender| {
            let mut object = contender(&place, one);
            if let Some(connections) = &connections {
                object["connection"] = connections.object(one.session_id);
            }
            object
        };
        let all: Vec<Value> = place.contenders.iter().map(connected).collect();
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
        "{path}: {}{doubt}, {} ({}){next}",
        place.kind,
        counted(place.contenders.len(), "contender"),
        layouts.join(", ")
    ));
    let shown = &place.contenders[..place.contenders.len().min(args.limit)];
    let rows: Vec<Vec<String>> = shown.iter().map(|one| row(&place, one, out.utc)).collect();
    out.line(table(&["#", "TOKEN", "WHO", "SESSION", "JOINED", "STATE"], &rows, &[2, 5]).trim_end());
    for one in shown {
        if let Some(connections) = &connections {
            out.prose(&format!("#{} {}", one.position, connections.text(one.session_id)));
        }
        if let Some(first) = earlier_of_its_process(shown, one) {
            out.prose(&format!(
                "#{} another session of the process of #{}",
                one.position, first.position
            ));
        }
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

/// The first contender of the same process, if it has another session.
fn earlier_of_its_process<'a>(shown: &'a [Contender], one: &Contender) -> Option<&'a Contender> {
    let process = one.process()?;
    let first = shown.iter().find(|other| other.process().as_ref() == Some(&process))?;
    (first.session_id != one.session_id).then_some(first)
}

fn parse_session(text: &str) -> Result<i64, String> {
    session_id(text).ok_or_else(|| format!("{text:?} is no session; zkr who prints them, such as 0x1000a1b2c3d0007"))
}

/// `--session`: all that one session holds and waits for.
async fn of_session(globals: &Globals, args: &WhoArgs, id: i64) -> Result<u8, Failure> {
    let tree = args.path.as_deref().unwrap_or("/");
    let connections = Connections::ask(globals).await?;
    let found = look(globals, async |zk| {
        let mut found = Vec::new();
        let visit = |place: PlaceInfo| {
            let own = place.contenders.iter().filter(|one| one.session_id == id);
            let own: Vec<Contender> = own.cloned().collect();
            found.extend(own.into_iter().map(|one| (place.clone(), one)));
        };
        Inspector::new(zk).for_each(tree, Detail::Contenders, visit).await?;
        Ok(found)
    })
    .await?;
    if found.is_empty() {
        let text = session(id);
        return Err(Failure::no(format!("session {text} has nothing at or below {tree}")).at(tree));
    }
    let out = globals.output();
    if out.json {
        let all: Vec<Value> = found.iter().map(|(place, one)| contender(place, one)).collect();
        let mut object = json!({"path": tree, "place": "session", "session": session(id), "contenders": all});
        if let Some(connections) = &connections {
            object["connection"] = connections.object(id);
        }
        out.object("who", object);
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(place, one)| {
            let cells = row(place, one, out.utc);
            vec![
                clean(place.path.as_bytes()),
                place.kind.to_string(),
                one.token.to_string(),
                cells[4].clone(),
                cells[5].clone(),
            ]
        })
        .collect();
    out.line(table(&["PATH", "KIND", "TOKEN", "JOINED", "STATE"], &rows, &[0]).trim_end());
    if let Some(connections) = &connections {
        out.prose(&connections.text(id));
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
