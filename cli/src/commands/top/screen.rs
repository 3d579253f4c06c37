//! Draws a [`Board`]: pure.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::board::{Board, Order, Row, sparkline};
use crate::commands::look::{held, name};
use crate::output::{clean, session, shorten};
use crate::time::{show_age, show_clock, show_duration};

/// What a user has chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) title: String,
    pub(super) state: String,
    pub(super) every: Duration,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) selected: usize,
    pub(super) open: Option<String>,
    pub(super) colors: bool,
    pub(super) unicode: bool,
    pub(super) utc: bool,
}

const TREND: usize = 12;
/// From here on lines and queues stand side by side.
const WIDE: u16 = 78;

pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, view: &View) {
    let area = frame.area();
    if area.height == 0 || area.width == 0 {
        return;
    }
    let row = |y: u16, height: u16| Rect {
        y: area.y + y.min(area.height),
        height: height.min(area.height.saturating_sub(y)),
        ..area
    };
    title(frame, row(0, 1), board, view);
    let body = area.height.saturating_sub(2);
    match (area.width >= WIDE, body) {
        (_, 0..8) => lines(frame, row(1, body), board, view),
        (true, _) => {
            let upper = body / 2;
            let left = area.width / 2;
            let half = row(1, upper);
            lines(frame, Rect { width: left, ..half }, board, view);
            let right = Rect {
                x: half.x + left,
                width: area.width - left,
                ..half
            };
            queues(frame, right, board, view);
            holds(frame, row(1 + upper, body - upper), board, view);
        }
        (false, _) => {
            let third = body / 3;
            lines(frame, row(1, body - 2 * third), board, view);
            queues(frame, row(1 + body - 2 * third, third), board, view);
            holds(frame, row(1 + body - third, third), board, view);
        }
    }
    footer(frame, row(area.height.saturating_sub(1), 1), view);
    if let Some(path) = &view.open {
        who(frame, area, board, view, path);
    }
}

fn plain(view: &View) -> Style {
    match view.state.as_str() {
        "connected" => Style::new(),
        // What is shown is of the past.
        _ => Style::new().add_modifier(Modifier::DIM),
    }
}

fn title(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let at = board.at.map_or("-".to_owned(), |at| show_clock(at, view.utc));
    let paused = if view.paused { "  paused" } else { "" };
    let state = match &board.problem {
        Some(problem) => problem.clone(),
        None => view.state.clone(),
    };
    let rest = format!(
        "  {at}  {}s  rows <={} old  {} req{paused}  [{state}]",
        view.every.as_secs_f32(),
        show_duration(board.oldest()),
        board.requests
    );
    let room = usize::from(area.width).saturating_sub(rest.len() + 9);
    let text = format!("zkr top  {}{rest}", shorten(&view.title, room.max(5)));
    let style = Style::new().add_modifier(Modifier::REVERSED);
    let width = usize::from(area.width);
    frame.render_widget(Paragraph::new(format!("{text:<width$}")).style(style), area);
}

fn footer(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let text = match (view.typing, view.filter.is_empty()) {
        (true, _) => format!("/{}_", view.filter),
        (false, true) => format!(
            "q quit  enter who  s sort ({})  / filter  p pause  + - pace",
            view.order.name()
        ),
        (false, false) => format!(
            "q quit  enter who  s sort ({})  filter {}",
            view.order.name(),
            view.filter
        ),
    };
    frame.render_widget(Paragraph::new(text), area);
}

/// A panel: a header, and rows of text.
fn panel(frame: &mut Frame<'_>, area: Rect, header: String, rows: Vec<Line<'_>>) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut all = vec![Line::styled(header, bold)];
    all.extend(rows.into_iter().take(usize::from(area.height.saturating_sub(1))));
    frame.render_widget(Paragraph::new(all), area);
}

