//! One look as text, for a pipe.

use super::TopArgs;
use super::board::{Board, Order};
use crate::commands::look::{held, name};
use crate::output::{clean, session, table};
use crate::time::{show_age, show_duration};

/// So many rows a table.
const ROWS: usize = 20;

pub(super) fn text(args: &TopArgs, board: &Board) -> String {
    let lines = board.lines(Order::Waiters, "");
    let rows = lines.iter().take(ROWS).map(|row| {
        let place = &row.place;
        vec![
            clean(place.path.as_bytes()),
            place.kind.to_string(),
            row.waiting().to_string(),
            place.oldest_wait().map_or("-".to_owned(), show_age),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = table(&["LINES", "KIND", "WAIT", "OLDEST WAIT"], &rows, &[0]);
    let queues: Vec<Vec<String>> = board
        .queues("")
        .into_iter()
        .take(ROWS)
        .map(|(row, depth)| {
            vec![
                clean(row.place.path.as_bytes()),
                depth.ready.to_string(),
                depth.claimed.to_string(),
                depth.dead.to_string(),
                depth.oldest.map_or("-".to_owned(), show_duration),
            ]
        })
        .collect();
    if !queues.is_empty() {
        text.push('\n');
        text.push_str(&table(&["QUEUES", "READY", "CLAIMED", "DEAD", "OLDEST"], &queues, &[0]));
    }
    let holds: Vec<Vec<String>> = board
        .holds("")
        .into_iter()
        .take(ROWS)
        .map(|(row, one)| {
            vec![
                clean(row.place.path.as_bytes()),
                name(one),
                held(&row.place, one),
                row.waiting().to_string(),
                one.token.to_string(),
                session(one.session_id),
            ]
        })
        .collect();
    if !holds.is_empty() {
        text.push('\n');
        let header = ["OLDEST HOLDS", "WHO", "HELD", "WAIT", "TOKEN", "SESSION"];
        text.push_str(&table(&header, &holds, &[0, 1]));
    }
    text.push_str(&format!(
        "\n{}: {} lines, {} wait, {} sessions; {} requests\n",
        args.tree,
        lines.len(),
        board.waiting(),
        board.sessions(),
        board.requests
    ));
    text
}
