//! Keys, the terminal, and the loop between them.

use std::cell::RefCell;
use std::time::Duration;

use nix::sys::signal::Signal;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyEventKind};
use ratatui::layout::{Position, Rect};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use zookeeper_recipes::Coordinator;

use super::board::Board;
use super::keys::{Keys, Wish, press};
use super::overlay::furthest;
use super::scan::Scanner;
use super::screen::draw;
use super::view::View;
use super::{LEAST, TopArgs};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::hold::signals::{Signals, die_of};

/// The screen is drawn again at least so often: ages grow.
const REDRAW: Duration = Duration::from_secs(1);

/// How fast is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    every: Duration,
    paused: bool,
}

pub(super) async fn run(globals: &Globals, args: &TopArgs, zk: &Coordinator) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("cannot use the terminal: {error}; give --once"));
    // A signal must not find the terminal changed and no handler in place.
    let signals = Signals::ending().map_err(failed)?;
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let shown = show(globals, args, zk, &mut terminal, signals).await;
    ratatui::restore();
    shown
}

async fn show(
    globals: &Globals,
    args: &TopArgs,
    zk: &Coordinator,
    terminal: &mut DefaultTerminal,
    mut signals: Signals,
) -> Result<u8, Failure> {
    let failed = |error: std::io::Error| Failure::internal(format!("cannot use the terminal: {error}"));
    let mut view = View {
        title: format!("{} {}", globals.cluster()?, args.tree),
        every: args.every.max(LEAST),
        colors: globals.output().colors,
        unicode: is_unicode(),
        utc: globals.output().utc,
        ..View::default()
    };
    let (board, looked, mut states) = (RefCell::new(Board::default()), Notify::new(), zk.states());
    let (pace, paces) = watch::channel(pace_of(&view));
    let examine = Notify::new();
    let scanner = Scanner::new(zk, &args.tree, args.budget);
    let scanning = scan(globals, scanner, &board, (&looked, &examine), paces);
    let mut keys = Keys::start();
    let mut stopped = signal(SignalKind::from_raw(Signal::SIGTSTP as i32)).map_err(failed)?;
    tokio::pin!(scanning);
    loop {
        view.state = states.current_and_update().to_string();
        view.follow(&board.borrow());
        if let Some(open) = &view.open {
            let area = Rect::from((Position::ORIGIN, terminal.size().map_err(failed)?));
            view.scroll = view.scroll.min(furthest(area, &board.borrow(), open));
        }
        terminal
            .draw(|frame| draw(frame, &board.borrow(), &view))
            .map_err(failed)?;
        let wish = tokio::select! {
            () = &mut scanning => Wish::Quit,
            () = looked.notified() => Wish::Nothing,
            _ = states.changed() => Wish::Nothing,
            key = keys.recv() => match key {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => press(&mut view, &board.borrow(), key),
                Some(_) => Wish::Nothing,
                None => Wish::Quit,
            },
            signal = signals.recv() => {
                ratatui::restore();
                return Ok(die_of(signal as i32));
            }
            _ = stopped.recv() => Wish::Stop,
            () = tokio::time::sleep(REDRAW) => Wish::Nothing,
        };
        match wish {
            Wish::Nothing => {}
            Wish::Quit => return Ok(0),
            Wish::Stop => *terminal = stop().map_err(failed)?,
            Wish::Examine => examine.notify_one(),
            Wish::Dialog(dialog) => {
                // Only one may read what is typed.
                keys.stop().await;
                ratatui::restore();
                tokio::select! {
                    () = dialog.run(globals) => {}
                    signal = signals.recv() => return Ok(die_of(signal as i32)),
                }
                *terminal = ratatui::try_init().map_err(failed)?;
                keys = Keys::start();
            }
        }
        pace.send_replace(pace_of(&view));
    }
}

fn pace_of(view: &View) -> Pace {
    Pace {
        every: view.every,
        paused: view.paused,
    }
}

/// Looks for ever. A look that fails is told on the screen.
async fn scan(
    globals: &Globals,
    mut scanner: Scanner,
    board: &RefCell<Board>,
    (looked, examine): (&Notify, &Notify),
    mut paces: watch::Receiver<Pace>,
) {
    loop {
        if let Err(failure) = globals.bounded(scanner.look(board)).await {
            board.borrow_mut().problem = Some(failure.message);
        }
        looked.notify_one();
        if let Err(failure) = globals.bounded(scanner.examine(board, false)).await {
            board.borrow_mut().problem = Some(failure.message);
        }
        looked.notify_one();
        let began = Instant::now();
        loop {
            let pace = *paces.borrow_and_update();
            let pause = tokio::time::sleep_until(began + pace.every);
            tokio::select! {
                () = pause, if !pace.paused => break,
                () = examine.notified() => {
                    if let Err(failure) = globals.bounded(scanner.examine(board, true)).await {
                        board.borrow_mut().problem = Some(failure.message);
                    }
                    looked.notify_one();
                }
                changed = paces.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Stops as the terminal's own key would, with the screen given back, and goes on with a new one.
fn stop() -> std::io::Result<DefaultTerminal> {
    ratatui::restore();
    nix::sys::signal::raise(Signal::SIGSTOP)?;
    ratatui::try_init()
}

/// Whether the terminal shows block characters.
fn is_unicode() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
    !is_dumb && locale.is_some_and(|locale| locale.to_uppercase().replace('-', "").contains("UTF8"))
}