fn lines(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let rows = board.lines(view.order, &view.filter);
    let width = usize::from(area.width);
    let path = width.saturating_sub(2 + 9 + 6 + 1 + TREND).clamp(5, 60);
    let visible = usize::from(area.height.saturating_sub(1)).max(1);
    let first = view.selected.saturating_sub(visible - 1);
    let shown = rows.iter().enumerate().skip(first).take(visible).map(|(index, row)| {
        let is_selected = index == view.selected.min(rows.len().saturating_sub(1));
        let place = &row.place;
        let text = format!(
            "{}{:<path$} {:<8} {:>5} ",
            if is_selected { "> " } else { "  " },
            shorten(&clean(place.path.as_bytes()), path),
            shorten(&kind(row), 8),
            row.waiting(),
        );
        let style = match is_selected {
            true => plain(view).add_modifier(Modifier::BOLD),
            false => plain(view),
        };
        let trend = sparkline(&row.trend, TREND, view.unicode);
        Line::from(vec![
            Span::styled(text, style),
            Span::styled(trend, colored(view, Color::Cyan)),
        ])
    });
    let header = format!("  {:<path$} {:<8} {:>5} {:>TREND$}", "LINES", "", "WAIT", "trend");
    panel(frame, area, header, shown.collect());
}

fn kind(row: &Row) -> String {
    match row.place.permits {
        Some(permits) => format!("sem {}/{permits}", row.place.holders().count()),
        None if row.place.certain => row.place.kind.to_string(),
        None => format!("{}?", row.place.kind),
    }
}

fn queues(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let width = usize::from(area.width);
    let path = width.saturating_sub(2 + 7 + 1 + TREND + 6).clamp(5, 60);
    let rows = board.queues(&view.filter).into_iter().map(|(row, depth)| {
        let place = shorten(&clean(row.place.path.as_bytes()), path);
        let dead = match depth.dead {
            0 => plain(view),
            _ => colored(view, Color::Red),
        };
        Line::from(vec![
            Span::styled(format!("| {place:<path$} {:>6} ", depth.ready), plain(view)),
            Span::styled(sparkline(&row.trend, TREND, view.unicode), colored(view, Color::Cyan)),
            Span::styled(format!(" {:>5}", depth.dead), dead),
        ])
    });
    let header = format!("| {:<path$} {:>6} {:>TREND$} {:>5}", "QUEUES", "READY", "trend", "DEAD");
    panel(frame, area, header, rows.collect());
}

fn holds(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let width = usize::from(area.width);
    let room = width.saturating_sub(2 + 10 + 5 + 13 + 20);
    let (path, who) = ((room * 3 / 5).clamp(5, 60), (room * 2 / 5).clamp(5, 40));
    let rows = board.holds(&view.filter).into_iter().map(|(row, one)| {
        Line::styled(
            format!(
                "  {:<path$} {:<who$} {:>9} {:>4} {:>12} {:<18}",
                shorten(&clean(row.place.path.as_bytes()), path),
                shorten(&name(one), who),
                shorten(&held(&row.place, one), 9),
                row.waiting(),
                one.token.to_string(),
                session(one.session_id),
            ),
            plain(view),
        )
    });
    let header = format!(
        "  {:<path$} {:<who$} {:>9} {:>4} {:>12} {:<18}",
        "OLDEST HOLDS", "", "HELD", "WAIT", "TOKEN", "SESSION"
    );
    panel(frame, area, header, rows.collect());
}

fn colored(view: &View, color: Color) -> Style {
    match view.colors {
        true => plain(view).fg(color),
        false => plain(view),
    }
}

/// Who stands at the place that is open.
fn who(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View, path: &str) {
    let rows: Vec<Line<'_>> = match board.row(path) {
        None => vec![Line::from("nobody stands there any more")],
        Some(row) => row
            .place
            .contenders
            .iter()
            .map(|one| {
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
            })
            .collect(),
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
    let title = format!(" {} (esc closes) ", shorten(&clean(path.as_bytes()), 50));
    let block = Block::bordered().title(title).style(plain(view));
    frame.render_widget(Clear, inner);
    frame.render_widget(Paragraph::new(rows).block(block), inner);
}
