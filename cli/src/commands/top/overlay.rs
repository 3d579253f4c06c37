//! What lies over the panels: a place, the findings, the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use zookeeper_recipes::Contender;

use super::board::{Board, Depth};
use super::screen::plain;
use super::view::{Overlay, View};
use crate::commands::look::{held, name};
use crate::output::{clean, shorten};
use crate::time::{show_age, show_duration};

const KEYS: [&str; 15] = [
    "q, esc     quit, or close what is open",
    "enter      who stands at the selected place",
    "1 2 3 tab  lines, queues, holds: where a row is selected",
    "up down    select a row (k, j)",
    "s          sort lines by waiters, oldest wait, path",
    "/          show only paths with a text; esc shows all",
    "d          what the doctor finds; it looks at once",
    "a          ask the holders of the place to make way: asks for the reason",
    "b          remove a contender: asks for its token, and shows what it will do",
    "p          pause; what is shown stays",
    "+ -        look twice or half as often",
    "ctrl-z     stop; fg goes on",
    "",
    "HELD: 4s..6s is between the two, <=6s at most, 4s.. at least so long.",
    "Without a terminal: zkr top --once, zkr --json top.",
];

pub(super) fn overlay(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View, open: &Overlay) {
    let (title, rows) = match open {
        Overlay::Place(path) => (shorten(&clean(path.as_bytes()), 50), place(board, path)),
        Overlay::Findings => ("what the doctor finds".to_owned(), findings(board)),
        Overlay::Help => ("keys".to_owned(), KEYS.into_iter().map(Line::from).collect()),
    };
    let inner = Rect {
        x: area.x + area.width.min(2),
        y: area.y + area.height.min(2),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(4),
    };
    if inner.width < 4 || inner.height < 3 {
        return;
    }
    let block = Block::bordered()
        .title(format!(" {title} (esc closes) "))
        .style(plain(view));
    let text = Paragraph::new(rows).block(block).wrap(Wrap { trim: false });
    frame.render_widget(Clear, inner);
    frame.render_widget(text, inner);
}

fn findings(board: &Board) -> Vec<Line<'static>> {
    match board.findings.as_deref() {
        None => vec![Line::from("it has not looked yet")],
        Some([]) => vec![Line::from("nothing is wrong here")],
        Some(all) => all
            .iter()
            .flat_map(|one| {
                let what = format!("{}  {}  {}", one.severity, one.check, clean(one.message.as_bytes()));
                let remedy = format!("    {}", clean(one.remedy.as_bytes()));
                [Line::from(what), Line::from(remedy)]
            })
            .collect(),
    }
}

fn depth(depth: Depth) -> Vec<Line<'static>> {
    let oldest = depth.oldest.map_or("-".to_owned(), show_duration);
    vec![
        Line::from(format!(
            "ready {}  claimed {}  dead {}  oldest {oldest}",
            depth.ready, depth.claimed, depth.dead
        )),
        Line::from("zkr queue stats, dead, show tell more"),
    ]
}

/// Who stands at the place that is open.
fn place(board: &Board, path: &str) -> Vec<Line<'static>> {
    let Some(row) = board.row(path) else {
        return vec![Line::from("nobody stands there any more")];
    };
    if let Some(queue) = row.depth {
        return depth(queue);
    }
    let contender = |one: &Contender| {
        let state = match one.is_holder {
            true => format!("holds {}", held(&row.place, one)),
            false => format!("waits {}", show_age(one.since)),
        };
        let reason = one.reason.as_deref().map_or(String::new(), |why| clean(why.as_bytes()));
        Line::from(format!(
            "{:>3} {:>12} {:<20} {state:<16} {reason}",
            one.position,
            one.token.to_string(),
            shorten(&name(one), 20)
        ))
    };
    row.place.contenders.iter().map(contender).collect()
}
