//! Draws a [`Board`]: pure.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use zookeeper_recipes::inspect::doctor::Severity;

use super::board::{Board, Row, sparkline};
use super::overlay::overlay;
use super::view::{Panel, View};
use crate::commands::look::{held, name};
use crate::output::{clean, session, shorten};
use crate::time::{show_clock, show_duration};

const TREND: usize = 12;
/// From here on lines and queues stand side by side.
const WIDE: u16 = 78;
/// From here on there is a line of findings.
const TALL: u16 = 12;

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
    let has_findings = area.height >= TALL;
    let body = area.height.saturating_sub(2 + u16::from(has_findings));
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
    if has_findings {
        findings(frame, row(area.height.saturating_sub(2), 1), board, view);
    }
    footer(frame, row(area.height.saturating_sub(1), 1), view);
    if let Some(open) = &view.open {
        overlay(frame, area, board, view, open);
    }
}

pub(super) fn plain(view: &View) -> Style {
    match view.state.as_str() {
        "connected" => Style::new(),
        // What is shown is of the past.
        _ => Style::new().add_modifier(Modifier::DIM),
    }
}

fn title(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let at = board.at.map_or("-".to_owned(), |at| show_clock(at, view.utc));
    let paused = if view.paused { "  paused" } else { "" };
    let state = match (&board.problem, view.state.as_str(), board.at) {
        (Some(problem), ..) => problem.clone(),
        (None, "connected", None) => format!("first look: {} places", board.places().count()),
        (None, "connected", Some(_)) => "ok".to_owned(),
        (None, other, _) => other.to_owned(),
    };
    let median = board.median().map_or(String::new(), |median| {
        format!("  p50 {:.1}ms", median.as_secs_f64() * 1000.0)
    });
    let rest = format!(
        "  {at}  {}s  rows <={} old  {} req{median}{paused}  [{state}]",
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

fn findings(frame: &mut Frame<'_>, area: Rect, board: &Board, view: &View) {
    let text = match board.findings.as_deref() {
        None => " FINDINGS  not looked yet".to_owned(),
        Some([]) => " FINDINGS  none".to_owned(),
        Some([worst, ..]) => format!(
            " FINDINGS  error {}  warn {}   {} {}: {}",
            board.found(Severity::Error),
            board.found(Severity::Warn),
            worst.check,
            clean(worst.path.as_bytes()),
            clean(worst.message.as_bytes())
        ),
    };
    let style = match board.found(Severity::Error) {
        0 => plain(view),
        _ => colored(view, Color::Red),
    };
    frame.render_widget(
        Paragraph::new(shorten(&text, usize::from(area.width))).style(style),
        area,
    );
}

fn footer(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let text = match (view.typing, view.filter.is_empty()) {
        (true, _) => format!(" /{}_", view.filter),
        (false, true) => " q quit  enter who  s sort  / filter  d doctor  p pause  a ask  b break  ? help".to_owned(),
        (false, false) => format!(
            " q quit  enter who  s sort ({})  filter {}  ? help",
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
    let shown = visible(&rows, area, view.selected_in(Panel::Lines)).map(|(is_selected, row)| {
        let place = &row.place;
        let text = format!(
            "{}{:<path$} {:<8} {:>5} ",
            mark(is_selected, "  "),
            shorten(&clean(place.path.as_bytes()), path),
            shorten(&kind(row), 8),
            row.waiting(),
        );
        let trend = sparkline(&row.trend, TREND, view.unicode);
        Line::from(vec![
            Span::styled(text, style(view, is_selected)),
            Span::styled(trend, colored(view, Color::Cyan)),
        ])
    });
    let sort = format!("by {}", view.order.name());
    let header = format!(
        "  {:<path$} {:<8} {:>5} {:>TREND$}",
        "LINES",
        shorten(&sort, 8),
        "WAIT",
        "trend"
    );
    panel(frame, area, header, shown.collect());
}

/// The rows that fit, with the selected one among them, and whether each is that one.
fn visible<R>(rows: &[R], area: Rect, selected: Option<usize>) -> impl Iterator<Item = (bool, &R)> {
    let most = usize::from(area.height.saturating_sub(1)).max(1);
    let selected = selected.map(|selected| selected.min(rows.len().saturating_sub(1)));
    let first = selected.unwrap_or_default().saturating_sub(most - 1);
    let numbered = rows.iter().enumerate().skip(first).take(most);
    numbered.map(move |(index, row)| (Some(index) == selected, row))
}

fn mark(is_selected: bool, otherwise: &str) -> &str {
    if is_selected { "> " } else { otherwise }
}

fn style(view: &View, is_selected: bool) -> Style {
    match is_selected {
        true => plain(view).add_modifier(Modifier::BOLD),
        false => plain(view),
    }
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
    let queues = board.queues(&view.filter);
    let rows = visible(&queues, area, view.selected_in(Panel::Queues)).map(|(is_selected, (row, depth))| {
        let place = shorten(&clean(row.place.path.as_bytes()), path);
        let dead = match depth.dead {
            0 => plain(view),
            _ => colored(view, Color::Red),
        };
        Line::from(vec![
            Span::styled(
                format!("{}{place:<path$} {:>6} ", mark(is_selected, "| "), depth.ready),
                style(view, is_selected),
            ),
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
    let holds = board.holds(&view.filter);
    let rows = visible(&holds, area, view.selected_in(Panel::Holds)).map(|(is_selected, (row, one))| {
        Line::styled(
            format!(
                "{}{:<path$} {:<who$} {:>9} {:>4} {:>12} {:<18}",
                mark(is_selected, "  "),
                shorten(&clean(row.place.path.as_bytes()), path),
                shorten(&name(one), who),
                shorten(&held(&row.place, one), 9),
                row.waiting(),
                one.token.to_string(),
                session(one.session_id),
            ),
            style(view, is_selected),
        )
    });
    let header = format!(
        "  {:<path$} {:<who$} {:>9} {:>4} {:>12} {:<18}",
        "OLDEST HOLDS", "", "HELD", "WAIT", "TOKEN", "SESSION"
    );
    panel(frame, area, header, rows.collect());
}

pub(super) fn colored(view: &View, color: Color) -> Style {
    match view.colors {
        true => plain(view).fg(color),
        false => plain(view),
    }
}
