//! `zkr group`: the members of a group.

use clap::Args;
use serde_json::{Value, json};
use zookeeper_recipes::{Group, Member};

use super::look;
use crate::failure::Failure;
use crate::globals::{Globals, parse_path};
use crate::output::{bytes, clean, session, shorten, table, width};

#[derive(Args, Debug)]
pub(crate) struct GroupArgs {
    /// The group, from the chroot
    #[arg(value_parser = parse_path)]
    path: String,
}

pub(crate) async fn run(globals: &Globals, args: &GroupArgs) -> Result<u8, Failure> {
    let path = &args.path;
    let members = look(globals, async |zk| Ok(Group::new(zk, path)?.members().await?)).await?;
    let out = globals.output();
    if out.json {
        let all: Vec<Value> = members.iter().map(member).collect();
        out.object("group", json!({"path": path, "members": all}));
        return Ok(u8::from(members.is_empty()));
    }
    if members.is_empty() {
        return Err(Failure::no(format!("{path} has no members")).at(path));
    }
    let row = |one: &Member| {
        let data = clean(&one.data);
        let data = if width().is_some() { shorten(&data, 60) } else { data };
        vec![
            clean(one.id.as_bytes()),
            session(one.session_id),
            one.joined.to_string(),
            data,
        ]
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    out.line(table(&["ID", "SESSION", "TOKEN", "DATA"], &rows, &[3, 0]).trim_end());
    Ok(0)
}

fn member(one: &Member) -> Value {
    json!({
        "id": one.id, "data": bytes(&one.data), "session": session(one.session_id), "token": one.joined,
    })
}
