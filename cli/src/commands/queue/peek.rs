//! `zkr queue pop --peek`.

use serde_json::{Value, json};
use zookeeper_recipes::queue::ReadyItem;

use super::super::look;
use super::existing;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::{bytes, clean, table, write_out};

/// So many bytes of a payload are listed; `--json` has all of them.
const WIDEST: usize = 60;

/// What of the items that are next is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peek {
    /// The payload of the first one.
    Payload,
    /// A list of so many.
    List(usize),
}

pub(crate) fn parse_peek(text: &str) -> Result<Peek, String> {
    match text {
        "" => Ok(Peek::Payload),
        text => match text.parse() {
            Ok(most @ 1..=512) => Ok(Peek::List(most)),
            _ => Err("not a number of items, from 1 to 512".to_owned()),
        },
    }
}

impl Peek {
    pub(crate) async fn run(self, globals: &Globals, path: &str) -> Result<u8, Failure> {
        let most = match self {
            Self::Payload => 1,
            Self::List(most) => most,
        };
        let items = look(globals, async |zk| {
            let queue = existing(zk, path).await?;
            let items = queue.peek(most).await?;
            match items.is_empty() {
                true => Err(nothing(path)),
                false => Ok(items),
            }
        })
        .await?;
        let out = globals.output();
        match (out.json, self) {
            (true, _) => items.iter().for_each(|item| out.object("queue_item", object(item))),
            (false, Self::Payload) => items.iter().for_each(|item| write_out(&item.payload)),
            (false, Self::List(_)) => {
                let rows: Vec<Vec<String>> = items.iter().map(row).collect();
                let header = ["ID", "PRIORITY", "ATTEMPTS", "PAYLOAD"];
                out.line(table(&header, &rows, &[3, 0]).trim_end());
            }
        }
        Ok(0)
    }
}

fn nothing(path: &str) -> Failure {
    let message = format!("{path} has nothing to pop now; zkr queue stats tells what is claimed, delayed or paused");
    Failure::no(message).at(path)
}

fn object(item: &ReadyItem) -> Value {
    json!({
        "id": item.id.to_string(), "status": "ready", "attempt": item.attempts, "priority": item.priority,
        "key": item.key, "group": item.group, "payload": bytes(&item.payload),
    })
}

fn row(item: &ReadyItem) -> Vec<String> {
    let mut payload = clean(&item.payload[..item.payload.len().min(WIDEST)]);
    if item.payload.len() > WIDEST {
        payload.push_str("...");
    }
    vec![
        item.id.to_string(),
        item.priority.to_string(),
        item.attempts.to_string(),
        payload,
    ]
}
