//! What keys do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;

use super::LEAST;
use super::board::Board;
use super::dialog::Dialog;
use super::view::{Overlay, Panel, View};

/// The reader of keys looks so often whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Looks are not rarer than that.
const MOST: Duration = Duration::from_secs(60);

/// So many lines are a page of what is open.
const PAGE: usize = 10;

/// What a key or a signal asks the loop for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Stop,
    /// Let the doctor look now.
    Examine,
    Dialog(Dialog),
}

/// Keys, from a thread of their own.
#[derive(Debug)]
pub(super) struct Keys {
    events: mpsc::UnboundedReceiver<Event>,
    stopping: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Keys {
    pub(super) fn start() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopping);
        let reader = std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                let read = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                if read.map_or(true, |event| sender.send(event).is_err()) {
                    return;
                }
            }
        });
        Self {
            events,
            stopping,
            reader: Some(reader),
        }
    }

    pub(super) async fn recv(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Returns once nothing is read from the terminal any more.
    pub(super) async fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = tokio::task::spawn_blocking(move || reader.join()).await;
        }
    }
}

pub(super) fn press(view: &mut View, board: &Board, key: KeyEvent) -> Wish {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => Wish::Quit,
        KeyCode::Char('z') if control => Wish::Stop,
        code if view.typing => {
            type_filter(view, code);
            Wish::Nothing
        }
        KeyCode::Esc | KeyCode::Char('q') if view.open.is_some() => {
            view.open = None;
            Wish::Nothing
        }
        KeyCode::Esc | KeyCode::Char('q') => Wish::Quit,
        KeyCode::Char('a') => view.target().map_or(Wish::Nothing, |path| {
            let holders = view.holders(board, &path);
            Wish::Dialog(Dialog::Ask(path, holders))
        }),
        KeyCode::Char('b') => {
            let dialog = view.target().map(Dialog::Break);
            dialog.map_or(Wish::Nothing, Wish::Dialog)
        }
        KeyCode::Char('d') => {
            view.show(Overlay::Findings);
            Wish::Examine
        }
        code => {
            choose(view, board, code);
            Wish::Nothing
        }
    }
}

fn type_filter(view: &mut View, code: KeyCode) {
    match code {
        KeyCode::Enter => view.typing = false,
        KeyCode::Esc => (view.typing, view.filter) = (false, String::new()),
        KeyCode::Backspace => drop(view.filter.pop()),
        KeyCode::Char(c) => view.filter.push(c),
        _ => {}
    }
}

/// What changes the view alone.
fn choose(view: &mut View, board: &Board, code: KeyCode) {
    match code {
        KeyCode::Char('s') => view.order = view.order.next(),
        KeyCode::Char('/') => view.typing = true,
        KeyCode::Char('p') => view.paused = !view.paused,
        KeyCode::Char('+') => view.every = (view.every / 2).max(LEAST),
        KeyCode::Char('-') => view.every = (view.every * 2).min(MOST),
        KeyCode::Char('?') => view.show(Overlay::Help),
        // What is open hides the rows.
        code if view.open.is_some() => scroll(view, code),
        KeyCode::Tab => enter(view, board, view.panel.next()),
        KeyCode::BackTab => enter(view, board, view.panel.previous()),
        KeyCode::Char(digit @ '1'..='3') => enter(view, board, Panel::of(digit).unwrap_or_default()),
        KeyCode::Up | KeyCode::Char('k') => view.select(board, view.selected.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => view.select(board, view.selected + 1),
        KeyCode::Enter => {
            if let Some(path) = view.target() {
                view.show(Overlay::Place(path));
            }
        }
        _ => {}
    }
}

/// What is open, up and down; the loop knows where it ends.
fn scroll(view: &mut View, code: KeyCode) {
    view.scroll = match code {
        KeyCode::Up | KeyCode::Char('k') => view.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => view.scroll.saturating_add(1),
        KeyCode::PageUp => view.scroll.saturating_sub(PAGE),
        KeyCode::PageDown | KeyCode::Char(' ') => view.scroll.saturating_add(PAGE),
        KeyCode::Home => 0,
        KeyCode::End => usize::MAX,
        _ => return,
    };
}

fn enter(view: &mut View, board: &Board, panel: Panel) {
    view.panel = panel;
    view.select(board, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressed(view: &mut View, code: KeyCode) -> Wish {
        press(view, &Board::default(), KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn panels_are_chosen_by_number_and_tab() {
        let mut view = View::default();
        for (key, panel) in [
            (KeyCode::Char('3'), Panel::Holds),
            (KeyCode::Tab, Panel::Lines),
            (KeyCode::BackTab, Panel::Holds),
            (KeyCode::Char('2'), Panel::Queues),
        ] {
            assert_eq!((pressed(&mut view, key), view.panel), (Wish::Nothing, panel));
        }
    }

    #[test]
    fn nothing_is_asked_or_broken_without_a_row() {
        let mut view = View::default();
        for key in ['a', 'b'] {
            assert_eq!(pressed(&mut view, KeyCode::Char(key)), Wish::Nothing);
        }
    }

    #[test]
    fn what_is_open_is_acted_on() {
        let open = |overlay| View {
            open: Some(overlay),
            ..View::default()
        };
        let mut view = open(Overlay::Place("/pay/l".to_owned()));
        let wish = pressed(&mut view, KeyCode::Char('b'));
        assert_eq!(wish, Wish::Dialog(Dialog::Break("/pay/l".to_owned())));
        for overlay in [Overlay::Findings, Overlay::Help] {
            assert_eq!(pressed(&mut open(overlay), KeyCode::Char('b')), Wish::Nothing);
        }
    }

    #[test]
    fn what_is_open_is_scrolled_from_its_beginning() {
        let mut view = View::default();
        for (key, lines) in [
            (KeyCode::Char('?'), 0),
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 11),
            (KeyCode::Up, 10),
            (KeyCode::End, usize::MAX),
            (KeyCode::Down, usize::MAX),
            (KeyCode::Home, 0),
            (KeyCode::PageUp, 0),
            (KeyCode::Down, 1),
            (KeyCode::Char('d'), 0),
        ] {
            pressed(&mut view, key);
            assert_eq!((view.scroll, view.selected), (lines, 0), "{key:?}");
        }
    }

    #[test]
    fn keys_are_text_while_a_filter_is_typed() {
        let mut view = View::default();
        for key in "/qabd?".chars() {
            assert_eq!(pressed(&mut view, KeyCode::Char(key)), Wish::Nothing);
        }
        assert_eq!((view.filter.as_str(), view.open), ("qabd?", None));
    }
}
