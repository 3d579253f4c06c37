//! Every line of the reference of layouts, what Curator 5.4.0 and kazoo 2.11.0 wrote on ZooKeeper 3.8.0, through our
//! parsers and back: read from nodes that are made as the line says, and compared with what ours writes in the same place.
//! It needs none of them, and is run by `tests/it` as well, on both servers.
//!
//! A line is a path, `E` for ephemeral or `P`, and the data: none, text, or bytes in hex. A guid in it stands for any
//! other of its shape.
//!
//! * `contenders` – recipes whose clients stand in line
//! * `nodes` – recipes that are one node, or a directory of them

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use uuid::Uuid;
use zookeeper_recipes::zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, Coordinator};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE};

mod contenders;
mod nodes;

type Lines = [&'static str];

/// The nodes that `lines` say, below `dir`, made by `client`. The paths that are theirs.
async fn make(client: &Client, dir: &str, lines: &[&str]) -> Vec<String> {
    let mut paths = Vec::new();
    for line in lines {
        let mut fields = line.splitn(3, ' ');
        let (path, kind, data) = (fields.next().unwrap(), fields.next(), fields.next());
        let path = path.replace("<uuid>", &Uuid::new_v4().hyphenated().to_string());
        let path = format!("{dir}{}", path.replace("<hex>", &Uuid::new_v4().simple().to_string()));
        let mode = match kind {
            Some("E") => CreateMode::Ephemeral,
            _ => CreateMode::Persistent,
        };
        let created = client
            .create(&path, &bytes(data), &mode.with_acls(Acls::anyone_all()))
            .await;
        created.unwrap_or_else(|err| panic!("{path}: {err}"));
        paths.push(path);
    }
    paths
}

fn bytes(data: Option<&str>) -> Vec<u8> {
    let data = data.unwrap_or_default();
    let Some(hex) = data.strip_prefix("0x") else {
        return data.as_bytes().to_vec();
    };
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 16).unwrap())
        .collect()
}

/// What stands at `dir` and below, in lines.
async fn written(fixture: &Fixture, dir: &str) -> Vec<String> {
    let below = format!("{dir}/");
    let mut lines = Vec::new();
    for (path, stat) in fixture.tree().await {
        if path != dir && !path.starts_with(&below) {
            continue;
        }
        // What goes while this looks is not there.
        let Ok((data, _)) = fixture.raw().get_data(&path).await else {
            continue;
        };
        let kind = if stat.ephemeral_owner == 0 { "P" } else { "E" };
        let data = match std::str::from_utf8(&data) {
            Ok("") => String::new(),
            Ok(text) if !text.contains(char::is_control) => format!(" {text}"),
            _ => data
                .iter()
                .fold(" 0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
        };
        lines.push(format!("{} {kind}{data}", without_guid(&path)));
    }
    lines.sort();
    lines
}

fn without_guid(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap();
    let (front, rest) = match name.strip_prefix("_c_") {
        Some(rest) => ("_c_", rest),
        None => ("", name),
    };
    for (length, shape) in [(36, "<uuid>"), (32, "<hex>")] {
        if let Some((guid, tail)) = rest.split_at_checked(length)
            && Uuid::parse_str(guid).is_ok()
        {
            return format!("{dir}/{front}{shape}{tail}");
        }
    }
    path.to_owned()
}

/// `lines` without those that tell of somebody else.
fn all_but(lines: &Lines, left_out: &[usize]) -> Vec<&'static str> {
    let numbered = lines.iter().copied().enumerate();
    let mut kept: Vec<_> = numbered
        .filter(|(number, _)| !left_out.contains(number))
        .map(|(_, line)| line)
        .collect();
    kept.sort_unstable();
    kept
}

/// A session of ours that says of itself what Curator's says.
async fn connect_as_curator(fixture: &Fixture) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(LONG).identity("127.0.0.1");
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}
