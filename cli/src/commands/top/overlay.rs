//! What lies over the panels: a place, the findings, the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};
use zookeeper_recipes::Contender;

use super::board::{Board, Depth};
use super::screen::plain;
use super::view::{Overlay, View};
use crate::commands::look::{held, name};
use crate::output::{clean, counted, shorten, wrap};
use crate::time::{show_age, show_duration};

const KEYS: [&str; 15] = [
    "q, esc     quit, or close what is open",
    "enter      who stands at the selected place",
    "1 2 3 tab  lines, queues, holds: where a row is selected",
    "up down    select a row (k, j); scroll what is open (page up, page down)",
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
    let Some(inner) = inside(area) else { return };
    let title = match open {
        Overlay::Place(path) => shorten(&clean(path.as_bytes()), 50),
        Overlay::Findings => "what the doctor finds".to_owned(),
        Overlay::Help => "keys".to_owned(),
    };
    let (rows, most) = (rows(inner, board, open), room(inner));
    let above = view.scroll.min(rows.len().saturating_sub(most));
    let below = rows.len().saturating_sub(above + most);
    let mut block = Block::bordered()
        .title(format!(" {title} (esc closes) "))
        .style(plain(view));
    if let Some(hidden) = hidden(above, below) {
        block = block.title_bottom(hidden);
    }
    let shown: Vec<Line<'_>> = rows.into_iter().skip(above).take(most).map(Line::from).collect();
    frame.render_widget(Clear, inner);
    frame.render_widget(Paragraph::new(shown).block(block), inner);
}

/// How far what is open can be scrolled, at most.
pub(super) fn furthest(area: Rect, board: &Board, open: &Overlay) -> usize {
    inside(area).map_or(0, |inner| rows(inner, board, open).len().saturating_sub(room(inner)))
}

/// Where it lies; nothing if there is no room.
fn inside(area: Rect) -> Option<Rect> {
    let inner = Rect {
        x: area.x + area.width.min(2),
        y: area.y + area.height.min(2),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(4),
    };
    (inner.width >= 4 && inner.height >= 3).then_some(inner)
}

/// So many lines fit between the borders.
fn room(inner: Rect) -> usize {
    usize::from(inner.height.saturating_sub(2))
}

/// What does not fit, told on the lower border.
fn hidden(above: usize, below: usize) -> Option<String> {
    match (above, below) {
        (0, 0) => None,
        (0, below) => Some(format!(" {} below: down ", counted(below, "line"))),
        (above, 0) => Some(format!(" {} above: up ", counted(above, "line"))),
        (above, below) => Some(format!(" {above} above, {} below: up, down ", counted(below, "line"))),
    }
}

/// The lines of what is open, as wide as they may be.
fn rows(inner: Rect, board: &Board, open: &Overlay) -> Vec<String> {
    let width = usize::from(inner.width.saturating_sub(2));
    let rows = match open {
        Overlay::Place(path) => place(board, path),
        Overlay::Findings => findings(board),
        Overlay::Help => KEYS.into_iter().map(str::to_owned).collect(),
    };
    rows.iter().flat_map(|row| wrap(row, width)).collect()
}

fn findings(board: &Board) -> Vec<String> {
    match board.findings.as_deref() {
        None => vec!["it has not looked yet".to_owned()],
        Some([]) => vec!["nothing is wrong here".to_owned()],
        Some(all) => all
            .iter()
            .flat_map(|one| {
                let what = format!("{}  {}  {}", one.severity, one.check, clean(one.message.as_bytes()));
                let remedy = format!("    {}", clean(one.remedy.as_bytes()));
                [what, remedy]
            })
            .collect(),
    }
}

fn depth(depth: Depth) -> Vec<String> {
    let oldest = depth.oldest.map_or("-".to_owned(), show_duration);
    vec![
        format!(
            "ready {}  claimed {}  dead {}  oldest {oldest}",
            depth.ready, depth.claimed, depth.dead
        ),
        "zkr queue stats, dead, show tell more".to_owned(),
    ]
}

/// Who stands at the place that is open.
fn place(board: &Board, path: &str) -> Vec<String> {
    let Some(row) = board.row(path) else {
        return vec!["nobody stands there any more".to_owned()];
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
        let who = shorten(&name(one), 20);
        let token = one.token.to_string();
        let row = format!("{:>3} {token:>12} {who:<20} {state:<16} {reason}", one.position);
        row.trim_end().to_owned()
    };
    row.place.contenders.iter().map(contender).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told() {
        assert_eq!(hidden(0, 0), None);
        assert_eq!(hidden(0, 1).as_deref(), Some(" 1 line below: down "));
        assert_eq!(hidden(3, 0).as_deref(), Some(" 3 lines above: up "));
        assert_eq!(hidden(3, 2).as_deref(), Some(" 3 above, 2 lines below: up, down "));
    }

    #[test]
    fn no_size_of_the_screen_panics() {
        let board = Board::default();
        for (width, height) in [(0, 0), (7, 6), (8, 7), (20, 9), (80, 24)] {
            let area = Rect::new(0, 0, width, height);
            let furthest = furthest(area, &board, &Overlay::Help);
            assert_eq!(
                furthest == 0,
                inside(area).is_none() || height == 24,
                "{width} x {height}"
            );
        }
    }
}
